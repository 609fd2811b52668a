"""Whether anything is ever launched twice or approved by its requester: `python -m benchmarks.races` races acts.

It starts its own Postgres, or uses a database of its own on the server that DATABASE_URL names. The races and what must
hold after each are in `benchmarks.race_rounds`; the test run does a few rounds of the same.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command
from django.utils.module_loading import import_string

from portal.demo import postgres
from portal.demo.postgres import Embedded, Server
from portal.demo.processes import Reaper
from portal.demo.supervisor import Part, Supervisor

RESULT = Path(__file__).parent / "races.json"
ROUNDS = 10_000


def run(server: Server, rounds: int, minutes: float, seed: int) -> bool:
    """Race in a new database of this server, print and keep what came of it; whether everything held."""
    name = f"races_{time.time_ns()}"
    server.create(name)
    os.environ |= {
        "DATABASE_URL": server.url(name),
        "PORTAL_MODE": "test",
        "DJANGO_SETTINGS_MODULE": "portal.settings",
    }
    django.setup()
    logging.disable(logging.INFO)
    settings.PREFECT_CLIENT = "benchmarks.fake_world.connect"
    call_command("migrate", verbosity=0, interactive=False)

    deadline = time.monotonic() + minutes * 60

    def go_on(done: int) -> bool:
        if done % 500 == 0:
            print(f"  {done:,} of {rounds:,} rounds", file=sys.stderr)
        return time.monotonic() < deadline

    # Its models can be imported only now that Django is set up.
    result = import_string("benchmarks.race_rounds.race")(rounds, seed=seed, go_on=go_on)
    found = asdict(result) | {"rounds a second": round(result.rounds / result.seconds, 1), "seed": seed}
    RESULT.write_text(json.dumps(found, indent=2) + "\n")
    print(f"{result.rounds:,} rounds in {result.seconds:,.0f} s: {found['rounds a second']} a second")
    for label in ("launches", "double_launches", "self_approvals", "launched_without_approval"):
        print(f"  {label.replace('_', ' '):<26} {found[label]:>7,}")
    for sentence in result.broken:
        print(f"  BROKEN {sentence}")
    return not (result.broken or result.double_launches or result.self_approvals or result.launched_without_approval)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--minutes", type=float, default=120, help="stop after that long, with what was done by then")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if address := os.environ.get("DATABASE_URL"):
        sys.exit(0 if run(Server(address), options.rounds, options.minutes, options.seed) else 1)
    with tempfile.TemporaryDirectory(prefix="portal-races-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # Postgres may run as another user, who has to pass through here to its own folder
        reaper = Reaper(str(folder))
        embedded = Embedded(folder / "postgres", folder / "postgres.log", options=postgres.FAST_AND_LOOSE)
        server = embedded.prepare()
        supervisor = Supervisor([Part(embedded.program(server))], reaper, lambda line: None)
        supervisor.start()
        try:
            holds = run(server, options.rounds, options.minutes, options.seed)
        finally:
            supervisor.stop()
            reaper.dismiss()
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
