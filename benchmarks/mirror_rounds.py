"""Measures the copies of runs and deployments in an empty database; `benchmarks.mirror` starts one and calls this."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402  (Django must be set up before)
from django.core.management import call_command  # noqa: E402

from benchmarks.mirror_prefect import prefect  # noqa: E402
from flows.catalog import sync as catalog  # noqa: E402
from flows.models import Environment, Server  # noqa: E402
from flows.prefect_api.records import StateRecord  # noqa: E402
from runs import mirror  # noqa: E402
from runs.models import Run  # noqa: E402

RESULT = Path(__file__).parent / "mirror.json"
BURST = 2_000
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


def burst(environment: Environment) -> dict[str, Any]:
    """As many runs change their state at once: all are read again by their ids."""
    now = datetime.now(UTC)
    ids = [prefect.run_id(number) for number in range(BURST)]
    prefect.moved = {each: StateRecord(uuid.uuid4(), "FAILED", "Failed", "it broke", now) for each in ids}

    def read() -> None:
        for first in range(0, BURST, 200):
            mirror.refresh_state(environment, ids[first : first + 200])

    seconds, _ = spent(read)
    return {
        "changes": BURST,
        "seconds": round(seconds, 2),
        "lost": BURST - Run.objects.filter(prefect_id__in=ids, state_type="FAILED").count(),
    }


def idle(environment: Environment, deployments: int) -> dict[str, Any]:
    """What reading the deployments costs while nothing changes: the whole list, and what changed of a long one."""
    prefect.deployments_count = deployments
    catalog.sync(environment)
    _, whole = spent(lambda: catalog.sync(environment))
    _, changed = spent(lambda: catalog.keep_up(environment))
    often = PERIOD if deployments <= catalog.SHORT else catalog.WHOLE_EVERY
    percent = 100 * (whole / often.total_seconds() + (changed / PERIOD.total_seconds() if often > PERIOD else 0))
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
    result["state changes at once"] = burst(environment)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main(int(sys.argv[1]))
