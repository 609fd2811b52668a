"""Find where service levels do not hold: the only code that writes `Breach`.

One statement for each kind, over roll-ups and the few runs that are active; none reads the history of runs. Levels of
an environment that was not synced lately are left as they are: old readings breach nothing, and clear nothing.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from runs import events
from runs.duration_buckets import RATIO
from runs.models import Breach, RunEvent, ServiceLevel

Kind = ServiceLevel.Kind
# Runs are synced every 30 s.
FRESH = timedelta(minutes=5)
# Of these the usual duration is taken, and of so many at least, as on the page of a run.
USUAL_DAYS, FEWEST_COMPLETED = 30, 5
# A share of fewer runs is an accident.
FEWEST_ENDED = 5

# Which deployments each level of a kind is about now. {found} says where it does not hold.
STATEMENT = """
    WITH fresh AS MATERIALIZED (
        SELECT env.id FROM flows_environment env
        JOIN flows_health health ON health.server_id = env.server_id AND env.id = ANY (health.synced_for)
        WHERE env.is_active AND health.runs_synced_at >= %(fresh)s
    ), covered AS MATERIALIZED (
        SELECT level.id AS level_id, level.threshold, level.days, level.created_at, d.id AS deployment_id,
            d.created_upstream_at
        FROM runs_servicelevel level JOIN fresh ON fresh.id = level.environment_id
        JOIN flows_deployment d ON d.environment_id = level.environment_id AND d.deleted_upstream_at IS NULL
        WHERE level.removed_at IS NULL AND level.kind = %(kind)s
        AND (level.full_name = '' OR d.full_name = level.full_name) AND (level.tag = '' OR level.tag = ANY (d.tags))
    ), found (level_id, deployment_id, value) AS MATERIALIZED ({found}), opened AS (
        INSERT INTO runs_breach (level_id, deployment_id, value, opened_at)
        SELECT level_id, deployment_id, value, %(now)s FROM found
        ON CONFLICT (level_id, deployment_id) WHERE cleared_at IS NULL DO NOTHING
        RETURNING id, level_id
    ), cleared AS (
        UPDATE runs_breach breach SET cleared_at = %(now)s
        FROM runs_servicelevel level JOIN fresh ON fresh.id = level.environment_id
        WHERE breach.level_id = level.id AND level.kind = %(kind)s AND breach.cleared_at IS NULL
        AND NOT EXISTS (
            SELECT FROM found WHERE found.level_id = breach.level_id AND found.deployment_id = breach.deployment_id
        )
        RETURNING breach.id, breach.level_id
    )
    SELECT true, level_id, id FROM opened UNION ALL SELECT false, level_id, id FROM cleared
"""
# The runs that have begun and not ended; the condition is that of a partial index.
RUNNING = """
    SELECT deployment_id, extract(epoch FROM %(now)s - started_at) AS seconds FROM runs_run
    WHERE state_type = 'RUNNING' AND deleted_upstream_at IS NULL AND started_at IS NOT NULL
