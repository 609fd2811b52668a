"""Record each run started outside the portal in the audit trail, once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flows.catalog import health
from flows.models import Environment
from flows.prefect_api.records import FlowRunRecord
from runs import audit
from runs.actors import Actor
from runs.models import AuditEntry, Run, RunRequest

# Of idempotency keys: see `RunRequest.idempotency_key`.
PREFIX = "portal-"
# Prefect's clock and this one differ.
SKEW = timedelta(minutes=2)
BEFORE_EVERYTHING = datetime.min.replace(tzinfo=UTC)


def requests_of(environment: Environment, records: Sequence[FlowRunRecord]) -> dict[UUID, RunRequest]:
    """Return the flow runs launched for a request, each with its request, even if that does not know its run yet."""
    requests = RunRequest.objects.filter(environment=environment).select_related("change", "spec")
    found = requests.filter(flow_run_id__in=[record.id for record in records])
    ours = {each.flow_run_id: each for each in found if each.flow_run_id}
    # The form of a key proves nothing, since any client can send one: a request must have it.
    keys = {record.idempotency_key: record.id for record in records if record.id not in ours}
    submissions = [pk for key in keys if (pk := submission(key))]
    if submissions:
        by_key = {each.idempotency_key: each for each in requests.filter(change__submission_key__in=submissions)}
        ours |= {pk: by_key[key] for key, pk in keys.items() if key in by_key}
    return ours


def submission(key: str | None) -> UUID | None:
    """Return the submission key inside an idempotency key of the portal's form, or None."""
    try:
        return UUID(key[len(PREFIX) :][:36]) if key and key.startswith(PREFIX) else None
    except ValueError:
        return None


def record_external_runs(
    environment: Environment,
    records: Iterable[FlowRunRecord],
    *,
    known: Mapping[UUID, Run],
    ours: Collection[UUID],
    runs: Iterable[Run],
) -> None:
    """Record the runs that are new and external; `known` are their rows before this sync, `runs` after it."""
    new = [record for record in records if record.id not in ours and is_new(record, known.get(record.id))]
    since = watching_since(environment) if new else None
    if since is None:
        return
    # Named after Prefect, not the portal: the portal only noticed it, and who started it is not known reliably.
    rows = {run.prefect_id: run for run in runs}
    by = Actor.system("Prefect")
    audit.record_many(
        [
            audit.Act("run.appeared", rows[record.id], by, environment=environment.slug, after=describe(record))
            for record in new
            # A subflow run belongs to its parent, which has an entry if it was started outside.
            if record.id in rows and not rows[record.id].parent_id and (started_at(record) or since) >= since
        ]
    )


def is_new(record: FlowRunRecord, known: Run | None) -> bool:
    """Return whether the run was not known before; runs of Prefect's schedules count once they have started.

    Prefect plans up to 100 of those ahead, and deletes them again when the schedule changes.
    """
    if record.auto_scheduled:
        return record.started_at is not None and (known is None or known.started_at is None)
    return known is None


def started_at(record: FlowRunRecord) -> datetime | None:
    """Return when the run came into being for `is_new`: its start, or its creation."""
    return record.started_at if record.auto_scheduled else record.created_at


def watching_since(environment: Environment) -> datetime | None:
    """Return since when external runs are recorded; None before the first sync has read the existing history."""
    if health.runs_synced_at(environment) is None:
        return None
    adopted = AuditEntry.objects.filter(
        verb="run.adopted", subject_kind="environment", subject_id=str(environment.pk)
    ).first()
    # An environment that had no runs has no such entry: then everything counts.
    return adopted.at - SKEW if adopted else BEFORE_EVERYTHING


def describe(record: FlowRunRecord) -> dict[str, Any]:
    """Return the facts for the audit entry; only the names of parameters, because values may be secret."""
    return {
        "prefect_id": str(record.id),
        "state": record.state.name if record.state else "",
        "created_at": record.created_at,
        "parameters": sorted(record.parameters),
        "tags": list(record.tags),
        "is_child_of_a_run": record.parent_task_run_id is not None,
        "is_from_a_schedule_in_prefect": record.auto_scheduled,
    }


def record_first_history(environment: Environment) -> None:
    """Record one entry for all runs that existed before the environment was added."""
    # One entry instead of thousands, of which none would say who started the run.
    count = Run.objects.filter(environment=environment, created_by_portal=False).count()
    if count:
        by = Actor.system("Prefect")
        with audit.act("run.adopted", environment, by=by, environment=environment.slug) as act:
            act.after = {"runs": count}
