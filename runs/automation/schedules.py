"""Request, edit, renew, pause, resume and end schedules.

What runs when is approved: an edit, a renewal and another owner are a new change request, whose schedule replaces the
one before when it is approved. Pausing and ending only take something away, and count at once.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from flows import encryption
from flows import parameters as schemas
from flows.models import Deployment
from runs import audit, changes
from runs.access.decisions import Forbidden, Permissions, Target
from runs.actors import Actor
from runs.automation import native_checks, schedule_checks, schedule_states, schedule_times
from runs.errors import Refused
from runs.governance.requirements import requirements_for
from runs.models import ChangeRequest, Schedule, Verb
from runs.requests import Spec, spec_values, submit_change

CatchUp = Schedule.CatchUp
State = Schedule.State
# The columns of a schedule that an edit can change; what is left out stays.
EDITABLE = ("name", "rule_type", "rule", "time_zone", "anchor", "catch_up", "is_native")


# Request, edit and renew ----------------------------------------------------------------------------------------------


def request(
    deployment: Deployment,
    parameters: Mapping[str, Any],
    *,
    by: Actor,
    name: str,
    rule_type: str,
    rule: str,
    time_zone: str,
    valid_until: datetime,
    anchor: datetime | None = None,
    catch_up: str = CatchUp.NONE,
    replaces: Schedule | None = None,
    is_native: bool = False,
    tags: Sequence[str] = (),
    run_name: str = "",
    profile: str = "",
    reason: str = "",
    ticket: str = "",
    on_behalf_of: User | None = None,
    confirmation: str = "",
    form_fingerprint: str = "",
    submission_key: uuid.UUID | None = None,
) -> Schedule:
    """Submit a change request for a schedule; its runs start at the due times once it is approved.

    `anchor` is where an interval starts to count. `catch_up` is what becomes of starts that were missed. `replaces` is
    the schedule that ends when this one becomes active. One that `is_native` is kept by Prefect, which starts its runs
    without asking the portal. The same `submission_key` again returns the same schedule.
    Raises `Forbidden`, `flows.parameters.Invalid`, or `Refused`.
    """
    with audit.act("request.submit", deployment, by=by, reason=reason, ticket=ticket) as act:
        # The entry is that of the submission.
        act.is_repeat = True
        now = timezone.now()
        checked = schedule_times.checked(rule_type, rule, time_zone, anchor=anchor, now=now)
        requirements = requirements_for(Target.of(deployment))
        schedule_checks.require_end(valid_until, now, requirements)
        if catch_up not in CatchUp.values:
            raise Refused("schedule.catch_up", f"Missed starts: none, last or all, not “{catch_up}”.")
        if is_native:
            native_checks.require_possible(
                deployment,
                requirements,
                parameters,
                catch_up=catch_up,
                others=[*tags, run_name, profile],
            )
        if replaces:
            replaces = require_replaceable(replaces, deployment, submission_key)
        contents = schedule_checks.contents_of(
            name=schedule_checks.checked_name(name),
            rule=checked,
            catch_up=catch_up,
            valid_until=valid_until,
            replaces=replaces,
            is_native=is_native,
        )
        spec = Spec(
            deployment,
            parameters,
            tags=tags,
            run_name=run_name,
            profile=profile,
            max_runs=None,
            valid_until=valid_until,
            form_fingerprint=form_fingerprint,
        )
        change = submit_change(
            [spec],
            by=by,
            kind=ChangeRequest.Kind.SCHEDULE,
            reason=reason,
            ticket=ticket,
            on_behalf_of=on_behalf_of,
            confirmation=confirmation,
            submission_key=submission_key,
            schedule=contents,
        )
        if stored := Schedule.objects.filter(change=change).first():
            return stored
        return insert(change, checked, contents, valid_until)


def require_may_request(deployment: Deployment, *, by: Actor) -> None:
    """Refuse people who cannot request schedules, before their input is read; the refusal is recorded."""
    permissions = Permissions.of(by)
    for verb in (Verb.TRIGGER, Verb.SCHEDULE):
        if not (decision := permissions.decide(verb, deployment)):
            with audit.act("request.submit", deployment, by=by):
                raise Forbidden(decision)


def insert(
    change: ChangeRequest, rule: schedule_times.Rule, contents: Mapping[str, Any], valid_until: datetime
) -> Schedule:
    """Insert the schedule; where no approval is needed it becomes active in the same transaction."""
    schedule = schedule_states.insert(change, rule, contents, valid_until=valid_until)
    if change.state == ChangeRequest.State.APPROVED:
        activate(schedule.pk)
        schedule.refresh_from_db()
    return schedule


def activate(pk: int) -> None:
    """Make a schedule active whose change request is approved, or end one whose request was turned down."""
    with audit.act("schedule.start", None, by=Actor.system()) as act:
        schedule = schedule_states.lock(pk, skip_locked=True)
        if schedule is None or schedule.state != State.WAITING:
            act.is_repeat = True
            return
        act.subject, act.environment = schedule, schedule.environment.slug
        act.before = {"state": schedule.state}
        schedule_states.settle(schedule, schedule_states.lock_change(schedule), act.after)
        if schedule.state == State.ENDED:
            act.verb = "schedule.end"
            act.after["code"] = schedule.code
        act.is_repeat = schedule.state == State.WAITING


def edit(
    schedule: Schedule,
    *,
    by: Actor,
    parameters: Mapping[str, Any] | None = None,
    valid_until: datetime,
    profile: str | None = None,
    reason: str = "",
    ticket: str = "",
    confirmation: str = "",
    submission_key: uuid.UUID | None = None,
    **changed: Any,
) -> Schedule:
    """Request a schedule that replaces this one; what is left out stays as it is. To renew it, change only the end.

    The actor becomes the owner. `profile` is another resource profile, blank for none. `changed` are columns of
    `EDITABLE`. `parameters` are all of them; None are those of
    the schedule, secret ones unseen: of another person's schedule that needs what a re-run of it needs.
    """
    options = {column: changed.get(column, getattr(schedule, column)) for column in EDITABLE}
    if options["rule_type"] != schedule_times.RuleType.INTERVAL:
        options["anchor"] = None
    with audit.act("request.submit", schedule.deployment, by=by, reason=reason, ticket=ticket) as act:
        # The entry is that of the submission.
        act.is_repeat = True
        return request(
            schedule.deployment,
            reused_values(schedule, by) if parameters is None else parameters,
            by=by,
            valid_until=valid_until,
            replaces=schedule,
            tags=schedule.spec.tags,
            run_name=schedule.spec.run_name,
            profile=schedule.spec.profile_name if profile is None else profile,
            reason=reason,
            ticket=ticket,
            confirmation=confirmation,
            submission_key=submission_key,
            **options,
        )


def reused_values(schedule: Schedule, by: Actor) -> dict[str, Any]:
    """Return the values of a schedule for another one; raises `Forbidden`, or `Refused` for an exposed secret."""
    deployment = schedule.deployment
    if not by.is_same_person_as(schedule.change.requested_by_id):
        permissions = Permissions.of(by)
        permissions.require(Verb.SEE_INPUTS, deployment)
        permissions.require(Verb.RERUN, deployment)
    values = spec_values(schedule.spec)
    sealed = schedule.spec.sealed_parameters
    public, _ = schemas.split(deployment.parameter_schema, values)
    if sealed and (names := schemas.exposed(json.loads(encryption.unseal(sealed)), public)):
        spelled = ", ".join(name.removeprefix("/") for name in names)
        raise Refused(
            "schedule.secret_exposed",
            f"{schedule} has secret values that its deployment no longer treats as secret: {spelled}. Edit it and "
            "enter all values.",
            parameters=names,
        )
    return values


def require_replaceable(schedule: Schedule, deployment: Deployment, key: uuid.UUID | None) -> Schedule:
    """Return the schedule as it is now; refuse one of another deployment, or that has ended."""
    now = schedule_states.rows().get(pk=schedule.pk)
    if now.deployment_id != deployment.pk:
        raise Refused("schedule.other_deployment", f"{now} is a schedule of {now.deployment}.")
    # The same form again: the first one may have replaced it by now.
    is_repeat = key is not None and ChangeRequest.objects.filter(submission_key=key).exists()
    if not now.is_live and not is_repeat:
        raise Refused("schedule.not_live", f"{now} is “{now.state_label}”: there is nothing to replace. Add a new one.")
    return now


# Pause, resume and end ------------------------------------------------------------------------------------------------


def pause(schedule: Schedule, *, by: Actor, reason: str = "", ticket: str = "") -> None:
    """Start no more runs until it is resumed; those not sent to Prefect are withdrawn.

    By its owner, or with permission to manage schedules or to pause the deployment.
    """
    with act_on("schedule.pause", schedule, by, reason, ticket) as act:
        require_may_stop(schedule, by, also=(Verb.SCHEDULE, Verb.PAUSE))
        stored = locked(schedule, act)
        if stored.state != State.ACTIVE:
            raise Refused("schedule.not_active", f"{stored} is “{stored.state_label}”, so there is nothing to pause.")
        withdrawn = schedule_states.pause(
            stored, code=Schedule.BY_PERSON, message=f"Paused by {by.name}{because(reason)}.", by_name=by.name
        )
        act.after = {"state": stored.state, "withdrawn": withdrawn}


def resume(schedule: Schedule, *, by: Actor, reason: str = "", ticket: str = "") -> None:
    """Start runs again, from the next due time on; requires permission to manage schedules.

    Refused while something prevents its runs, such as a deployment that was changed: the schedule then needs a renewal.
    """
    with act_on("schedule.resume", schedule, by, reason, ticket) as act:
        deployment = schedule.deployment
        Permissions.of(by).require(Verb.SCHEDULE, deployment)
        requirements = requirements_for(Target.of(deployment))
        requirements.require_reason_and_ticket("resume", reason=reason, ticket=ticket)
        stored = locked(schedule, act)
        if stored.state != State.PAUSED:
            raise Refused("schedule.not_paused", f"{stored} is “{stored.state_label}”, not paused.")
        if found := schedule_checks.obstacle(stored):
            raise Refused("schedule.obstructed", f"{stored} cannot be resumed. {found.sentence}", cause=found.code)
        due = schedule_checks.next_due(stored, timezone.now())
        if due is None:
            raise Refused("schedule.over", f"{stored} has no start left. Renew it with a later end.")
        schedule_states.resume(stored, due, by_name=by.name)
        act.after = {"state": stored.state, "next_due": due}


def end(schedule: Schedule, *, by: Actor, reason: str = "", ticket: str = "") -> None:
    """End a schedule for good, or withdraw one that waits; by its owner, or with permission to manage schedules."""
    with act_on("schedule.end", schedule, by, reason, ticket) as act:
        require_may_stop(schedule, by, also=(Verb.SCHEDULE,))
        stored = locked(schedule, act)
        if stored.state == State.ENDED:
            raise Refused("schedule.ended", f"{stored} has already ended.")
        message, change = f"Ended by {by.name}{because(reason)}.", schedule_states.lock_change(stored)
        if change.state == ChangeRequest.State.WAITING:
            changes.withdraw_waiting(change, message)
        elif change.state == ChangeRequest.State.APPROVED:
            act.after["withdrawn"] = changes.close(change, message)
        schedule_states.end(stored, code=Schedule.BY_PERSON, message=message, by_name=by.name)
        act.after["state"] = stored.state


def act_on(verb: str, schedule: Schedule, by: Actor, reason: str, ticket: str) -> Any:
    return audit.act(verb, schedule, by=by, reason=reason, ticket=ticket, environment=schedule.environment.slug)


def locked(schedule: Schedule, act: audit.Act) -> Schedule:
    """Return the locked row, and note its state in the entry."""
    stored = schedule_states.lock(schedule.pk)
    if stored is None:
        raise Schedule.DoesNotExist
    act.before = {"state": stored.state}
    return stored


def require_may_stop(schedule: Schedule, by: Actor, *, also: Sequence[Verb]) -> None:
    """Refuse actors who neither own the schedule nor have one of the verbs; the owner needs no permission."""
    if by.is_same_person_as(schedule.change.requested_by_id):
        return
    permissions = Permissions.of(by)
    if not any(permissions.decide(verb, schedule.deployment) for verb in also):
        permissions.require(also[0], schedule.deployment)


def because(reason: str) -> str:
    return f": {reason.strip().rstrip('.')}" if reason.strip() else ""
