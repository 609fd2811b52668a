"""How fast a backfill becomes flow runs: `python -m benchmarks.backfills` starts the whole product and measures.

Rounds alternate on one stack: so many flow runs by Prefect's own bulk call, then a backfill of as many through the
portal, from the end of a pause to the last launch, each read back. The work pool is paused, so that no run of one round
slows the next. The result is a ratio: launches a second for each flow run a second of Prefect's own bulk call, with as
many runs in a call and as many clients at once. `--kills` ends background tasks and Prefect while a backfill is
launched, and requires that each item becomes one run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import django
import httpx
import psycopg

from benchmarks.latency import Prefect
from benchmarks.launches import until
from portal.demo.reaper import marked_processes
from portal.demo.stack import WORK_POOL, Options, Stack, await_first_sync

RESULT = Path(__file__).parent / "backfills.json"
DEPLOYMENT = "long-haul"
IN_A_CALL, CLIENTS = 25, 2
STEPS = 20
KILLED_EVERY = 8.0  # seconds
# Every so many kills the Prefect server, which takes longest to start.
SERVER_EVERY = 4
# The supervisor waits twice as long before each restart: after so many kills what is left is launched in peace.
MOST_KILLS = 8
LAUNCHED = "SELECT bool_and(flow_run_id IS NOT NULL) FROM runs_runrequest WHERE id = ANY(%s)"


def prefect_alone(prefect: Prefect, deployment: str, count: int) -> float:
    """Return flow runs a second by Prefect's own bulk call."""

    def create(numbers: list[int]) -> list[str]:
        bodies = [
            {"parameters": {"minutes": 1 + number // STEPS}, "idempotency_key": str(uuid4()), "tags": ["bench"]}
            for number in numbers
        ]
        answer = prefect.http.post(f"/deployments/{deployment}/create_flow_run/bulk", json=bodies)
        return [each["flow_run_id"] for each in answer.raise_for_status().json()["results"]]

    calls = [list(range(start, min(start + IN_A_CALL, count))) for start in range(0, count, IN_A_CALL)]
    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        created = [each for some in pool.map(create, calls) for each in some]
    rate = count / (time.perf_counter() - began)
    delete(prefect, created)
    return rate


def delete(prefect: Prefect, flow_runs: list[str]) -> None:
    for flow_run in flow_runs:
        prefect.http.delete(f"/flow_runs/{flow_run}")


class Backfill:
    """A backfill that is submitted and paused before anything of it is sent."""

    def __init__(self, count: int) -> None:
        # Imported here: Django reads the settings of the stack, which are known only now.
        from django.contrib.auth.models import User  # noqa: PLC0415
        from django.db import transaction  # noqa: PLC0415

        from flows.models import Environment  # noqa: PLC0415
        from runs import changes, names, requests  # noqa: PLC0415
        from runs.actors import Actor, Channel  # noqa: PLC0415

        user = User.objects.get(username="otto")
        self.by = Actor.person(user, channel=Channel.COMMAND, address="", user_agent="bench")
        deployment = names.deployment(Environment.objects.get().slug, f"{DEPLOYMENT}/{DEPLOYMENT}", by=self.by)
        vary = {"minutes": f"1..{max(count // STEPS, 1)}", "steps": f"1..{min(STEPS, count)}"}
        began = time.perf_counter()
        with transaction.atomic():
            self.change = requests.submit_backfill(
                deployment, {}, vary, by=self.by, at_once=1000, skip_open=False, skip_completed=False
            )
            changes.pause(self.change, by=self.by)
        self.submitted_in = time.perf_counter() - began
        self.pks = list(self.change.run_requests.values_list("pk", flat=True))

    def resume(self) -> None:
        from runs import changes  # noqa: PLC0415

        changes.resume(self.change, by=self.by)

    def flow_runs(self) -> list[str]:
        return [str(pk) for pk in self.change.run_requests.values_list("flow_run_id", flat=True)]


def through_the_portal(prefect: Prefect, database: psycopg.Connection[Any], count: int) -> float:
    """Return launches a second, from the end of a pause until the last is launched, each read back and compared."""
    backfill = Backfill(count)
    time.sleep(3)
    began = time.perf_counter()
    backfill.resume()
    until(database, LAUNCHED, backfill.pks)
    rate = len(backfill.pks) / (time.perf_counter() - began)
    delete(prefect, backfill.flow_runs())
    return rate


@contextlib.contextmanager
def kills(stack: Stack, folder: str) -> Iterator[list[str]]:
    """End one process after the other with SIGKILL: of the background tasks, and at times the Prefect server.

    The supervisor starts what has ended again, as in the demo.
    """
    killed: list[str] = []
    is_over = False

    def command_of(pid: int) -> str:
        with contextlib.suppress(OSError):
            return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return ""

    def run() -> None:
        turn = 0
        while not is_over and len(killed) < MOST_KILLS:
            time.sleep(KILLED_EVERY)
            wanted = "prefect server start" if turn % SERVER_EVERY == 1 else "qcluster"
            found = sorted(pid for pid in marked_processes(folder) if wanted in command_of(pid))
            if found:
                with contextlib.suppress(OSError):
                    os.kill(found[turn % len(found)], signal.SIGKILL)
                    killed.append(wanted)
            turn += 1

    with ThreadPoolExecutor(2) as pool:
        ended = [pool.submit(run), pool.submit(stack.supervisor.watch, lambda: is_over)]
        try:
            yield killed
        finally:
            is_over = True
            for each in ended:
                each.result()


def exact_through_kills(
    prefect: Prefect, database: psycopg.Connection[Any], stack: Stack, folder: str, count: int
) -> bool:
    """Launch a backfill through kills, and return whether each item became one run with its own values."""
    backfill = Backfill(count)
    print(f"{len(backfill.pks)} items were planned and submitted in {backfill.submitted_in:.1f} s", flush=True)
    began = time.perf_counter()
    with kills(stack, folder) as killed:
        backfill.resume()
        until(database, LAUNCHED, backfill.pks, seconds=900)
    print(f"launched in {time.perf_counter() - began:.0f} s through {dict(Counter(killed))} kills", flush=True)
    # What was killed last is started again.
    stack.supervisor.watch(until=lambda: answers(prefect))
    keys = [each.idempotency_key for each in backfill.change.run_requests.select_related("change", "spec")]
    found = runs_by_key(prefect, set(keys))
    ours = {str(each.flow_run_id): each for each in backfill.change.run_requests.select_related("change", "spec")}
    is_exact = len(found) == len(keys) == len(ours) and all(
        pk in ours
        and ours[pk].idempotency_key == key
        and {name: parameters[name] for name in ("minutes", "steps")}
        == {name: ours[pk].spec.parameters[name] for name in ("minutes", "steps")}
        for pk, key, parameters in found
    )
    print(f"{len(found)} runs in Prefect for {len(keys)} items: {'exact' if is_exact else 'NOT EXACT'}", flush=True)
    delete(prefect, list(ours))
    return is_exact


def answers(prefect: Prefect) -> bool:
    try:
        return prefect.http.get("/health").is_success
    except httpx.HTTPError:
        return False


def runs_by_key(prefect: Prefect, keys: set[str]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return id, key and parameters of every flow run in Prefect that has one of the keys."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    offset = 0
    while page := prefect.post("/flow_runs/filter", {"limit": 200, "offset": offset, "sort": "ID_DESC"}):
        found += [(each["id"], each["idempotency_key"], each["parameters"]) for each in page]
        offset += len(page)
    return [each for each in found if each[1] in keys]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=200, help="flow runs in each round")
    parser.add_argument("--kills", type=int, default=0, metavar="ITEMS", help="launch so many items through kills")
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
            prefect.http.patch(f"/work_pools/{WORK_POOL}", json={"is_paused": True}).raise_for_status()
            deployment = prefect.deployment(DEPLOYMENT)
            rounds = []
            with psycopg.connect(stack.settings["DATABASE_URL"], autocommit=True) as database:
                for _ in range(options.rounds):
                    alone = prefect_alone(prefect, deployment, options.count)
                    portal = through_the_portal(prefect, database, options.count)
                    rounds.append({"alone": round(alone, 2), "portal": round(portal, 2)})
                    print(f"Prefect alone {alone:.1f} a second, through the portal {portal:.1f}", flush=True)
                is_exact = not options.kills or exact_through_kills(prefect, database, stack, folder, options.kills)
        except httpx.HTTPError as error:
            print(error)
            return 1
        finally:
            stack.stop()
    if rounds:
        ratio = statistics.median(each["portal"] / each["alone"] for each in rounds)
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
        result = {"machine": machine, "in_a_call": IN_A_CALL, "a_second": rounds, "ratio": round(ratio, 2)}
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
        print(f"ratio {ratio:.2f}")
    return 0 if is_exact else 1


if __name__ == "__main__":
    sys.exit(main())
