"""Chains and event rules while real background processes are killed: `python -m tests.process_kills`.

In a Postgres that it starts and stops, with processes of `manage.py qcluster` and one fake Prefect for all of them:

- a chain of 50 steps and a step that is a backfill: each step, and each value, is one run
- events of failed runs: each is one request of the rule that waits for them
"""

from __future__ import annotations

import secrets
import sys
import tempfile
from pathlib import Path

from benchmarks.own_postgres import own_postgres, run
from tests.shared_prefect import KEY, SOCKET


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="portal-kills-") as folder, own_postgres() as server:
        return run(
            "tests.process_kill_rounds",
            str(Path(folder) / "background.log"),
            database=server.url(server.main_database),
            DJANGO_SETTINGS_MODULE="tests.process_kill_settings",
            **{SOCKET: str(Path(folder) / "prefect.socket"), KEY: secrets.token_hex()},
        )


if __name__ == "__main__":
    sys.exit(main())
