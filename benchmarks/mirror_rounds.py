"""Measures the copies of runs and deployments in an empty database; `benchmarks.mirror` starts one and calls this."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402  (Django must be set up before)
from django.core.management import call_command  # noqa: E402
from django.db.models import Max  # noqa: E402

from benchmarks.mirror_prefect import prefect  # noqa: E402
from flows.catalog import sync as catalog  # noqa: E402
from flows.models import Deployment, Environment, Server  # noqa: E402
from runs import mirror  # noqa: E402
from runs.mirror import follower  # noqa: E402
from runs.models import ChangeRequest, Run, RunEvent, RunRequest, RunSpec  # noqa: E402

RESULT = Path(__file__).parent / "mirror.json"
BURST = 2_000
# Changes a second, and for how long.
RATE, SECONDS = 100, 20
# How often all deployments, and what may have changed of the runs, are read.
PERIOD = timedelta(seconds=30)


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that passed, and those of the processor in this process."""
    began, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - busy


def megabytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def first_reading(environment: Environment, runs: int) -> dict[str, Any]:
    prefect.runs = runs
    before = megabytes()
    seconds, busy = spent(lambda: mirror.sync(environment))
    return {
        "runs": Run.objects.count(),
        "seconds": round(seconds, 1),
        "runs a second": round(runs / seconds),
        "processor seconds": round(busy, 1),
        "megabytes before": before,
        "megabytes at most": megabytes(),
    }


def requested(environment: Environment, ids: Sequence[uuid.UUID]) -> None:
    """Have these runs be those of a backfill, as if it had launched them."""
    deployment = Deployment.objects.filter(environment=environment).earliest("pk")
    backfill = ChangeRequest.objects.create(
        kind=ChangeRequest.Kind.BACKFILL,
        environment=environment,
        requested_by_name="bench",
        state=ChangeRequest.State.APPROVED,
        pacing={"at_once": len(ids)},
    )
    plain = {"change": backfill, "deployment": deployment, "deployment_prefect_id": deployment.prefect_id}
    specs = RunSpec.objects.bulk_create([RunSpec(position=number, **plain) for number in range(len(ids))])
    RunRequest.objects.bulk_create(
        RunRequest(
            change=backfill,
            spec=spec,
            environment=environment,
            deployment=deployment,
            state=RunRequest.State.LAUNCHED,
            flow_run_id=each,
        )
        for spec, each in zip(specs, ids, strict=True)
    )


def burst(environment: Environment, numbers: range) -> dict[str, Any]:
    """As many runs change their state at once: all are read again by their ids."""
    ids = [prefect.run_id(number) for number in numbers]
    prefect.move(ids, "FAILED")
    seconds, busy = spent(lambda: mirror.refresh_state(environment, ids))
    return {
        "changes": len(ids),
        "seconds": round(seconds, 2),
        "processor seconds": round(busy, 2),
        "lost": len(ids) - failed(ids),
    }


def failed(ids: Sequence[uuid.UUID]) -> int:
    return Run.objects.filter(prefect_id__in=ids, state_type="FAILED").count()


def followed_burst(environment: Environment, numbers: range, *, lose: int) -> dict[str, Any]:
    """The same with the follower up; of `lose` in ten the events are lost, as Prefect loses them."""
    ids = [prefect.run_id(number) for number in numbers]

    async def play() -> float:
        began = time.perf_counter()
        prefect.move(ids, "FAILED", lose=lose)
        while await follower.in_thread(failed, ids) < len(ids):
            await asyncio.sleep(0.2)
        return time.perf_counter() - began

    seconds = round(following(environment, play), 2)
    return {"changes": len(ids), "events": len(ids) * (10 - lose) // 10, "seconds": seconds}


def stream(environment: Environment, numbers: range) -> dict[str, Any]:
    """Runs that begin and end, `RATE` changes a second: the time from Prefect's stamp until others can read it."""
    runs = list(batched([prefect.run_id(number) for number in numbers], RATE // 20))
    # Each runs for a second: ten batches a second begin, and ten end.
    begins = [*runs, *[()] * 10]
    ends = [*[()] * 10, *runs]
    last = RunEvent.objects.aggregate(Max("pk"))["pk__max"]
    waits: list[float] = []

    def look() -> bool:
        nonlocal last
        now = datetime.now(UTC)
        # In their order: what writes them holds the lock of the environment.
        rows = list(RunEvent.objects.filter(pk__gt=last).order_by("pk").values_list("pk", "occurred_at"))
        waits.extend((now - at).total_seconds() for _, at in rows)
        last = rows[-1][0] if rows else last
        return len(waits) < 2 * len(numbers)

    async def watch() -> None:
        while await follower.in_thread(look):
            await asyncio.sleep(0.02)

    async def play() -> float:
        watching = asyncio.create_task(watch())
        began = time.perf_counter()
        for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            await asyncio.sleep(max(0, began + number / 10 - time.perf_counter()))
            prefect.move(begin, "RUNNING")
            prefect.move(end, "COMPLETED")
        with suppress(TimeoutError):
            await asyncio.wait_for(watching, 30)
        return time.perf_counter() - began

    following(environment, play)
    ordered = sorted(waits)
    return {
        "changes": 2 * len(numbers),
        "changes a second": RATE,
        "seen": len(ordered),
        "p50 seconds": round(ordered[len(ordered) // 2], 2),
        "p95 seconds": round(ordered[len(ordered) * 95 // 100], 2),
        "max seconds": round(ordered[-1], 2),
    }


def following(environment: Environment, play: Callable[[], Awaitable[float]]) -> float:
    """Do something while a follower runs, after its first sweep."""

    async def run() -> float:
        following = asyncio.create_task(follower.Follower(environment).run())
        await asyncio.sleep(3)
        result = await play()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        return result

    return asyncio.run(run())


def idle(environment: Environment, deployments: int) -> dict[str, Any]:
    """What reading the deployments costs while nothing changes: writing all of them, and looking for changes."""
    prefect.deployments_count = deployments
    catalog.sync(environment)
    whole = min(spent(lambda: catalog.sync(environment))[1] for _ in range(3))
    changed = min(spent(lambda: catalog.keep_up(environment))[1] for _ in range(3))
    percent = 100 * (whole / catalog.WHOLE_EVERY.total_seconds() + changed / PERIOD.total_seconds())
    return {
        "processor seconds, all": round(whole, 2),
        "processor seconds, changed": round(changed, 2),
        "percent of a core": round(percent, 2),
    }


def main(runs: int) -> None:
    logging.disable(logging.WARNING)
    call_command("migrate", verbosity=0, interactive=False)
    settings.HISTORY_DAYS = 365
    environment = Environment.objects.create(slug="dev", server=Server.objects.create(api_url="http://dev.bench/api"))
    result: dict[str, Any] = {"idle, deployments": {f"{count}": idle(environment, count) for count in (200, 10_000)}}
    print(json.dumps(result, indent=1), flush=True)
    result["first reading"] = first_reading(environment, runs)
    requested(environment, [prefect.run_id(number) for number in range(0, 4 * BURST, 2)])
    result["state changes at once"] = burst(environment, range(BURST))
    result["with the follower"] = followed_burst(environment, range(BURST, 2 * BURST), lose=0)
    result["half of the events lost"] = followed_burst(environment, range(2 * BURST, 3 * BURST), lose=5)
    result["one after the other"] = stream(environment, range(3 * BURST, 3 * BURST + SECONDS * RATE // 2))
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main(int(sys.argv[1]))
