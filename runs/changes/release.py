"""Release the runs of an approved change request, as many at a time as its pacing allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from flows import parameters as schemas
from flows.db_text import sanitize
from runs import audit, events
from runs.access import predicates
from runs.actors import Actor
from runs.audit import signatures
from runs.change_feed import publish
from runs.changes import gates
from runs.changes.launch_queue import queue_launches
from runs.changes.states import LEGAL_FROM, ChangeState, compare_and_set, move_change
from runs.errors import Refused
from runs.models import ChangeRequest, RunEvent, RunRequest, RunSpec, Schedule
from runs.models.request import FAILURES, OPEN, State
from runs.requests.destructive import is_destructive
from runs.requests.frozen_values import values_of

# They count for the pacing: a run that has ended makes room for the next one.
AT_WORK = (State.APPROVED, State.LAUNCHING, State.LAUNCHED)
# They count for nothing: they never started.
NEVER_STARTED = (State.HELD, State.REJECTED, State.WITHDRAWN, State.EXPIRED)


def release(change: ChangeRequest) -> int:
    """Queue the run requests that may start now; return how many. The caller holds the lock on the change request.

    None of a backfill that is paused, or stops at a failure. One whose values do not meet the schema that was approved,
    or that comes too late or once too often, stays held with the reason as its message.
    """
    if change.is_held_back or stop_at_failure(change):
        return 0
    held = change.run_requests.filter(state=State.HELD).order_by("spec__position", "scheduled_for", "occurrence")
    if at_once := change.pacing.get("at_once"):
        free = at_once - change.run_requests.filter(state__in=AT_WORK).count()
        held = held[: max(free, 0)]
    released = []
    for run_request in held.select_related("spec__deployment", "deployment"):
        run_request.change = run_request.spec.change = change
        if reason := why_held(run_request):
            record_why_held(run_request, reason)
        elif compare_and_set(run_request, frozenset({State.HELD}), State.APPROVED, "", {}):
            released.append(run_request)
    queue_launches(released)
    publish("request", [run_request.pk for run_request in released])
    return len(released)


def stop_at_failure(change: ChangeRequest) -> bool:
    """Stop a backfill of which a run did not complete, if that is its pacing; return whether it was stopped."""
    if not change.stops_on_failure:
        return False
    failed = change.run_requests.filter(state__in=FAILURES, failure_accepted_at=None)
    first = failed.select_related("spec").order_by("spec__position").first()
    unsent = change.run_requests.filter(state__in=[State.HELD, State.APPROVED])
    if first is None or not unsent.exists():
        return False
    # Without its values and its message, which not everyone may view who sees the backfill.
    change.message = f"Stopped at item {first.spec.number}, request {first.pk}: {first.get_state_display()}."
    change.progress, change.progress_at = ChangeRequest.Progress.STOPPED, timezone.now()
    change.progress_by_name = ""
    change.save(update_fields=["message", "progress", "progress_at", "progress_by_name"])
    publish("request", [first.pk])
    after = {"progress": change.progress, "request": first.pk, "state": first.state}
    audit.record_many([audit.Act("request.stop", change.subject, Actor.system(), after=after)])
    events.record(RunEvent.Kind.REQUEST_STOPPED, change=change, data={"message": change.message})
    return True


def why_held(run_request: RunRequest) -> str:
    """Return why an occurrence of an approved change request may not start; empty when it may."""
    spec, ends_at = run_request.spec, run_request.change.expires_at
    if not signatures.is_signed(run_request):
        return "The portal did not add this occurrence. Find out who changed the database."
    # Only an emergency override of several runs ends while some are held.
    if ends_at and ends_at <= timezone.now():
        return f"The emergency override ended at {timezone.localtime(ends_at):%d %b %Y, %H:%M}. Submit a new request."
    if spec.valid_until and spec.valid_until <= timezone.now():
        return f"The request was valid until {timezone.localtime(spec.valid_until):%d %b %Y, %H:%M}."
    # The only occurrence of a spec needs no count.
    if spec.max_runs is not None and run_request.occurrence:
        started = spec.run_requests.exclude(state__in=NEVER_STARTED).count()
        if started >= spec.max_runs:
            return f"The request was for at most {spec.max_runs} {'run' if spec.max_runs == 1 else 'runs'}."
    return gates.why_gated(run_request) or why_unfit(run_request)


def why_unfit(run_request: RunRequest) -> str:
    """Return why the values of an occurrence may not start; empty when they may. It quotes no value.

    A person can let a step of a chain go with values that the approver did not see; not with those that no flow takes.
    """
    unfit = mapping_error(run_request.spec, run_request.mapped_values)
    beyond = "" if unfit else beyond_approved(run_request.spec, run_request.mapped_values)
    if beyond and gates.is_let_go(run_request):
        beyond = ""
    return unfit or beyond or invalid_names(run_request)


def mapping_error(spec: RunSpec, values: Mapping[str, Any]) -> str:
    """Return why the values of an occurrence cannot be those that the spec maps; empty when they can."""
    if set(values) != set(spec.mapped):
        return f"The occurrence must bring a value for each of: {', '.join(sorted(spec.mapped)) or 'none'}."
    # They are stored as they are: a secret must be a fixed value of the spec.
    if schemas.split(spec.deployment.parameter_schema, dict(values))[1]:
        return "A secret parameter cannot be mapped."
    return ""


def beyond_approved(spec: RunSpec, values: Mapping[str, Any]) -> str:
    """Return which values are not within the schemas that were approved; empty when all are."""
    # Of each by itself, so that the message can name it. In doubt it does not fit.
    unfit = [
        name for name, schema in spec.mapped.items() if not predicates.matches({"properties": {name: schema}}, values)
    ]
    return f"Not within what was approved: {', '.join(sorted(unfit))}." if unfit else ""


def invalid_names(run_request: RunRequest) -> str:
    """Return which mapped parameters the flow itself refuses; empty when none. Fixed ones were validated before."""
    if not run_request.spec.mapped:
        return ""
    try:
        schemas.validate(run_request.deployment.parameter_schema, values_of(run_request), defaults={})
    except schemas.Invalid as invalid:
        return f"Not valid for the flow: {', '.join(sorted({error.field for error in invalid.errors}))}."
    # The name that confirms it is typed for fixed values only.
    if is_destructive(run_request.deployment, values_of(run_request)):
        return "With these values the run would delete data, which a person confirms for each run."
    return ""


def require_step_released(run_request: RunRequest) -> None:
    """Refuse the launch of a step of a chain that is disabled, or that waits for a person who did not let it go."""
    gates.require_chain_enabled(run_request.change)
    if reason := gates.why_gated(run_request) or why_unfit(run_request):
        raise Refused("gate.closed", f"It may not start. {reason}")


def record_why_held(run_request: RunRequest, reason: str) -> None:
    """Record on the run request why it does not start; nothing else changes."""
    if run_request.message != reason:
        RunRequest.objects.filter(pk=run_request.pk, state=State.HELD).update(message=reason)
        publish("request", [run_request.pk])


def advance(change: ChangeRequest) -> None:
    """Release what may start now, and close the change request when nothing more of it can."""
    with transaction.atomic():
        row = ChangeRequest.objects.select_for_update(skip_locked=True).filter(pk=change.pk, state=ChangeState.APPROVED)
        # A decision about it is in progress: the next call finds what is left.
        if not (locked := row.first()):
            return
        release(locked)
        close_if_done(locked)


def close_if_done(change: ChangeRequest) -> None:
    """Close an approved change request of which nothing is left to start. The caller holds its lock."""
    # A chain can still get occurrences, and a schedule until it has ended.
    is_full = change.kind in ChangeRequest.FIXED or (
        change.is_schedule and Schedule.objects.filter(change=change, state=Schedule.State.ENDED).exists()
    )
    if is_full and not change.run_requests.filter(state__in=OPEN).exists():
        move_change(change, to=ChangeState.CLOSED, message=change.message, progress=ChangeRequest.Progress.RUNNING)


def withdraw_unsent(change: ChangeRequest, message: str) -> int:
    """Withdraw the run requests that were not sent to Prefect; return how many.

    The caller holds the lock on the change request, which stays as it is: a paused schedule goes on later.
    """
    # Locked, so that a launch at the same moment is over, or begins after this.
    unsent = change.run_requests.select_for_update(of=["self"]).filter(state__in=LEGAL_FROM[State.WITHDRAWN])
    pks = list(unsent.order_by("pk").values_list("pk", flat=True))
    withdrawn = {"state": State.WITHDRAWN, "message": sanitize(message), "changed_at": timezone.now()}
    RunRequest.objects.filter(pk__in=pks).update(**withdrawn, next_attempt_at=None)
    publish("request", pks)
    return len(pks)


def withdraw_occurrences(schedule: Schedule, message: str) -> int:
    """Withdraw the change requests for single runs of a schedule that were not sent to Prefect; return how many."""
    live = ChangeRequest.objects.filter(
        occurrence_of=schedule, state__in=[ChangeState.WAITING, ChangeState.APPROVED]
    ).select_for_update(of=["self"])
    withdrawn = 0
    for change in live.order_by("pk"):
        unsent = change.run_requests.select_for_update(of=["self"]).filter(state__in=LEGAL_FROM[State.WITHDRAWN])
        # One that was sent goes on, and its change request with it.
        if unsent.exists():
            move_change(change, to=ChangeState.WITHDRAWN, message=message)
            events.record(RunEvent.Kind.REQUEST_WITHDRAWN, change=change)
            withdrawn += 1
    return withdrawn


def close(change: ChangeRequest, message: str) -> int:
    """Close an approved change request of a schedule that has ended; return how many runs were withdrawn with it."""
    withdrawn = withdraw_unsent(change, message)
    move_change(change, to=ChangeState.CLOSED, message=message)
    return withdrawn


def to_advance() -> list[ChangeRequest]:
    """Return the approved change requests that have something held, or nothing left to start."""
    left = RunRequest.objects.filter(change=OuterRef("pk"))
    approved = ChangeRequest.objects.filter(state=ChangeState.APPROVED)
    held = approved.filter(Exists(left.filter(state=State.HELD)))
    is_full = Q(kind__in=ChangeRequest.FIXED) | Q(schedule__state=Schedule.State.ENDED)
    done = approved.filter(~Exists(left.filter(state__in=OPEN)), is_full)
    return list(held.union(done))
