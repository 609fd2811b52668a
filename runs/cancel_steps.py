"""What happens next with a cancellation: who must act, what comes when, and what is not certain afterwards.

Pure functions over mirrored rows: nothing here asks Prefect.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from flows.models import WorkPool
from runs.failure_causes import FORCED_AFTER, is_cancel_timeout
from runs.models import Action, Run, Verb
from runs.models.action import CANCELS, OPEN, Kind, State

# What Prefect's runner gives a process to end by itself before it is killed. It cannot be set for a deployment.
GRACE = timedelta(seconds=30)
# Prefect's time-out counts from its own state, the portal's clock from what it sent: they can differ by a reading.
SLACK = timedelta(seconds=5)


class Status(StrEnum):
    DONE = "done"
    NOW = "now"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a cancellation; `at` is when it happened, or will be possible or happen."""

    key: str
    status: Status
    sentence: str
    at: datetime | None = None


def timed_out(run: Run, cancellation: Action | None = None) -> bool:
    """Return whether Prefect marked the run as cancelled because nothing confirmed it, so that work may go on."""
    if run.state_type != "CANCELLED":
        return False
    if is_cancel_timeout(run):
        return True
    if cancellation is None or cancellation.kind != Kind.CANCEL or not cancellation.sent_at or not run.state_at:
        return False
    # In case its message changes: a confirmation takes seconds.
    return run.state_at - cancellation.sent_at >= FORCED_AFTER - SLACK


def latest(actions: list[Action]) -> Action | None:
    """Return the last cancellation of a run, of its actions in any order."""
    found = [each for each in actions if each.kind in CANCELS]
    return max(found, key=lambda each: (each.requested_at, each.pk), default=None)


def steps(run: Run, cancellation: Action, pool: WorkPool | None, *, patience: timedelta, may_force: bool) -> list[Step]:
    """Return the steps of an open cancellation, in their order. `patience` is how long it gets before a force."""
    if cancellation.state not in OPEN or run.is_over:
        return []
    is_sent = cancellation.state == State.SENT
    requested = Step(
        "requested", Status.DONE, f"Requested by {cancellation.requested_by_name}.", cancellation.requested_at
    )
    sent = (
        Step("sent", Status.DONE, "Sent to Prefect.", cancellation.sent_at)
        if is_sent
        else Step("sent", Status.NOW, "Being sent to Prefect. It is tried again until Prefect answers.")
    )
    if cancellation.kind == Kind.FORCE:
        return [
            requested,
            sent,
            Step("forced", Status.LATER, "Prefect marks the run as cancelled. No process is stopped."),
        ]
    began = run.state_at if run.state_type == "CANCELLING" else None
    return [
        requested,
        sent,
        Step("stop", Status.NOW if is_sent else Status.LATER, stop_sentence(run, pool)),
        Step("force", Status.LATER, force_sentence(may_force=may_force), cancellation.requested_at + patience),
        Step(
            "timeout",
            Status.LATER,
            f"Without a confirmation for {FORCED_AFTER // timedelta(minutes=1)} minutes Prefect marks the run as "
            "cancelled by itself; its process may go on.",
            began + FORCED_AFTER if began else None,
        ),
    ]


def stop_sentence(run: Run, pool: WorkPool | None) -> str:
    """Say who must stop the run, and whether anyone is there."""
    if run.started_at is None:
        return "It has not started, so no process has to be stopped."
    grace = f"The process has {GRACE.seconds} s to end by itself, then it is killed."
    if pool is None:
        return f"The process that runs it must stop it. {grace}"
    if not pool.workers_online:
        return f"The worker in {pool.name} that runs it must stop it, but none is online, so the process may go on."
    return f"The worker in {pool.name} that runs it must stop it, usually within seconds. {grace}"


def force_sentence(*, may_force: bool) -> str:
    who = "You can then" if may_force else f"Someone with the permission “{Verb.FORCE_CANCEL.label}” can then"
    return f"{who} force it, if the process is known to have stopped."


def alarm(run: Run) -> list[str]:
    """Return what to do after a cancellation that timed out."""
    pid = f" (process {run.infrastructure_pid})" if run.infrastructure_pid else ""
    return [
        f"Check where its worker ran whether the process is still alive{pid}, and end it there.",
        "Before you run it again, check what it has already changed: two runs at once can disturb each other.",
    ]
