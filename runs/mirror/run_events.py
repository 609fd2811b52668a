"""Write the events of mirrored runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models.functions import Now
from django.utils import timezone

from flows.catalog import health
from flows.models import Environment
from runs import artifact_facts, events
from runs.mirror.external_runs import SKEW
from runs.models import Artifact, Run, RunEvent, RunRequest

Kind = RunEvent.Kind
# Nothing reacts to an artifact that was made or changed longer ago.
RECENT = timedelta(hours=24)


def record_changes(
    environment: Environment, runs: Sequence[Run], known: Mapping[UUID, Run], ours: Mapping[UUID, RunRequest]
) -> None:
    """Record the runs that are new here or moved; `known` are their rows before this reading, `runs` after it.

    `ours` are the requests that they were launched for, also of those that do not know their run yet.
    """
    if not runs:
        return
    synced_at = health.runs_synced_at(environment)
    rows = []
    for run in runs:
        request = ours.get(run.prefect_id)
        before = known.get(run.prefect_id)
        if before is None:
            is_history = ended_before(run, synced_at)
            data = {"state": run.state_type}
            rows.append(event_of(Kind.RUN_APPEARED, run, data, request, is_history=is_history))
        elif before.state_id != run.state_id or before.deleted_upstream_at:
            data = {"state": run.state_type, "before": before.state_type}
            rows.append(event_of(Kind.RUN_MOVED, run, data, request, is_history=synced_at is None))
    events.record_many(rows)


def record_deletions(runs: Iterable[Run]) -> None:
    events.record_many([event_of(Kind.RUN_DELETED, run, {"state": run.state_type}) for run in runs])


def record_artifacts(artifacts: Iterable[Artifact]) -> None:
    """Record the artifacts that are new or changed and have a key; old ones, of a run that was opened late, as history.

    Its key is not in the event: who may see a run may not see its artifacts.
    """
    old = timezone.now() - RECENT
    events.record_many(
        [
            RunEvent(
                kind=Kind.ARTIFACT_STORED,
                environment_id=each.environment_id,
                deployment_id=each.run.deployment_id,
                run_id=each.run_id,
                data={"artifact": each.pk},
                occurred_at=each.updated_upstream_at or Now(),
                is_history=each.updated_upstream_at is not None and each.updated_upstream_at < old,
            )
            for each in artifacts
            if each.key
        ]
    )


def record_drift(artifacts: Iterable[Artifact]) -> None:
    """Record where the level of drift is another than in the report before, of the same deployment.

    Not as an event of the run: who may see a run may not see its artifacts.
    """
    old = timezone.now() - RECENT
    rows = []
    for each in artifacts:
        if each.key != artifact_facts.DRIFT:
            continue
        level, at = artifact_facts.alert_level(each), each.created_upstream_at
        reports = Artifact.objects.filter(
            environment=each.environment_id, key=artifact_facts.DRIFT, run__deployment=each.run.deployment_id
        ).exclude(pk=each.pk)
        earlier = reports.filter(created_upstream_at__lte=at) if at else reports
        before = artifact_facts.alert_level(earlier.order_by("-created_upstream_at", "-pk").first())
        # A report that is stored again, with another description, changes nothing.
        same = {"data__artifact": each.pk, "data__level": level}
        recorded = RunEvent.objects.filter(environment_id=each.environment_id, kind=Kind.DRIFT_CHANGED, **same)
        if level != before and not recorded.exists():
            rows.append(
                RunEvent(
                    kind=Kind.DRIFT_CHANGED,
                    environment_id=each.environment_id,
                    deployment_id=each.run.deployment_id,
                    data={"artifact": each.pk, "level": level, "before": before},
                    occurred_at=each.updated_upstream_at or Now(),
                    is_history=each.updated_upstream_at is not None and each.updated_upstream_at < old,
                )
            )
    events.record_many(rows)


def ended_before(run: Run, synced_at: datetime | None) -> bool:
    """Return whether a new run is history: it ended before all runs were last read, or they never were."""
    # Such as an old parent, which is read together with its child.
    return synced_at is None or (run.is_terminal and run.ended_at is not None and run.ended_at < synced_at - SKEW)


def event_of(
    kind: RunEvent.Kind,
    run: Run,
    data: dict[str, Any],
    request: RunRequest | None = None,
    *,
    is_history: bool = False,
) -> RunEvent:
    is_deletion = kind == Kind.RUN_DELETED
    return RunEvent(
        kind=kind,
        environment_id=run.environment_id,
        deployment_id=run.deployment_id,
        run_id=run.pk,
        request_id=request.pk if request else None,
        data=data,
        occurred_at=Now() if is_deletion or run.state_at is None else run.state_at,
        is_history=is_history,
    )
