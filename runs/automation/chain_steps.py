"""Start the steps of chains that are next, retry, time out and end: one transaction for each, under a row lock.

Whatever is repeated after a kill finds what is there: an attempt of a step is one row by its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from flows import canonical
from flows.wording import plural
from runs import audit, events, queue, requests
from runs.actors import Actor
from runs.automation import chain_graph, chain_values
from runs.automation.chain_definition import Step
from runs.automation.chain_graph import Outcome
from runs.automation.chain_outcomes import will_start_again
from runs.automation.chain_progress import ChainProgress, read_progress
from runs.automation.chain_values import MISSING
from runs.changes.approvals import publish_change
from runs.changes.gates import attempt_of, item_of, occurrence
from runs.changes.pacing import set_progress
from runs.changes.release import release
from runs.changes.states import ChangeState, move_change
from runs.models import ChangeRequest, RunEvent, RunRequest
from runs.models.request import State
from runs.requests.frozen_values import is_intact

Kind, Progress = RunEvent.Kind, ChangeRequest.Progress
# What can move a chain on.
EVENTS = frozenset(
    {
        Kind.RUN_APPEARED,
        Kind.RUN_MOVED,
        Kind.RUN_DELETED,
        Kind.REQUEST_APPROVED,
        Kind.REQUEST_REFUSED,
        Kind.REQUEST_LOST,
    }
)
# How long a chain that stopped or is paused can be resumed.
RESUMABLE = timedelta(days=30)
# Bytes of JSON: a parameter is no place for a table.
LARGEST_VALUE = 10_000


# What moves a chain on ------------------------------------------------------------------------------------------------


def queue_advance(event: RunEvent) -> None:
    """Queue the chain that an event is about, if it is about one."""
    found = ChangeRequest.objects.filter(kind=ChangeRequest.Kind.CHAIN)
    if event.change_id is not None:
        found = found.filter(pk=event.change_id)
    else:
        found = found.filter(run_requests__run=event.run_id)
    for pk in found.values_list("pk", flat=True):
        queue.enqueue("runs.tasks.advance_chain", pk)


def open_chains() -> list[int]:
    """Return the keys of the approved runs of chains: each is looked at again, whatever event was lost."""
    found = ChangeRequest.objects.filter(kind=ChangeRequest.Kind.CHAIN, state=ChangeState.APPROVED)
    return list(found.order_by("pk").values_list("pk", flat=True))


def advance(pk: int) -> None:
    """Start the steps of one chain that are next, and close or stop it when nothing more starts."""
    with transaction.atomic():
        rows = ChangeRequest.objects.select_for_update(of=["self"]).select_related("environment")
        change = rows.filter(pk=pk, kind=ChangeRequest.Kind.CHAIN, state=ChangeState.APPROVED).first()
        if change is None:
            return
        if not is_intact(change):
            stop(change, "It was changed in the database after it was submitted. Find out who changed it.")
            return
        progress = read_progress(change)
        acts = [] if change.progress == Progress.PAUSED else start_next(progress)
        if not acts:
            acts = end(progress)
        # Rows first, audit entries last: a transaction that holds the end of the trail must wait for no row.
        audit.record_many(acts)
    cancel_overdue(progress)


def start_next(progress: ChainProgress) -> list[audit.Act]:
    """Add an attempt of each step that is next, or is retried, and release them; return the acts for the trail."""
    change = progress.change
    started: list[RunRequest] = []
    for step in progress.definition.steps:
        latest = progress.latest.get(step.key)
        if step.key in progress.items:
            started += start_items(progress, step)
            continue
        if latest and will_start_again(step, latest):
            values: dict[str, Any] | None = latest.mapped_values
        elif progress.outcomes[step.key] == Outcome.READY:
            values = mapped_values(progress, step)
        else:
            continue
        if values is not None:
            started.append(start(progress, step, values))
    if not started:
        return []
    if change.is_held_back:
        set_progress(change, Progress.RUNNING, by="", message="")
    release(change)
    note_gates(change, started)
    return [act_of(progress, run_request) for run_request in started]


def start(progress: ChainProgress, step: Step, values: Mapping[str, Any]) -> RunRequest:
    """Add the next attempt of a step, held until it is released."""
    latest = progress.latest.get(step.key)
    attempt = attempt_of(latest) + 1 if latest else 1
    return requests.add_occurrence(progress.specs[step.key], occurrence(attempt), values=values)


def start_items(progress: ChainProgress, step: Step) -> list[RunRequest]:
    """Add the next runs of a step that is a backfill, as many as may be open at a time."""
    items = progress.items[step.key]
    if progress.outcomes[step.key] not in (Outcome.READY, Outcome.RUNNING) or not (following := items.next(step)):
        return []
    if (others := mapped_values(progress, step)) is None:
        return []
    started = []
    for number, before in following:
        # One that starts again keeps its values.
        values = before.mapped_values if before else {**others, **items.values[number - 1]}
        key = occurrence(attempt_of(before) + 1 if before else 1, number)
        started.append(requests.add_occurrence(progress.specs[step.key], key, values=values))
    return started


def note_gates(change: ChangeRequest, started: Iterable[RunRequest]) -> None:
    """Have those notified who can decide about the steps that wait at their gates."""
    pks = [run_request.pk for run_request in started]
    for run_request in change.run_requests.filter(pk__in=pks, state=State.HELD):
        events.record(Kind.STEP_WAITING, run_request=run_request)


def act_of(progress: ChainProgress, run_request: RunRequest) -> audit.Act:
    key = progress.definition.steps[run_request.spec.position].key
    after = {"step": key, "attempt": attempt_of(run_request), "change": progress.change.pk}
    if item := item_of(run_request):
        after["item"] = item
    return audit.Act("chain.step", run_request, progress.by, after=after)


def mapped_values(progress: ChainProgress, step: Step) -> dict[str, Any] | None:
    """Return the values that a step has from artifacts; None while the mirror has not read them. One can be missing."""
    found: dict[str, Any] = {}
    for name, source in step.from_artifacts.items():
        before = progress.latest.get(source["step"])
        run = before.run if before else None
        if run and not chain_values.is_read(run):
            return None
        value = chain_values.value_at(run, source["artifact"], source["pointer"])
        if value is not MISSING and len(canonical.text(value)) <= LARGEST_VALUE:
            found[name] = value
    return found


def end(progress: ChainProgress) -> list[audit.Act]:
    """Close the chain when all its steps have ended, or stop it at a failure; have unread artifacts read."""
    change = progress.change
    queue_unread(progress)
    if not chain_graph.has_ended(progress.outcomes):
        if change.progress == Progress.PAUSED:
            return end_paused(change)
        if change.is_held_back:
            # A failed run was retried in place.
            set_progress(change, Progress.RUNNING, by="", message="")
            publish_change(change)
        return []
    failed = progress.failed
    if not failed:
        done = sum(outcome == Outcome.COMPLETED for outcome in progress.outcomes.values())
        message = f"{plural(done, 'step')} of {len(progress.outcomes)} completed."
    elif change.progress == Progress.STOPPED and is_too_old(change):
        message = not_resumed(change)
    else:
        return stop_at(progress, failed)
    # What stopped it stays known: `runs.phases` says that it failed.
    ended = Progress.STOPPED if failed else Progress.RUNNING
    move_change(change, to=ChangeState.CLOSED, message=message, progress=ended)
    return [audit.Act("chain.close", change, progress.by, after={"outcomes": dict(progress.outcomes)})]


def end_paused(change: ChangeRequest) -> list[audit.Act]:
    """Withdraw what has not started of a chain that nobody resumed; what was sent to Prefect goes on."""
    if not is_too_old(change):
        return []
    move_change(change, to=ChangeState.WITHDRAWN, message=not_resumed(change), progress=Progress.RUNNING)
    events.record(Kind.REQUEST_WITHDRAWN, change=change)
    publish_change(change)
    return [audit.Act("request.withdraw", change, Actor.system(), after={"state": change.state})]


def is_too_old(change: ChangeRequest) -> bool:
    return change.progress_at is not None and change.progress_at < timezone.now() - RESUMABLE


def not_resumed(change: ChangeRequest) -> str:
    return f"{change.message} It was not resumed in {RESUMABLE.days} days."


def stop_at(progress: ChainProgress, failed: list[str]) -> list[audit.Act]:
    change, first = progress.change, progress.latest[failed[0]]
    # Without the message of the run, which not everyone may view who sees the chain.
    message = f"Stopped at step {failed[0]}, request {first.pk}: {first.get_state_display()}."
    if change.progress == Progress.STOPPED and change.message == message:
        return []
    set_progress(change, Progress.STOPPED, by="", message=message)
    events.record(Kind.REQUEST_STOPPED, change=change, data={"message": message})
    publish_change(change)
    after = {"progress": change.progress, "steps": failed, "request": first.pk, "state": first.state}
    return [audit.Act("chain.stop", change, progress.by, after=after)]


def stop(change: ChangeRequest, message: str) -> None:
    """Stop a chain that cannot be trusted, once."""
    if change.message != message:
        set_progress(change, Progress.STOPPED, by="", message=message)
        publish_change(change)
        audit.record_many([audit.Act("chain.stop", change, Actor.system(), after={"progress": change.progress})])


def queue_unread(progress: ChainProgress) -> None:
    """Have the runs read whose artifacts a step that waits needs: the mirror may have only their states."""
    waiting = [
        step for step in progress.definition.steps if progress.outcomes[step.key] in (Outcome.WAITING, Outcome.READY)
    ]
    needed = {edge.before for step in waiting for edge in step.after if edge.test}
    needed |= {source["step"] for step in waiting for source in step.from_artifacts.values()}
    for key in sorted(needed & progress.latest.keys()):
        run = progress.latest[key].run
        if run and run.is_terminal and not chain_values.is_read(run):
            queue.enqueue("runs.tasks.refresh", run.pk)


def cancel_overdue(progress: ChainProgress) -> None:
    """Request the cancellation of runs of steps that are not over within their time-outs."""
    now = timezone.now()
    timed = [(step, each) for step in progress.definition.steps for each in progress.current(step.key)]
    for step, run_request in timed:
        if not step.timeout_minutes or run_request.state != State.LAUNCHED:
            continue
        until = (run_request.launched_at or now) + timedelta(minutes=step.timeout_minutes)
        if run_request.run and until <= now:
            reason = f"Step {step.key} was not over within {plural(step.timeout_minutes, 'minute')}."
            requests.cancel_automatically(run_request.run, reason=reason)
