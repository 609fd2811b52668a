"""Pause, stop, resume and cut short an approved backfill: what decides whether more of its runs are released.

A run that was sent to Prefect goes on. One that was released and not sent waits until the backfill is resumed.
"""

from __future__ import annotations

from django.utils import timezone

from runs import audit, events
from runs.actors import Actor
from runs.changes.approvals import lock, publish_change, require_may_withdraw
from runs.changes.launch_queue import queue_launches
from runs.changes.release import release
from runs.changes.states import ChangeState, move_change
from runs.errors import Refused
from runs.models import ChangeRequest, RunEvent
from runs.models.request import FAILURES, State

Progress = ChangeRequest.Progress
UNSENT = [State.HELD, State.APPROVED]


def pause(change: ChangeRequest, *, by: Actor, reason: str = "") -> None:
    """Start no more runs of a backfill until it is resumed: by its requester, or with permission to cancel its runs."""
    with audit.act("request.pause", change.subject, by=by, reason=reason, ticket=change.ticket) as act:
        require_may_pace(change, by)
        lock(change)
        require_unfinished(change)
        if change.progress == Progress.PAUSED:
            raise Refused("backfill.paused", f"Request {change.pk} is already paused by {change.progress_by_name}.")
        act.before = {"progress": change.progress}
        set_progress(change, Progress.PAUSED, by=by.name, message=f"Paused by {by.name}.")
        act.after = {"progress": change.progress}
        publish_change(change)


def resume(change: ChangeRequest, *, by: Actor, reason: str = "") -> int:
    """Let a backfill go on that was paused or has stopped at a failure; return how many runs were released at once.

    It does not stop again at the failures that there are now.
    """
    with audit.act("request.resume", change.subject, by=by, reason=reason, ticket=change.ticket) as act:
        require_may_pace(change, by)
        lock(change)
        require_unfinished(change)
        if not change.is_held_back:
            raise Refused("backfill.running", f"Request {change.pk} is neither paused nor stopped.")
        act.before = {"progress": change.progress, "message": change.message}
        failed = change.run_requests.filter(state__in=FAILURES, failure_accepted_at=None)
        accepted = failed.update(failure_accepted_at=timezone.now())
        set_progress(change, Progress.RUNNING, by=by.name, message="")
        # Those that were released before would look again in a minute.
        waiting = change.run_requests.filter(state=State.APPROVED)
        waiting.update(next_attempt_at=None, message="")
        queue_launches(waiting.select_related("change"))
        released = release(change)
        act.after = {"progress": change.progress, "accepted_failures": accepted, "released": released}
        publish_change(change)
        return released


def cancel_rest(change: ChangeRequest, *, by: Actor, reason: str = "") -> int:
    """Withdraw the runs of a backfill that were not sent to Prefect; return how many. Those that were sent go on."""
    with audit.act("request.withdraw", change.subject, by=by, reason=reason, ticket=change.ticket) as act:
        require_may_pace(change, by)
        lock(change)
        require_unfinished(change)
        # Locked, so that a launch at the same moment is over, or begins after this.
        rest = len(change.run_requests.select_for_update(of=["self"]).filter(state__in=UNSENT).order_by("pk"))
        act.before = {"state": change.state, "progress": change.progress}
        message = f"{by.name} cancelled the {rest} {'item' if rest == 1 else 'items'} that had not started."
        move_change(change, to=ChangeState.WITHDRAWN, message=message, progress=Progress.RUNNING)
        events.record(RunEvent.Kind.REQUEST_WITHDRAWN, change=change)
        act.after = {"state": change.state, "withdrawn": rest}
        return rest


def require_may_pace(change: ChangeRequest, by: Actor) -> None:
    """Refuse people who neither requested the backfill nor may cancel all its runs."""
    if change.kind != ChangeRequest.Kind.BACKFILL:
        raise Refused("backfill.none", f"Request {change.pk} is not a backfill.")
    if not by.is_same_person_as(change.requested_by_id):
        require_may_withdraw(change, by)


def require_unfinished(change: ChangeRequest) -> None:
    """Refuse for a backfill that is not approved, or of which everything was sent. The caller holds the lock."""
    if change.state != ChangeState.APPROVED or not change.run_requests.filter(state__in=UNSENT).exists():
        raise Refused(
            "backfill.over",
            f"Request {change.pk} has nothing left to start: it is “{change.get_state_display()}”. Reload the page.",
            state=change.state,
        )


def set_progress(change: ChangeRequest, progress: str, *, by: str, message: str) -> None:
    """Update the columns of a locked change request, and the object."""
    change.progress, change.progress_at, change.progress_by_name = progress, timezone.now(), by
    change.message = message
    change.save(update_fields=["progress", "progress_at", "progress_by_name", "message"])