"""
FOUND: dict[Kind, str] = {
    # Such a run waits for a worker, a slot or a process, or is held on purpose: it is late all the same.
    Kind.LATE: """
        SELECT level_id, deployment_id, max(extract(epoch FROM %(now)s - run.expected_start_at) / 60)
        FROM covered JOIN runs_run run USING (deployment_id)
        WHERE run.state_type IN ('SCHEDULED', 'PENDING') AND run.deleted_upstream_at IS NULL
        AND run.expected_start_at < %(now)s - threshold * interval '1 minute'
        GROUP BY 1, 2
    """,
    Kind.LONG: f"""
        SELECT level_id, deployment_id, max(seconds / 60)
        FROM covered JOIN ({RUNNING}) AS running USING (deployment_id)
        WHERE seconds > threshold * 60
        GROUP BY 1, 2
    """,
    # The 95th percentile as `duration_buckets.percentile` has it, of the deployments that run now.
    Kind.UNUSUAL: f"""
        SELECT level_id, deployment_id, max(seconds / p95)
        FROM covered JOIN ({RUNNING}) AS running USING (deployment_id)
        JOIN LATERAL (
            SELECT power({RATIO}, min(duration_bucket) - 0.5) / 1000 AS p95 FROM (
                SELECT duration_bucket, sum(sum(number)) OVER (ORDER BY duration_bucket) AS counted,
                    sum(sum(number)) OVER () AS total
                FROM runs_runcount known
                WHERE known.deployment_id = covered.deployment_id AND state_type = 'COMPLETED' AND hour >= %(usual)s
                GROUP BY duration_bucket
            ) AS buckets WHERE total >= {FEWEST_COMPLETED} AND counted >= ceil(0.95 * total)
        ) AS usual ON p95 > 0
        WHERE seconds > threshold * p95
        GROUP BY 1, 2
    """,
    # A count is of an hour: the run can have ended at its end. Before the first one, since something is expected.
    Kind.SILENT: """
        SELECT level_id, deployment_id, extract(epoch FROM %(now)s - since) / 3600
        FROM covered CROSS JOIN LATERAL (
            SELECT coalesce(
                (SELECT hour + interval '1 hour' FROM runs_runcount known
                WHERE known.deployment_id = covered.deployment_id AND state_type = 'COMPLETED'
                ORDER BY hour DESC LIMIT 1),
                greatest(covered.created_at, covered.created_upstream_at)
            ) AS since
        ) AS last
        WHERE since < %(now)s - threshold * interval '1 hour'
    """,
    Kind.FAILING: f"""
        SELECT level_id, deployment_id, 100.0 * failed / ended
        FROM covered CROSS JOIN LATERAL (
            SELECT sum(number) AS ended, sum(number) FILTER (WHERE state_type <> 'COMPLETED') AS failed
            FROM runs_runcount known
            WHERE known.deployment_id = covered.deployment_id AND hour >= %(now)s - covered.days * interval '1 day'
            AND state_type IN ('COMPLETED', 'FAILED', 'CRASHED')
        ) AS share
        WHERE ended >= {FEWEST_ENDED} AND 100.0 * failed > threshold * ended
    """,
}


def evaluate() -> None:
    """Open the breaches that there are now, and clear those that are over."""
    # Also those of which a level was removed while a breach of it was being opened: it is cleared now.
    is_open = Exists(Breach.objects.filter(level=OuterRef("pk"), cleared_at=None))
    levels = ServiceLevel.objects.filter(Q(removed_at=None) | Q(is_open))
    for kind in levels.order_by().values_list("kind", flat=True).distinct():
        evaluate_kind(Kind(kind))


@transaction.atomic
def evaluate_kind(kind: Kind) -> None:
    now = timezone.now()
    values: dict[str, Any] = {
        "now": now,
        "fresh": now - FRESH,
        "usual": now - timedelta(days=USUAL_DAYS),
        "kind": kind.value,
    }
    with connection.cursor() as cursor:
        cursor.execute(STATEMENT.replace("{found}", FOUND[kind]), values)
        changed: dict[tuple[bool, int], list[int]] = defaultdict(list)
        for is_open, level, breach in cursor.fetchall():
            changed[is_open, level].append(breach)
    record(changed)


def clear(level: ServiceLevel) -> list[int]:
    """Clear the open breaches of a level that is removed, in the current transaction; return their keys."""
    keys = list(level.breaches.filter(cleared_at=None).order_by("pk").values_list("pk", flat=True))
    Breach.objects.filter(pk__in=keys).update(cleared_at=timezone.now())
    return keys


def record(changed: dict[tuple[bool, int], list[int]]) -> None:
    """Write one event for each level: a server that stops can breach it for thousands of deployments at once."""
    places = dict(
        ServiceLevel.objects.filter(pk__in={level for _, level in changed}).values_list("pk", "environment_id")
    )
    events.record_many(
        [
            RunEvent(
                kind=RunEvent.Kind.LEVEL_BREACHED if is_open else RunEvent.Kind.LEVEL_CLEARED,
                environment_id=places[level],
                data={"level": level, "breaches": sorted(keys)},
            )
            for (is_open, level), keys in sorted(changed.items())
        ]
    )
