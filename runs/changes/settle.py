"""Ends requests and cancellations when the state of their run says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils import timezone

from runs import audit
from runs.actors import Actor
from runs.changes.states import LEGAL_FROM, move
from runs.models import AuditEntry, Cancellation, Run, RunRequest
from runs.models.request import State

# What a run's last state makes of its request.
SETTLES: dict[str, State] = {
    "COMPLETED": State.COMPLETED,
    "FAILED": State.FAILED,
    "CRASHED": State.FAILED,
    "CANCELLED": State.CANCELLED,
}


def settle(runs: Sequence[Run]) -> None:
    """Carry the facts of these runs' states to the requests and cancellations that wait for them.

    Called by `runs.mirror`. Rows first, the trail last: the holder of the trail's lock must not wait for a row.
    """
    for run in runs:
        settle_request(run)
    acts = [act for run in runs if run.is_terminal for act in settle_cancellations(run)]
    for act in acts:
        audit.record(act, AuditEntry.Outcome.DONE)


def settle_request(run: Run) -> None:
    RunRequest.objects.filter(flow_run_id=run.prefect_id, environment=run.environment_id, run=None).update(run=run)
    run_request = RunRequest.objects.filter(run=run).first()
    if run_request:
        to = SETTLES.get(run.state_type, State.LAUNCHED)
        if run_request.state in LEGAL_FROM[to]:
            move(run_request, to=to, message=run.state_message[:2000])


def settle_cancellations(run: Run) -> Iterator[audit.Act]:
    for cancellation in run.cancellations.filter(state__in=Cancellation.OPEN):
        confirmed = run.state_type == "CANCELLED"
        Cancellation.objects.filter(pk=cancellation.pk).update(
            state=Cancellation.State.CONFIRMED if confirmed else Cancellation.State.OVERTAKEN,
            settled_at=timezone.now(),
            message="" if confirmed else f"It ended as {run.state_label} before the cancel reached it.",
        )
        yield audit.Act(
            "run.cancelled" if confirmed else "run.outran_cancel",
            run,
            Actor.system(),
            after={"state": run.state_type, "cancellation": cancellation.pk},
        )
