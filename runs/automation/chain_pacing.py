"""Pause, resume and cut short an approved run of a chain: what decides whether more of its steps start.

A step that was sent to Prefect goes on. One that was released and not sent waits until the chain is resumed.
"""

from __future__ import annotations

from django.utils import timezone

from runs import audit, events, queue
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation import chain_steps
from runs.automation.chain_progress import read_progress
from runs.automation.chains import require_not_agent
from runs.changes.approvals import lock, publish_change, require_may_withdraw
from runs.changes.gates import attempt_of
from runs.changes.launch_queue import queue_launches
from runs.changes.pacing import UNSENT, set_progress
from runs.changes.release import release
from runs.changes.states import ChangeState, move_change
from runs.errors import Refused
from runs.models import ChangeRequest, RunEvent, RunRequest, Verb
from runs.models.chain import MOST_ATTEMPTS
from runs.models.request import State
from runs.requests.frozen_values import values_of

Progress = ChangeRequest.Progress


def pause(change: ChangeRequest, *, by: Actor, reason: str = "") -> None:
    """Start no more steps of a chain until it is resumed: by its requester, or with permission to cancel its runs."""
    with audit.act("chain.pause", change, by=by, reason=reason, ticket=change.ticket) as act:
        require_may_pace(change, by)
        lock_run(change)
        if change.is_held_back:
            raise Refused(
                "chain.paused",
                f"Request {change.pk} is already {change.get_progress_display().lower()}: no step of it starts.",
            )
        act.before = {"progress": change.progress}
        set_progress(change, Progress.PAUSED, by=by.name, message=f"Paused by {by.name}.")
        act.after = {"progress": change.progress}
        publish_change(change)


def resume(change: ChangeRequest, *, by: Actor, reason: str = "") -> int:
    """Let a chain go on that was paused, or start the steps again at which it failed; return how many started at once.

    Raises `Forbidden`, or `Refused` with code `chain.…`.
    """
    with audit.act("chain.resume", change, by=by, reason=reason, ticket=change.ticket) as act:
        require_not_agent(by)
        lock_run(change)
        act.before = {"progress": change.progress, "message": change.message}
        if change.progress == Progress.PAUSED:
            require_may_pace(change, by)
            released = go_on(change, by)
            act.after = {"released": released}
        else:
            steps, released = restart_failed(change, by)
            act.after = {"steps": steps, "released": released}
        publish_change(change)
        return released


def go_on(change: ChangeRequest, by: Actor) -> int:
    """Release what a paused chain holds back, and have the steps started that came next meanwhile."""
    set_progress(change, Progress.RUNNING, by=by.name, message="")
    # Those that were released before would look again in a minute.
    waiting = change.run_requests.filter(state=State.APPROVED)
    waiting.update(next_attempt_at=None, message="")
    queue_launches(waiting.select_related("change"))
    released = release(change)
    queue.enqueue("runs.tasks.advance_chain", change.pk)
    return released


def restart_failed(change: ChangeRequest, by: Actor) -> tuple[list[str], int]:
    """Start the steps again at which a chain failed; return them, and how many runs were released at once.

    Where the chain needed an approval, each waits at its gate for one.
    """
    progress, permissions = read_progress(change), Permissions.of(by)
    if not progress.failed:
        raise Refused("chain.nothing_failed", f"No step of request {change.pk} has failed that could start again.")
    verb = Verb.TRIGGER if by.is_same_person_as(change.requested_by_id) else Verb.RERUN
    steps = {step.key: step for step in progress.definition.steps}
    started = []
    for key in progress.failed:
        items, latest = progress.items.get(key), progress.latest[key]
        failed = [items.latest[number] for number in items.failed] if items else [latest]
        for each in failed:
            permissions.require(verb, each.deployment, values_of(each))
            if attempt_of(each) >= MOST_ATTEMPTS:
                raise Refused(
                    "chain.attempts", f"Step {key} has started {MOST_ATTEMPTS} times. Submit a new request.", step=key
                )
        if items:
            # They start again as many at a time as the step says: what cannot now does when another one ends.
            rows = RunRequest.objects.filter(pk__in=[each.pk for each in failed])
            rows.update(failure_accepted_at=timezone.now())
            started += chain_steps.start_items(read_progress(change), steps[key])
            continue
        # What was published since counts; a value that is not there any more stays what it was.
        values = {**latest.mapped_values, **(chain_steps.mapped_values(progress, steps[key]) or {})}
        started.append(chain_steps.start(progress, steps[key], values))
    set_progress(change, Progress.RUNNING, by=by.name, message="")
    released = release(change)
    chain_steps.note_gates(change, started)
    return progress.failed, released


def cancel_rest(change: ChangeRequest, *, by: Actor, reason: str = "") -> int:
    """Start no more steps of a chain; return how many were withdrawn. Those that were sent to Prefect go on."""
    with audit.act("request.withdraw", change, by=by, reason=reason, ticket=change.ticket) as act:
        require_may_pace(change, by)
        lock_run(change)
        # Locked, so that a launch at the same moment is over, or begins after this.
        unsent = change.run_requests.select_for_update(of=["self"]).filter(state__in=UNSENT).order_by("pk")
        withdrawn = len(unsent)
        act.before = {"state": change.state, "progress": change.progress}
        message = f"{by.name} cancelled the steps that had not started."
        move_change(change, to=ChangeState.WITHDRAWN, message=message, progress=Progress.RUNNING)
        events.record(RunEvent.Kind.REQUEST_WITHDRAWN, change=change)
        act.after = {"state": change.state, "withdrawn": withdrawn}
        publish_change(change)
        return withdrawn


def require_may_pace(change: ChangeRequest, by: Actor) -> None:
    """Refuse people who neither requested the run of the chain nor may cancel all its runs."""
    if not by.is_same_person_as(change.requested_by_id):
        require_may_withdraw(change, by)


def lock_run(change: ChangeRequest) -> None:
    """Lock an approved run of a chain; refuse every other change request."""
    if change.kind != ChangeRequest.Kind.CHAIN:
        raise Refused("chain.none", f"Request {change.pk} is not a run of a chain.")
    lock(change)
    if change.state != ChangeState.APPROVED:
        raise Refused(
            "chain.over",
            f"Request {change.pk} is “{change.get_state_display()}”: nothing of it can start. Reload the page.",
            state=change.state,
        )
