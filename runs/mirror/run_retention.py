"""Delete runs that an environment does not keep any longer: the only code that deletes runs, and that writes `Sweep`.

Their counts stay, and their requests keep the result. What ended before the horizon is not read from Prefect again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, F, Model, OuterRef, Q, QuerySet
from django.utils import timezone

from flows.models import Environment
from flows.prefect_api.records import FlowRunRecord
from runs import changes
from runs.mirror.environment_lock import mirror_lock
from runs.models import Action, Artifact, LogLine, Run, RunRequest, StateChange, Sweep, TaskRun
from runs.models.action import OPEN
from runs.models.request import OVER
from runs.models.run import ACTIVE, TERMINAL

# Rows of one transaction, so that none holds its locks for long.
ROWS_AT_ONCE = 500
RUNS_AT_ONCE = 100
# Batches of runs in one task, which may run for a minute.
MOST_BATCHES = 20
DETAILS: tuple[type[Model], ...] = (LogLine, Artifact, TaskRun, StateChange)


def sweep_runs(environment: Environment) -> bool:
    """Delete the runs that ended too long ago, some at a time; return whether there are more."""
    if not environment.keep_runs_days:
        return False
    horizon = move_horizon(environment, timezone.now() - timedelta(days=environment.keep_runs_days))
    for _ in range(MOST_BATCHES):
        pks = first_expired(environment, horizon)
        if not pks:
            Sweep.objects.filter(environment=environment).update(swept_at=timezone.now())
            return False
        for model in DETAILS:
            while delete_first(model._default_manager.filter(run__in=pks)):
                pass
        delete_runs(environment, pks)
    return True


@transaction.atomic
def move_horizon(environment: Environment, to: datetime) -> datetime:
    """Move the horizon forward, before anything is deleted; return it."""
    # Under the lock of upserts: none that began before may insert a run behind it afterwards.
    mirror_lock(environment)
    row, _ = Sweep.objects.get_or_create(environment=environment)
    row.horizon = max(row.horizon or to, to)
    row.save()
    return row.horizon


def first_expired(environment: Environment, horizon: datetime) -> list[int]:
    """Return the keys of the first runs that ended before the horizon, or were deleted in Prefect before it."""
    # What is still being done with a run needs it.
    of_run = {"run": OuterRef("pk")}
    runs = Run.objects.filter(
        ~Exists(Action.objects.filter(**of_run, state__in=OPEN)),
        ~Exists(RunRequest.objects.filter(~Q(state__in=OVER) | Q(check_definition_at__isnull=False), **of_run)),
        environment=environment,
    )
    # Two queries, each of which has an index.
    ended = runs.filter(state_type__in=TERMINAL, ended_at__lt=horizon).order_by("ended_at", "pk")
    lost = runs.filter(state_type__in=ACTIVE, deleted_upstream_at__lt=horizon).order_by("pk")
    return list(ended.values_list("pk", flat=True)[:RUNS_AT_ONCE]) or list(
        lost.values_list("pk", flat=True)[:RUNS_AT_ONCE]
    )


def delete_first(rows: QuerySet[Model]) -> int:
    """Delete the first of these rows; return how many."""
    pks = list(rows.order_by("pk").values_list("pk", flat=True)[:ROWS_AT_ONCE])
    return rows.model._default_manager.filter(pk__in=pks).delete()[0] if pks else 0


@transaction.atomic
def delete_runs(environment: Environment, pks: Sequence[int]) -> None:
    mirror_lock(environment)
    changes.settle_swept(pks)
    Run.objects.filter(pk__in=pks).delete()
    Sweep.objects.filter(environment=environment).update(runs=F("runs") + len(pks))


def horizon_of(environment: Environment) -> datetime | None:
    """Return the moment before which ended runs are not read again; None while all are kept."""
    return Sweep.objects.filter(environment=environment).values_list("horizon", flat=True).first()


def is_forgotten(record: FlowRunRecord, horizon: datetime | None) -> bool:
    """Return whether a run ended before the horizon: it was deleted here, and must not return."""
    if horizon is None or record.state is None or not record.state.is_terminal:
        return False
    return (record.ended_at or record.state.timestamp) < horizon
