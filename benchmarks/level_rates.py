"""Evaluates service levels of many deployments in an empty database, and measures; `benchmarks.levels` starts one."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()

from django.core.management import call_command  # noqa: E402  (Django must be set up before)
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks.event_batches import create_deployments, used_by_postgres  # noqa: E402
from flows.models import Health  # noqa: E402
from runs.levels import evaluation  # noqa: E402
from runs.models import Breach, Run, RunCount, ServiceLevel  # noqa: E402

DEPLOYMENTS, DAYS, ROUNDS = 10_000, 30, 5
RUNNING, LATE, NAMED = 400, 100, 40
Kind = ServiceLevel.Kind
THRESHOLDS = {Kind.LATE: 10.0, Kind.LONG: 120.0, Kind.UNUSUAL: 3.0, Kind.SILENT: 36.0, Kind.FAILING: 20.0}

# Each tenth deployment runs every hour, the others once a day; a twentieth of the runs failed.
COUNTS = """
    INSERT INTO runs_runcount (environment_id, deployment_id, access_deployment_id, flow_name, hour, state_type,
        duration_bucket, number, total_ms)
    SELECT environment_id, id, id, '', hour, CASE WHEN random() < 0.05 THEN 'FAILED' ELSE 'COMPLETED' END,
        60 + floor(random() * 6), 1, 60000
    FROM flows_deployment CROSS JOIN generate_series(
        date_trunc('hour', now()) - %(days)s * interval '1 day', date_trunc('hour', now()), interval '1 hour') AS hour
    WHERE id %% 10 = 0 OR extract(hour FROM hour) = id %% 24
"""


def prepare() -> None:
    """Deployments with a month of counts, active runs, and levels of each kind: for all of them, and for some."""
    now = timezone.now()
    place, deployments = create_deployments(DEPLOYMENTS, created_upstream_at=now - timedelta(days=90))
    common = {"environment": place, "flow_name": "flow", "synced_at": now}
    Run.objects.bulk_create(
        Run(
            **common,
            deployment=each,
            access_deployment=each,
            deployment_name=each.full_name,
            prefect_id=uuid.uuid4(),
            name="run",
            state_type="RUNNING" if number < RUNNING else "SCHEDULED",
            started_at=now - timedelta(seconds=number) if number < RUNNING else None,
            expected_start_at=now - timedelta(seconds=number),
        )
        for number, each in enumerate(deployments[: RUNNING + LATE])
    )
    with connection.cursor() as cursor:
        cursor.execute(COUNTS, {"days": DAYS})
        # What workers of Postgres do is not counted.
        cursor.execute("SET max_parallel_workers_per_gather = 0")
        cursor.execute("VACUUM ANALYZE")
    Health.objects.update_or_create(
        server=place.server, defaults={"runs_synced_at": timezone.now() + timedelta(days=1), "synced_for": [place.pk]}
    )
    for kind, threshold in THRESHOLDS.items():
        days = 7 if kind == Kind.FAILING else 0
        columns = {"environment": place, "kind": kind, "threshold": threshold, "days": days, "created_by_name": "b"}
        ServiceLevel.objects.create(**columns)
        ServiceLevel.objects.bulk_create(
            ServiceLevel(**columns, full_name=f"flow/d{number}") for number in range(NAMED)
        )


def seconds_of(act: Callable[[], object]) -> tuple[float, float]:
    """Return the processor seconds here and in Postgres, of one round."""
    postgres, here = used_by_postgres(), time.process_time()
    for _ in range(ROUNDS):
        act()
    here = time.process_time() - here
    return here / ROUNDS, (used_by_postgres() - postgres) / ROUNDS


def main() -> int:
    call_command("migrate", verbosity=0)
    prepare()
    begun = time.perf_counter()
    evaluation.evaluate()
    print(
        f"{DEPLOYMENTS:,} deployments, {RunCount.objects.count():,} counts, {ServiceLevel.objects.count()} levels; the "
        f"first round opened {Breach.objects.count():,} breaches in {time.perf_counter() - begun:.1f} s"
    )
    for kind in Kind:
        here, postgres = seconds_of(lambda kind=kind: evaluation.evaluate_kind(kind))  # type: ignore[misc]
        print(f"{kind.value:<10} {here * 1000:5.0f} ms, {postgres * 1000:5.0f} ms in Postgres")
    here, postgres = seconds_of(evaluation.evaluate)
    share = (here + postgres) / 60
    print(
        f"all        {here * 1000:5.0f} ms, {postgres * 1000:5.0f} ms in Postgres: once a minute, {share:.2%} of a core"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
