"""Update requests and cancellations from the state of their run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils import timezone

from runs import audit
from runs.actors import Actor
from runs.changes.states import LEGAL_FROM, move
from runs.models import AuditEntry, Cancellation, Run, RunRequest
from runs.models.request import State

# Terminal state type of a run -> state of its request; any other run state means launched.
SETTLES: dict[str, State] = {
    "COMPLETED": State.COMPLETED,
    "FAILED": State.FAILED,
    "CRASHED": State.FAILED,
    "CANCELLED": State.CANCELLED,
}


def settle(runs: Sequence[Run]) -> None:
    """Update the requests and cancellations of these runs. Called by `runs.mirror`.

    Rows first, audit entries last: a transaction that holds the lock on the end of the audit chain must not wait for a
    row lock, or two transactions that take them in opposite order deadlock.
    """
    for run in runs:
        settle_request(run)
    acts = [act for run in runs if run.is_terminal for act in settle_cancellations(run)]
    for act in acts:
        audit.record(act, AuditEntry.Outcome.DONE)


def settle_request(run: Run) -> None:
    """Link the run to its request, which may have learned its flow run id first, and move the request."""
    RunRequest.objects.filter(flow_run_id=run.prefect_id, environment=run.environment_id, run=None).update(run=run)
    run_request = RunRequest.objects.filter(run=run).first()
    if run_request:
        to = SETTLES.get(run.state_type, State.LAUNCHED)
        # Not every reading is a move: a run that is still running leaves its request at launched.
        if run_request.state in LEGAL_FROM[to]:
            move(run_request, to=to, message=run.state_message[:2000])


def settle_cancellations(run: Run) -> Iterator[audit.Act]:
    """Close the open cancellations of a finished run; yield their audit acts for the caller to record."""
    for cancellation in run.cancellations.filter(state__in=Cancellation.OPEN):
        confirmed = run.state_type == "CANCELLED"
        Cancellation.objects.filter(pk=cancellation.pk).update(
            state=Cancellation.State.CONFIRMED if confirmed else Cancellation.State.OVERTAKEN,
            settled_at=timezone.now(),
            message="" if confirmed else f"The run finished as {run.state_label} before it was cancelled.",
        )
        yield audit.Act(
            "run.cancelled" if confirmed else "run.outran_cancel",
            run,
            Actor.system(),
            after={"state": run.state_type, "cancellation": cancellation.pk},
        )
