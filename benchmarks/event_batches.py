"""Ends of runs of many deployments, handled in batches as the consumer handles them, and the processor time of that.

Measured is the time of this process's processor and that of the Postgres session; each measurement is rolled back.
Import it after Django is set up.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from flows.models import Deployment, Environment, Server
from runs.models import Run, RunEvent

DEPLOYMENTS, BATCH = 1_000, 100


def create_ends(number_of_events: int, states: Sequence[str]) -> tuple[Environment, list[Deployment]]:
    """Create runs that have ended in these states by turns, and their events; return where, and their deployments."""
    place, deployments = create_deployments(DEPLOYMENTS)
    runs = Run.objects.bulk_create(
        Run(
            environment=place,
            flow_name=each.flow_name,
            synced_at=each.synced_at,
            deployment=each,
            access_deployment=each,
            deployment_name=each.full_name,
            prefect_id=uuid.uuid4(),
            name=f"run {number}",
            state_type=states[number // DEPLOYMENTS % len(states)],
            parameters={"month": "2026-10", "rows": 100},
            tags=["crm"],
        )
        for number in range(number_of_events)
        for each in [deployments[number % DEPLOYMENTS]]
    )
    RunEvent.objects.bulk_create(
        RunEvent(
            kind=RunEvent.Kind.RUN_MOVED,
            environment_id=place.pk,
            deployment_id=run.deployment_id,
            run_id=run.pk,
            data={"state": run.state_type, "before": "RUNNING"},
        )
        for run in runs
    )
    return place, deployments


def create_deployments(number_of_deployments: int, **columns: Any) -> tuple[Environment, list[Deployment]]:
    """Create an environment and its deployments, which have these `columns` besides their names."""
    place = Environment.objects.create(slug="dev", server=Server.objects.create(api_url="http://dev.test/api"))
    deployments = Deployment.objects.bulk_create(
        Deployment(
            environment=place,
            flow_name="flow",
            synced_at=timezone.now(),
            prefect_id=uuid.uuid4(),
            flow_id=uuid.uuid4(),
            name=f"d{number}",
            full_name=f"flow/d{number}",
            schema_fingerprint="",
            **columns,
        )
        for number in range(number_of_deployments)
    )
    return place, list(deployments)


def report(title: str, handle: Callable[[list[RunEvent]], object], written: type[Model], noun: str) -> None:
    """Print what handling all events takes, and how many rows it writes."""
    here, postgres, rows = measure(handle, written)
    number = RunEvent.objects.count()
    each = [seconds / number * 1e6 for seconds in (here, postgres)]
    busy = (here + postgres) / number * 10_000 / 60
    print(
        f"{title:<36} {each[0]:5.0f} µs an event, {each[1]:5.0f} µs in Postgres, {rows:5} {noun}; "
        f"10,000 events a minute keep a processor busy for {busy:.1%}"
    )


def measure(handle: Callable[[list[RunEvent]], object], written: type[Model]) -> tuple[float, float, int]:
    """Return the processor seconds here and in Postgres for all events, and how many rows were written."""
    events = list(RunEvent.objects.order_by("pk"))
    postgres, here = used_by_postgres(), time.process_time()
    with transaction.atomic():
        for first in range(0, len(events), BATCH):
            handle(events[first : first + BATCH])
        here = time.process_time() - here
        postgres, rows = used_by_postgres() - postgres, written._default_manager.count()
        transaction.set_rollback(True)
    return here, postgres, rows


def used_by_postgres() -> float:
    """Return the processor seconds of the session's process, which is on this machine."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
