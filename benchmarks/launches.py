"""How fast waiting requests become flow runs: `python -m benchmarks.launches` starts the whole product and measures.

Rounds alternate on one stack: so many flow runs created by Prefect alone, then as many requests that a freeze held
back, from its end to the last launch. The work pool is paused, so that no run of one round slows the next. The result
is a ratio: requests a second through the portal for each flow run a second that Prefect alone creates, asked by as many
clients at once as the portal has workers.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import django
import httpx
import psycopg

from benchmarks.latency import Prefect
from portal.demo.stack import WORK_POOL, Options, Stack, await_first_sync

RESULT = Path(__file__).parent / "launches.json"
DEPLOYMENT = "heartbeat"


def prefect_alone(prefect: Prefect, deployment: str, count: int) -> float:
    """Return flow runs a second."""
    from runs.cluster import PROCESSES  # noqa: PLC0415

    def create(_: int) -> str:
        body: dict[str, Any] = {"parameters": {}, "idempotency_key": str(uuid4()), "tags": ["bench"]}
        return str(prefect.post(f"/deployments/{deployment}/create_flow_run", body)["id"])

    began = time.perf_counter()
    with ThreadPoolExecutor(len(PROCESSES)) as pool:
        created = list(pool.map(create, range(count)))
    rate = count / (time.perf_counter() - began)
    delete(prefect, created)
    return rate


def delete(prefect: Prefect, flow_runs: list[str]) -> None:
    """Delete the runs of a round: Prefect would mark each as late, and a freeze would postpone it, in the next one."""
    for flow_run in flow_runs:
        prefect.http.delete(f"/flow_runs/{flow_run}").raise_for_status()


def through_the_portal(prefect: Prefect, database: psycopg.Connection[Any], count: int) -> float:
    """Return launches a second, from the end of the freeze until the last of the held requests is launched."""
    # Imported here: Django reads the settings of the stack, which are known only now.
    from django.contrib.auth.models import User  # noqa: PLC0415

    from flows.models import Environment  # noqa: PLC0415
    from runs import names, requests  # noqa: PLC0415
    from runs.actors import Actor, Channel  # noqa: PLC0415
    from runs.governance import freezes  # noqa: PLC0415
    from runs.models import RunRequest  # noqa: PLC0415

    otto, ada = (
        Actor.person(User.objects.get(username=name), channel=Channel.COMMAND, address="", user_agent="bench")
        for name in ("otto", "ada")
    )
    environment = Environment.objects.get()
    freezes.freeze(environment, by=ada, reason="bench")
    deployment = names.deployment(environment.slug, f"{DEPLOYMENT}/{DEPLOYMENT}", by=otto)
    pks = [requests.submit(deployment, {}, by=otto).pk for _ in range(count)]
    # All are held before the clock starts, and the follow-ups of an earlier round are done.
    until(database, "SELECT count(*) FILTER (WHERE message = '') = 0 FROM runs_runrequest WHERE id = ANY(%s)", pks)
    time.sleep(5)
    began = time.perf_counter()
    freezes.unfreeze(environment, by=ada)
    until(database, "SELECT bool_and(flow_run_id IS NOT NULL) FROM runs_runrequest WHERE id = ANY(%s)", pks)
    rate = count / (time.perf_counter() - began)
    launched = RunRequest.objects.filter(pk__in=pks)
    delete(prefect, [str(pk) for pk in launched.values_list("flow_run_id", flat=True)])
    return rate


def until(database: psycopg.Connection[Any], question: str, pks: list[int], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while (row := database.execute(question, [pks]).fetchone()) is None or not row[0]:
        if time.monotonic() > deadline:
            raise SystemExit(f"{seconds} s passed without: {question}")
        time.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=60, help="flow runs in each round")
    options = parser.parse_args()
    os.environ.setdefault("PORTAL_MODE", "demo")
    with tempfile.TemporaryDirectory(prefix="portal-bench-", ignore_cleanup_errors=True) as folder:
        stack = Stack(Options(data=Path(folder), port=0, prefect_port=0, environments=("dev",)), print)
        try:
            if not stack.start() or await_first_sync(stack):
                return 1
            os.environ |= {**stack.settings, "DJANGO_SETTINGS_MODULE": "portal.settings"}
            django.setup()
            logging.disable(logging.INFO)
            prefect = Prefect(stack.prefects[0])
            pool = {"is_paused": True}
            prefect.http.patch(f"/work_pools/{WORK_POOL}", json=pool).raise_for_status()
            deployment = prefect.deployment(DEPLOYMENT)
            rounds = []
            with psycopg.connect(stack.settings["DATABASE_URL"], autocommit=True) as database:
                for _ in range(options.rounds):
                    alone = prefect_alone(prefect, deployment, options.count)
                    portal = through_the_portal(prefect, database, options.count)
                    rounds.append({"alone": round(alone, 2), "portal": round(portal, 2)})
                    print(f"Prefect alone {alone:.1f} a second, through the portal {portal:.1f}", flush=True)
        except httpx.HTTPError as error:
            print(error)
            return 1
        finally:
            stack.stop()
    ratio = statistics.median(each["portal"] / each["alone"] for each in rounds)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    RESULT.write_text(json.dumps({"machine": machine, "a_second": rounds, "ratio": round(ratio, 2)}, indent=2) + "\n")
    print(f"ratio {ratio:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
