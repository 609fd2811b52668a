"""What people do with a failure group: own, acknowledge, mute, resolve and comment.

These move the state of `FailureGroup` and insert `FailureAct`. All of them need the permission “cancel” for the
deployment: who may stop its runs answers for how they end. It starts nothing, so it is less than “re-run”, and it is no
change of rules, so it is less than “manage”.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from flows.db_text import sanitize
from runs import audit, events, moments
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.audit import Act
from runs.errors import Refused
from runs.models import FailureAct, FailureGroup, RunEvent, Verb

State = FailureGroup.State
# The permission to act on a group.
ACTS = Verb.CANCEL
LONGEST_TEXT = 1000
LONGEST_MUTE = timedelta(days=366)
# New state -> the states it can follow. Grouping moves a resolved group to REGRESSED. That a mute ended is no move.
LEGAL_FROM: dict[State, frozenset[State]] = {
    State.KNOWN: frozenset({State.NEW, State.REGRESSED, State.MUTED, State.RESOLVED}),
    State.MUTED: frozenset({State.NEW, State.REGRESSED, State.KNOWN, State.MUTED}),
    State.RESOLVED: frozenset({State.NEW, State.REGRESSED, State.KNOWN, State.MUTED}),
}


def target_of(group: FailureGroup) -> Target:
    """Return what grants are matched against; select the deployment and its environment with the group."""
    if group.access_deployment:
        return Target.of(group.access_deployment)
    return Target(group.environment, group.flow_name)


def can_act(permissions: Permissions, group: FailureGroup) -> bool:
    return permissions.decide(ACTS, target_of(group)).allowed


def sees_message(permissions: Permissions, group: FailureGroup) -> bool:
    """Return whether a person can view the exception and the message, which quote the log."""
    return permissions.decide(Verb.SEE_LOGS, target_of(group)).allowed


def assign(group: FailureGroup, owner: User | None, *, by: Actor) -> FailureGroup:
    """Set who looks after the failure; None for no owner. A new or regressed one becomes known.

    Raises `Forbidden`, or `Refused` for a person who cannot see the deployment.
    """
    with acting("failure.own", group, by=by) as (act, locked):
        if owner and not Permissions.of_person(owner).decide(Verb.SEE, target_of(locked)):
            raise Refused(
                "failure.owner",
                f"{owner} cannot see {target_of(locked)}, and would not find this failure. Choose someone who can.",
            )
        before = locked.owner.get_username() if locked.owner else ""
        after = owner.get_username() if owner else ""
        act.before["owner"], act.after["owner"] = before, after
        locked.owner = owner
        if owner and locked.state in (State.NEW, State.REGRESSED):
            move(locked, State.KNOWN, by, act)
        locked.save()
        write(locked, FailureAct.Kind.OWNED, by, after or "no owner")
    return locked


def acknowledge(group: FailureGroup, *, by: Actor, reason: str = "") -> FailureGroup:
    """Mark a failure as known: also one that is muted or was resolved. Raises `Forbidden` or `Refused`."""
    with acting("failure.acknowledge", group, by=by, reason=reason) as (act, locked):
        move(locked, State.KNOWN, by, act)
        locked.save()
        write(locked, FailureAct.Kind.ACKNOWLEDGED, by, reason)
    return locked


def mute(group: FailureGroup, until: datetime, *, by: Actor, reason: str = "") -> FailureGroup:
    """Leave a failure out of the overview until a moment; it is counted all the same. Raises `Forbidden` or `Refused`.

    Whatever happens until then notifies nobody. Afterwards it is known.
    """
    with acting("failure.mute", group, by=by, reason=reason) as (act, locked):
        until = moments.in_utc(until)
        if not timezone.now() < until <= timezone.now() + LONGEST_MUTE:
            raise Refused("failure.until", "Mute it until a time in the next 12 months.")
        move(locked, State.MUTED, by, act, reason)
        locked.muted_until = until
        act.after["until"] = until
        locked.save()
        write(locked, FailureAct.Kind.MUTED, by, reason, f"until {timezone.localtime(until):%d %b %Y, %H:%M %Z}")
    return locked


def resolve(group: FailureGroup, *, by: Actor, reason: str) -> FailureGroup:
    """Mark a failure as resolved. Another one is a regression, which notifies people again.

    A run that completes resolves nothing: only people know whether the cause is gone. Raises `Forbidden` or `Refused`.
    """
    with acting("failure.resolve", group, by=by, reason=reason) as (act, locked):
        if not reason.strip():
            raise Refused("failure.reason_required", "Say what resolved the failure, such as the fix or the ticket.")
        move(locked, State.RESOLVED, by, act, reason)
        locked.save()
        write(locked, FailureAct.Kind.RESOLVED, by, reason)
        facts = {"group": locked.pk, "by": by.name, "by_id": by.user.pk}
        events.record(RunEvent.Kind.FAILURE_RESOLVED, environment=locked.environment, data=facts)
    return locked


def comment(group: FailureGroup, text: str, *, by: Actor) -> FailureGroup:
    """Add a note for those who see the failure. Raises `Forbidden` or `Refused`."""
    with acting("failure.note", group, by=by, reason=text) as (_, locked):
        if not text.strip():
            raise Refused("failure.text_required", "Enter the text of the note.")
        write(locked, FailureAct.Kind.NOTED, by, text)
    return locked


@contextmanager
def acting(verb: str, group: FailureGroup, *, by: Actor, reason: str = "") -> Iterator[tuple[Act, FailureGroup]]:
    """Lock the group, in a transaction with the audit entry; refuse who may not act on it."""
    names = {"subject_kind": "failuregroup", "environment": group.environment.slug}
    with audit.act(verb, group, by=by, reason=reason.strip(), **names) as act:
        rows = FailureGroup.objects.select_related("environment", "access_deployment__environment", "owner")
        locked = rows.select_for_update(of=["self"]).get(pk=group.pk)
        Permissions.of(by).require(ACTS, target_of(locked))
        if len(reason.strip()) > LONGEST_TEXT:
            raise Refused("failure.too_long", f"The text is too long: at most {LONGEST_TEXT:,} characters.")
        yield act, locked


def move(group: FailureGroup, to: State, by: Actor, act: Act, reason: str = "") -> None:
    """Set the state of a locked group; the caller saves it. Raises `Refused`."""
    if group.state not in LEGAL_FROM[to]:
        raise Refused("failure.state", f"The failure is already {group.state_label.lower()}. Reload the page.")
    act.before["state"], act.after["state"] = group.shown_state.value, to.value
    group.state, group.state_at, group.state_by_name = to, timezone.now(), by.name
    group.reason, group.muted_until = sanitize(reason.strip()), None


def write(group: FailureGroup, kind: FailureAct.Kind, by: Actor, text: str = "", more: str = "") -> None:
    """Insert what was done into the history of the group."""
    shown = ". ".join(part for part in (more, sanitize(text.strip())) if part)
    FailureAct.objects.create(group=group, kind=kind, by_name=by.name[:200], text=shown[:LONGEST_TEXT])
