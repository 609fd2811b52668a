"""Start the steps of chains that are next, retry, time out and end: one transaction for each, under a row lock.

Whatever is repeated after a kill finds what is there: an attempt of a step is one row by its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from flows import canonical
from flows.wording import plural
from runs import audit, events, queue, requests
from runs.actors import Actor
from runs.automation import chain_definition, chain_graph, chain_values
from runs.automation.chain_definition import Definition, Step
from runs.automation.chain_graph import Edge, Outcome
from runs.automation.chain_values import MISSING
from runs.changes.approvals import publish_change
from runs.changes.gates import attempt_of
from runs.changes.pacing import set_progress
from runs.changes.release import release
from runs.changes.states import ChangeState, move_change
from runs.models import ChainRun, ChangeRequest, RunEvent, RunRequest, RunSpec
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
# State of the latest attempt of a step -> where the step is.
OUTCOMES: dict[str, Outcome] = {
    **dict.fromkeys([State.HELD, State.APPROVED, State.LAUNCHING, State.LAUNCHED], Outcome.RUNNING),
    State.COMPLETED: Outcome.COMPLETED,
    **dict.fromkeys([State.FAILED, State.CANCELLED, State.LOST, State.REFUSED], Outcome.FAILED),
    **dict.fromkeys([State.REJECTED, State.WITHDRAWN, State.EXPIRED], Outcome.FAILED),
}


@dataclass(frozen=True, slots=True)
class ChainProgress:
    """One run of a chain as it is: its steps, their specs, the latest attempt of those that started, where each is."""

    change: ChangeRequest
    chain_run: ChainRun
    definition: Definition
    specs: Mapping[str, RunSpec]
    latest: Mapping[str, RunRequest]
    outcomes: Mapping[str, Outcome]

    @property
    def by(self) -> Actor:
        chain = self.chain_run.version.chain
        return Actor.chain(chain.pk, chain.name, on_behalf_of=self.change.requested_by_name)

    @property
    def failed(self) -> list[str]:
        """The steps from which it can be resumed."""
        return chain_graph.unhandled_failures(self.definition.nodes, self.outcomes)


def read_progress(change: ChangeRequest) -> ChainProgress:
    """Read a run of a chain; raises `ChainRun.DoesNotExist` for another change request."""
    chain_run = ChainRun.objects.select_related("version__chain__environment").get(change=change)
    # Both ways, so that what asks about a gate does not read it again.
    chain_run.change = change
    definition = chain_definition.read(chain_run.version.definition)
    specs = dict(
        zip(
            [step.key for step in definition.steps],
            change.specs.select_related("deployment__environment").order_by("position"),
            strict=True,
        )
    )
    keys = {spec.pk: key for key, spec in specs.items()}
    latest: dict[str, RunRequest] = {}
    found = change.run_requests.select_related("run", "environment", "deployment__environment").prefetch_related(
        "step_decisions"
    )
    for run_request in sorted(found, key=attempt_of):
        key = keys[run_request.spec_id]
        run_request.spec, run_request.change = specs[key], change
        latest[key] = run_request
    return ChainProgress(change, chain_run, definition, specs, latest, outcomes_of(definition, latest))


def outcomes_of(definition: Definition, latest: Mapping[str, RunRequest]) -> dict[str, Outcome]:
    def tested(edge: Edge) -> bool | None:
        run = latest[edge.before].run
        return None if run and not chain_values.is_read(run) else chain_values.equals(run, edge)

    steps = {step.key: step for step in definition.steps}
    known = {key: outcome_of(steps[key], run_request) for key, run_request in latest.items()}
    return chain_graph.outcomes(definition.nodes, known, tested)


def outcome_of(step: Step, run_request: RunRequest) -> Outcome:
    return Outcome.RUNNING if will_retry(step, run_request) else OUTCOMES[run_request.state]


def will_retry(step: Step, run_request: RunRequest) -> bool:
    """Return whether a step that failed starts again by itself. Not one that a person cancelled or rejected."""
    return run_request.state == State.FAILED and attempt_of(run_request) <= step.retries


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
    change, started = progress.change, []
    for step in progress.definition.steps:
        latest = progress.latest.get(step.key)
        if latest and will_retry(step, latest):
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
    return requests.add_occurrence(progress.specs[step.key], str(attempt), values=values)


def note_gates(change: ChangeRequest, started: Iterable[RunRequest]) -> None:
    """Have those notified who can decide about the steps that wait at their gates."""
    pks = [run_request.pk for run_request in started]
    for run_request in change.run_requests.filter(pk__in=pks, state=State.HELD):
        events.record(Kind.STEP_WAITING, run_request=run_request)


def act_of(progress: ChainProgress, run_request: RunRequest) -> audit.Act:
    key = progress.definition.steps[run_request.spec.position].key
    after = {"step": key, "attempt": attempt_of(run_request), "change": progress.change.pk}
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
    for step in progress.definition.steps:
        run_request = progress.latest.get(step.key)
        if not step.timeout_minutes or run_request is None or run_request.state != State.LAUNCHED:
            continue
        until = (run_request.launched_at or now) + timedelta(minutes=step.timeout_minutes)
        if run_request.run and until <= now:
            reason = f"Step {step.key} was not over within {plural(step.timeout_minutes, 'minute')}."
            requests.cancel_automatically(run_request.run, reason=reason)
