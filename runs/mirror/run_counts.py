"""Count the runs that ended, with the runs themselves: the only code that writes `RunCount` and its sums by day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.utils import timezone

from flows.models import Environment
from runs.duration_buckets import sql_bucket_of
from runs.mirror.environment_lock import mirror_lock
from runs.mirror.run_retention import horizon_of
from runs.models import DeploymentDayCount, EnvironmentDayCount, Run, RunCount
from runs.models.run import TERMINAL

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# In both statements, so that a count that was kept equals one that is made again. A duration comes from Prefect: one
# that is not a number, or negative, must not stop a sync.
EXACT_MS = "(least(greatest(run_seconds, 0), 1e12) * 1000)"
MS = f"{EXACT_MS}::bigint"
BUCKET = sql_bucket_of(EXACT_MS)

# One statement for the three tables, so that they agree in every snapshot. An hour is truncated in the portal's time
# zone: a day of a zone that is half an hour off consists of full hours too. The day of a count is that of UTC in which
# its hour begins: it does not depend on the portal's zone, which can be changed.
ADD = f"""
    WITH changed AS (
        SELECT deployment_id, access_deployment_id, flow_name, date_trunc('hour', ended_at, %(zone)s) AS hour,
            state_type, {BUCKET} AS duration_bucket, sum(sign)::int AS number, sum(sign * {MS})::bigint AS total_ms
        FROM unnest(
            %(deployments)s::bigint[], %(access_deployments)s::bigint[], %(flows)s::text[], %(ends)s::timestamptz[],
            %(states)s::text[], %(seconds)s::float8[], %(signs)s::int[]
        ) AS change (deployment_id, access_deployment_id, flow_name, ended_at, state_type, run_seconds, sign)
        GROUP BY 1, 2, 3, 4, 5, 6
    ), hours AS (
        INSERT INTO runs_runcount AS known
            (environment_id, deployment_id, access_deployment_id, flow_name, hour, state_type, duration_bucket, number,
            total_ms)
        SELECT %(environment)s, * FROM changed
        ON CONFLICT
            (environment_id, deployment_id, access_deployment_id, flow_name, hour, state_type, duration_bucket)
        DO UPDATE SET number = known.number + excluded.number, total_ms = known.total_ms + excluded.total_ms
    ), deployment_days AS (
        INSERT INTO runs_deploymentdaycount AS known
            (environment_id, deployment_id, access_deployment_id, flow_name, day, state_type, number, total_ms)
        SELECT %(environment)s, deployment_id, access_deployment_id, flow_name, (hour AT TIME ZONE 'UTC')::date,
            state_type, sum(number), sum(total_ms)
        FROM changed GROUP BY 2, 3, 4, 5, 6
        ON CONFLICT (environment_id, deployment_id, access_deployment_id, flow_name, day, state_type)
        DO UPDATE SET number = known.number + excluded.number, total_ms = known.total_ms + excluded.total_ms
    )
    INSERT INTO runs_environmentdaycount AS known
        (environment_id, day, state_type, duration_bucket, number, total_ms)
    SELECT %(environment)s, (hour AT TIME ZONE 'UTC')::date, state_type, duration_bucket, sum(number), sum(total_ms)
    FROM changed GROUP BY 2, 3, 4
    ON CONFLICT (environment_id, day, state_type, duration_bucket)
    DO UPDATE SET number = known.number + excluded.number, total_ms = known.total_ms + excluded.total_ms
"""
DELETE = """
    DELETE FROM runs_runcount WHERE environment_id = %(environment)s
    AND hour > date_trunc('hour', %(horizon)s::timestamptz, %(zone)s)
"""
REBUILD = f"""
    INSERT INTO runs_runcount
        (environment_id, deployment_id, access_deployment_id, flow_name, hour, state_type, duration_bucket, number,
        total_ms)
    SELECT environment_id, deployment_id, access_deployment_id,
        CASE WHEN access_deployment_id IS NULL THEN flow_name ELSE '' END, date_trunc('hour', ended_at, %(zone)s),
        state_type, {BUCKET}, count(*), sum({MS})
    FROM runs_run
    WHERE environment_id = %(environment)s AND state_type = ANY (%(states)s) AND ended_at IS NOT NULL
    AND date_trunc('hour', ended_at, %(zone)s) > date_trunc('hour', %(horizon)s::timestamptz, %(zone)s)
    GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
