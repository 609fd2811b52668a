"""Upsert flow runs read from Prefect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from flows import parameters as schemas
from flows.db_text import sanitize_json
from flows.encryption import DecryptionError
from flows.models import Deployment, Environment
from flows.prefect_api.records import FlowRunRecord
from runs import changes, requests
from runs.change_feed import publish
from runs.mirror import external_runs, run_counts, run_events, run_rows, schedule_runs
from runs.mirror.environment_lock import mirror_lock
from runs.mirror.external_runs import SKEW
from runs.mirror.run_retention import horizon_of, is_forgotten
from runs.models import Run, RunRequest

# The most that Prefect lists in one call.
BATCH = 200
# Stands for every value when no schema says which ones are secret.
HIDDEN = "••••••"


@dataclass(frozen=True, slots=True)
class Family:
    """What a flow run does not tell about itself: Prefect's id of its parent, and the name of its flow by its id."""

    parents: Mapping[UUID, UUID] = field(default_factory=dict)
    flow_names: Mapping[UUID, str] = field(default_factory=dict)


@transaction.atomic
def upsert(environment: Environment, records: Sequence[FlowRunRecord], family: Family = Family()) -> list[Run]:
    """Upsert runs, never an older state over a newer one; return those that are new or changed state.

    The parents named in `family` have been upserted before.
    """
    # 1. What is known. Rows are locked in the order of their keys, so that two readers cannot deadlock.
    mirror_lock(environment)
    known = {
        run.prefect_id: run
        for run in Run.objects.select_for_update(of=["self"])
        .filter(environment=environment, prefect_id__in=[record.id for record in records])
        .order_by("pk")
    }
    # Of those that retention has deleted none returns; a run that was retried since has not ended.
    horizon = horizon_of(environment)
    records = [record for record in records if record.id in known or not is_forgotten(record, horizon)]
    deployments = {
        deployment.prefect_id: deployment
        for deployment in Deployment.objects.filter(
            environment=environment, prefect_id__in=[r.deployment_id for r in records if r.deployment_id]
        )
    }
    parents = known_parents(environment, records, family)
    # 2. Write what is not older than the known state.
    ours = external_runs.requests_of(environment, records)
    scheduled = schedule_runs.schedules_of(records, deployments)
    now = timezone.now()
    fresh = [record for record in records if not is_stale(record, known.get(record.id))]
    rows = [
        row(
            environment,
            record,
            deployments.get(record.deployment_id),  # type: ignore[arg-type]  # None is never a key
            now,
            known.get(record.id),
            ours.get(record.id),
            parents.get(record.id),
            family.flow_names.get(record.flow_id, ""),
            scheduled.get(record.id),
        )
        for record in fresh
    ]
    run_rows.write(list(map(sanitize_json, rows)), known, now)
    run_counts.count_changes(environment, [(known.get(row.prefect_id), row) for row in rows])
    # Only ever set, never cleared: a request can learn its run after the mirror did.
    Run.objects.filter(environment=environment, prefect_id__in=ours, created_by_portal=False).update(
        created_by_portal=True
    )
    # 3. What follows from a change, in the same transaction: requests, events, audit entries, live pages.
    changed = [r.id for r in fresh if r.id not in known or differs(r, known[r.id])]
    # A run that moved is no longer stalled; whether its new state lasts too long is found by the next sweep.
    moved = [r.id for r in fresh if r.id in known and known[r.id].stalled_kind and is_moved(r, known[r.id])]
    if moved:
        Run.objects.filter(environment=environment, prefect_id__in=moved).update(stalled_kind="", stalled_since=None)
    runs = list(Run.objects.filter(environment=environment, prefect_id__in=changed))
    # Read above; joined they would be read and parsed again for each run.
    by_pk = {deployment.pk: deployment for deployment in deployments.values()}
    for run in runs:
        run.environment = environment
        if run.deployment_id in by_pk:
            run.deployment = by_pk[run.deployment_id]
    started = [ours[r.id] for r in fresh if r.id in ours and has_started(r, known.get(r.id))]
    changes.settle(runs, started)
    run_events.record_changes(environment, runs, known, ours)
    # What Prefect starts by an approved schedule was not started past the portal.
    approved = {*ours, *(run.prefect_id for run in runs if run.schedule_id)}
    external_runs.record_external_runs(environment, fresh, known=known, ours=approved, runs=runs)
    publish("run", [run.pk for run in runs])
    return runs


def known_parents(environment: Environment, records: Sequence[FlowRunRecord], family: Family) -> dict[UUID, Run]:
    """Return the rows of the parents of these runs, by Prefect's id of the child.

    A run is part of another only if it began while that one ran: Prefect takes any parent that a client names.
    """
    wanted = {record.id: family.parents[record.id] for record in records if record.id in family.parents}
    if not wanted:
        return {}
    rows = {run.prefect_id: run for run in Run.objects.filter(environment=environment, prefect_id__in=wanted.values())}
    return {
        record.id: rows[wanted[record.id]]
        for record in records
        if wanted.get(record.id) in rows and began_during(record, rows[wanted[record.id]])
    }