# From the hours, which outlive the runs.
REBUILD_DEPLOYMENT_DAYS = """
    INSERT INTO runs_deploymentdaycount
        (environment_id, deployment_id, access_deployment_id, flow_name, day, state_type, number, total_ms)
    SELECT environment_id, deployment_id, access_deployment_id, flow_name, (hour AT TIME ZONE 'UTC')::date, state_type,
        sum(number), sum(total_ms)
    FROM runs_runcount WHERE environment_id = %(environment)s GROUP BY 1, 2, 3, 4, 5, 6
"""
REBUILD_ENVIRONMENT_DAYS = """
    INSERT INTO runs_environmentdaycount (environment_id, day, state_type, duration_bucket, number, total_ms)
    SELECT environment_id, (hour AT TIME ZONE 'UTC')::date, state_type, duration_bucket, sum(number), sum(total_ms)
    FROM runs_runcount WHERE environment_id = %(environment)s GROUP BY 1, 2, 3, 4
"""
DAYS: tuple[type[DeploymentDayCount] | type[EnvironmentDayCount], ...] = (DeploymentDayCount, EnvironmentDayCount)


class Counted(NamedTuple):
    """What is counted of a run."""

    deployment_id: int | None
    access_deployment_id: int | None
    flow_name: str
    ended_at: datetime
    state_type: str
    seconds: float

    @classmethod
    def of(cls, run: Run | None) -> Counted | None:
        """Return what is counted of this reading; None for one that has not ended."""
        if run is None or run.state_type not in TERMINAL or run.ended_at is None:
            return None
        # By its flow only where no deployment decides who sees it: one key less for all others.
        flow = "" if run.access_deployment_id else run.flow_name
        return cls(run.deployment_id, run.access_deployment_id, flow, run.ended_at, run.state_type, run.run_seconds)


def count_changes(environment: Environment, pairs: Iterable[tuple[Run | None, Run]]) -> None:
    """Count runs by their rows before and after a reading, in its transaction; the caller holds the mirror's lock."""
    changes = [(Counted.of(before), Counted.of(after)) for before, after in pairs]
    gone = [before for before, after in changes if before and before != after]
    come = [after for before, after in changes if after and before != after]
    moved = [*((each, -1) for each in gone), *((each, 1) for each in come)]
    if not moved:
        return
    values: dict[str, Any] = {
        "environment": environment.pk,
        "zone": timezone.get_default_timezone_name(),
        "deployments": [each.deployment_id for each, _ in moved],
        "access_deployments": [each.access_deployment_id for each, _ in moved],
        "flows": [each.flow_name for each, _ in moved],
        "ends": [each.ended_at for each, _ in moved],
        "states": [each.state_type for each, _ in moved],
        "seconds": [each.seconds for each, _ in moved],
        "signs": [sign for _, sign in moved],
    }
    with connection.cursor() as cursor:
        cursor.execute(ADD, values)
    if gone:
        for model in (RunCount, *DAYS):
            model._default_manager.filter(environment=environment, number=0).delete()


@transaction.atomic
def rebuild_counts(environment: Environment) -> None:
    """Count all runs of an environment again, such as after a restore; hours with deleted runs stay as they are."""
    mirror_lock(environment)
    values: dict[str, Any] = {
        "environment": environment.pk,
        "zone": timezone.get_default_timezone_name(),
        "states": sorted(TERMINAL),
        "horizon": horizon_of(environment) or BEGINNING,
    }
    with connection.cursor() as cursor:
        cursor.execute(DELETE, values)
        cursor.execute(REBUILD, values)
        for model in DAYS:
            model._default_manager.filter(environment=environment).delete()
        cursor.execute(REBUILD_DEPLOYMENT_DAYS, values)
        cursor.execute(REBUILD_ENVIRONMENT_DAYS, values)