def began_during(record: FlowRunRecord, parent: Run) -> bool:
    if record.created_at is None or parent.started_at is None:
        return False
    ended = parent.ended_at if parent.is_terminal else None
    return parent.started_at - SKEW <= record.created_at and (ended is None or record.created_at <= ended + SKEW)


def is_stale(record: FlowRunRecord, known: Run | None) -> bool:
    """Return whether this reading is older than the row: a slow reader can be overtaken by a faster one."""
    if known is None or known.state_at is None or record.state is None:
        return False
    # Equal is not stale: other columns can change without a new state.
    return record.state.timestamp < known.state_at


def has_started(record: FlowRunRecord, known: Run | None) -> bool:
    """Return whether a worker has taken the run, or begun to run it, since it was last read."""
    if record.state is None or record.state.type == "SCHEDULED" or is_unstarted_end(record):
        return False
    return known is None or known.state_type == "SCHEDULED" or record.run_count > known.run_count


def is_unstarted_end(record: FlowRunRecord) -> bool:
    """Return whether the run was cancelled before any worker took it."""
    return record.state is not None and record.state.type == "CANCELLED" and not record.run_count


def differs(record: FlowRunRecord, known: Run) -> bool:
    """Return whether pages and requests have to learn of this reading."""
    return is_moved(record, known) or record.name != known.name or known.deleted_upstream_at is not None


def is_moved(record: FlowRunRecord, known: Run) -> bool:
    return (record.state.id if record.state else None) != known.state_id


def row(
    environment: Environment,
    record: FlowRunRecord,
    deployment: Deployment | None,
    now: datetime,
    known: Run | None,
    run_request: RunRequest | None,
    parent: Run | None,
    flow_name: str,
    schedule_id: int | None = None,
) -> Run:
    """Return the unsaved row for a reading, with secret parameters masked."""
    state = record.state
    # Known once, it stays: the parent may be deleted in Prefect before its children are read again.
    governed = parent or known
    access_deployment_id = deployment.pk if deployment else governed.access_deployment_id if governed else None
    return Run(
        environment=environment,
        deployment=deployment,
        prefect_id=record.id,
        name=record.name,
        access_deployment_id=access_deployment_id,
        parent_id=parent.pk if parent else known.parent_id if known else None,
        parent_task_run_id=record.parent_task_run_id,
        flow_name=deployment.flow_name if deployment else flow_name or (known.flow_name if known else ""),
        deployment_name=deployment.full_name if deployment else "",
        deployment_version=record.deployment_version,
        parameters=visible_parameters(record.parameters, deployment, known, run_request),
        tags=list(record.tags),
        state_id=state.id if state else None,
        state_type=state.type if state else "PENDING",
        state_name=state.name if state else "",
        state_message=state.message if state else "",
        state_at=state.timestamp if state else None,
        run_count=record.run_count,
        expected_start_at=record.planned_for or record.expected_start_at,
        # Prefect gives a start time to a run, too, that ended without ever starting.
        started_at=record.started_at if record.run_count else None,
        ended_at=record.ended_at,
        run_seconds=record.total_run_seconds,
        work_pool_name=record.work_pool_name,
        work_queue_name=record.work_queue_name,
        infrastructure_pid=record.infrastructure_pid,
        is_auto_scheduled=record.auto_scheduled,
        # Known once, it stays: Prefect's schedule can be gone before its last run is read again.
        schedule_id=schedule_id or (known.schedule_id if known else None),
        created_upstream_at=record.created_at,
        synced_at=now,
        deleted_upstream_at=None,  # a run that was marked as deleted by mistake comes back
    )


def visible_parameters(
    parameters: dict[str, Any], deployment: Deployment | None, known: Run | None, run_request: RunRequest | None
) -> dict[str, Any]:
    """Return the parameters with secrets masked: Prefect returns even SecretStr values in clear text.

    A redeploy may drop the mark of a secret. Its value in earlier runs stays a secret: what the request sealed and what
    the mirror masked before stay masked.
    """
    if deployment is None:
        return dict.fromkeys(parameters, HIDDEN)
    also: frozenset[str] = frozenset()
    # Without a deployment everything was masked, for want of a schema: that says nothing of the values.
    if known and known.deployment_id:
        also |= schemas.masked_paths(known.parameters)
    elif run_request and run_request.spec.sealed_parameters:
        try:
            also |= requests.secret_paths(run_request)
        except DecryptionError:
            return dict.fromkeys(parameters, HIDDEN)
    return schemas.mask(deployment.parameter_schema, parameters, also)


def mark_deleted(environment: Environment, prefect_ids: set[UUID]) -> None:
    """Mark runs that Prefect no longer has, and end their requests; the rows stay for history."""
    if not prefect_ids:
        return
    with transaction.atomic():
        mirror_lock(environment)
        gone = list(Run.objects.filter(environment=environment, prefect_id__in=prefect_ids, deleted_upstream_at=None))
        Run.objects.filter(pk__in=[run.pk for run in gone]).update(deleted_upstream_at=timezone.now())
        # By id: the mirror may never have read the run of a request.
        changes.settle_deleted(environment, prefect_ids)
        run_events.record_deletions(gone)
        publish("run", [run.pk for run in gone])
