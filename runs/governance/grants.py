"""Create and revoke grants: the only code that writes `Grant`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group, User
from django.db.models import Q
from django.utils import timezone

from flows.models import Environment
from runs import audit, moments
from runs.access import predicates
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import loosening_gate
from runs.governance.loosening import loosened
from runs.governance.powers import owns
from runs.governance.requirements import requirements_for
from runs.governance.rule_changes import Proposal, pass_or_submit
from runs.models import ChangeRequest, Grant, Verb
from runs.models.grant import PART_OF, WITH_PARAMETERS

# The columns of a grant that a change request for it quotes, beside its times and its condition.
COLUMNS = [
    *("person_id", "group_id", "effect", "verbs", "environment_id", "tag", "flow_name", "full_name"),
    *("reason", "ticket"),
]


def grant(
    *,
    by: Actor,
    verbs: Sequence[str],
    person: User | None = None,
    group: Group | None = None,
    effect: str = Grant.Effect.ALLOW,
    environment: Environment | None = None,
    tag: str = "",
    flow_name: str = "",
    full_name: str = "",
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    predicate: dict[str, Any] | None = None,
    reason: str = "",
    ticket: str = "",
    confirm: str = "",
    signed: ChangeRequest | None = None,
) -> Grant | ChangeRequest:
    """Create a grant that allows or denies; blank selector fields match everything.

    `predicate` is a JSON Schema that the parameters of a run must satisfy. Administrators can grant anything; people
    with `manage` only what they have themselves, for no longer than they have it. `confirm` is the name of a protected
    environment that the grant opens: it then waits as the change request that is returned, until it is approved and
    comes again as `signed`. Raises `Refused` with a code `grant.…`, `loosening.…`, `rules.…`, `reason.required` or
    `ticket.required`.
    """
    # No subject yet: the row exists only after the checks, and a refused grant is audited without one.
    with audit.act("grant.give", None, by=by, reason=reason, ticket=ticket, subject_kind="grant") as act:
        if (person is None) == (group is None):
            raise Refused("grant.subject", "A grant applies to exactly one person or one group.")
        if not verbs or set(verbs) - set(Verb.values):
            raise Refused("grant.verbs", "Choose at least one verb.")
        valid_from, valid_until = (moments.in_utc(each) if each else None for each in (valid_from, valid_until))
        if valid_from and valid_until and valid_from >= valid_until:
            raise Refused("grant.dates", "A grant must start before it ends.")
        if valid_until and valid_until <= timezone.now():
            raise Refused("grant.past", "The end of the grant is in the past. Choose a later time.")
        if predicate is not None:
            require_valid(predicate, verbs)
        # Verbs in the order of the enumeration, so that the same grant reads the same everywhere.
        row = Grant(
            person=person,
            group=group,
            effect=effect,
            verbs=sorted(set(verbs), key=Verb.values.index),
            environment=environment,
            tag=tag,
            flow_name=flow_name,
            full_name=full_name,
            valid_from=valid_from,
            valid_until=valid_until,
            predicate=predicate,
            reason=reason,
            ticket=ticket,
            granted_by=by.holder,
            granted_by_name=by.name,
        )
        if not by.is_administrator:
            bounded(row, by)
        # Policies apply to environments; a grant for all of them has no single one to ask.
        if environment and by.holder is not None:
            target = Target(environment, flow_name, full_name, (tag,) if tag else ())
            requirements_for(target).require_reason_and_ticket("grant", reason=reason, ticket=ticket)
        found = loosened(None, row)
        proposal = Proposal(
            subject_id="",
            subject_name=name_of(row),
            before={},
            after={**columns_of(row), "predicate": predicate, "effective_predicate": row.predicate},
            beneficiary=f"person:{person.pk}" if person else f"group:{group.pk}" if group else "",
        )
        if waiting := pass_or_submit(found, act, proposal, confirm=confirm, signed=signed):
            return waiting
        row.save()
        act.subject, act.after, act.environment = row, describe(row), environment.slug if environment else ""
        loosening_gate.record_and_notify(found, act, signed)
        return row


def columns_of(row: Grant) -> dict[str, Any]:
    """Return what a grant gives, as JSON: times in ISO 8601."""
    times = {name: at.isoformat() if (at := getattr(row, name)) else None for name in ("valid_from", "valid_until")}
    return {name: getattr(row, name) for name in COLUMNS} | times


def name_of(row: Grant) -> str:
    return f"{'denial for' if row.effect == Grant.Effect.DENY else 'grant to'} {row.subject}"


def require_valid(predicate: dict[str, Any], verbs: Sequence[str]) -> None:
    """Refuse a condition that is not usable, or that is combined with a verb without parameters."""
    if errors := predicates.problems(predicate):
        raise Refused("grant.condition", f"The condition on parameters is not valid. {' '.join(errors)}")
    if unbound := [verb for verb in verbs if verb not in WITH_PARAMETERS]:
        raise Refused(
            "grant.condition_unbound",
            f"A condition on parameters cannot apply to {', '.join(Verb(verb).label for verb in unbound)}. Create a "
            "separate grant for it.",
            verbs=sorted(unbound),
        )


def bounded(row: Grant, by: Actor) -> None:
    """Refuse a delegated grant that exceeds its giver's own, and add the giver's condition on values to it."""
    if row.effect == Grant.Effect.DENY:
        raise Refused("grant.deny", "Only administrators can deny access.")
    if row.group:
        # The giver may be a member, or become one: it would be a grant to themselves, and to people not named in it.
        raise Refused("grant.group", "Only administrators can create grants for groups.")
    if by.is_same_person_as(row.person_id):
        # Otherwise a grant that someone has through a group would outlast their membership.
        raise Refused("grant.own", "You cannot grant permissions to yourself.")
    if owns(by.user, row.person_id):
        raise Refused("service_account.own", f"You cannot grant permissions to {row.person}: you are its owner.")
    permissions = Permissions.of(by)
    denying = [*denials_of(by.user), *(grant for grant in by.scope or () if grant.effect == Grant.Effect.DENY)]
    for verb in (Verb.MANAGE, *map(Verb, row.verbs)):
        denied = {verb, PART_OF.get(verb, verb)}
        if any(denied & set(denial.verbs) and may_overlap(denial, row) for denial in denying):
            raise Refused(
                "grant.denied",
                f"{by.name} is denied “{verb.label}” on {row.selector} and cannot grant it.",
                verb=str(verb),
            )
        for layer in permissions.layers:
            held = [grant for grant in layer if verb in grant.verbs and contains(grant, row)]
            if not held:
                raise Refused(
                    "grant.beyond_own",
                    f"{by.name} does not have “{verb.label}” on all of {row.selector} for that long and cannot grant "
                    "it.",
                    verb=str(verb),
                )
            # With several grants the first is used: bound to one of them, it stays within what the giver has.
            if verb != Verb.MANAGE and all(grant.predicate for grant in held):
                row.predicate = predicates.both(held[0].predicate, row.predicate)


def denials_of(user: User) -> list[Grant]:
    """Return a person's denials, including those that start later: a delegated grant may still be valid then."""
    # Including conditional ones: a delegated grant would not have the condition.
    theirs = Grant.objects.filter(Q(person=user) | Q(group__user=user), effect=Grant.Effect.DENY, revoked_at=None)
    return list(theirs.filter(Q(valid_until=None) | Q(valid_until__gt=timezone.now())).distinct())


def contains(grant: Grant, row: Grant) -> bool:
    """Return whether an allowing grant covers at least the scope and the time of another."""
    if grant.effect == Grant.Effect.DENY:
        return False
    if grant.environment_id is None:
        is_there = row.environment is None or not row.environment.is_protected
    else:
        is_there = grant.environment_id == row.environment_id
    # A deployment name contains its flow name, so a grant for the flow covers one for the deployment.
    flow_name = row.flow_name or row.full_name.partition("/")[0]
    begins = row.valid_from or timezone.now()
    return (
        is_there
        and grant.full_name in ("", row.full_name)
        and grant.flow_name in ("", flow_name)
        and grant.tag in ("", row.tag)
        and (grant.valid_from is None or grant.valid_from <= begins)
        and (grant.valid_until is None or (row.valid_until is not None and row.valid_until <= grant.valid_until))
    )


def may_overlap(denying: Grant, row: Grant) -> bool:
    """Return whether there could be a deployment to which both apply."""
    # Tags are left out: a deployment can get any tag later, so different tags never exclude each other.
    pairs = [
        (denying.environment_id, row.environment_id),
        (denying.full_name, row.full_name),
        (denying.flow_name, row.flow_name or row.full_name.partition("/")[0]),
    ]
    return all(not one or not other or one == other for one, other in pairs)


def revoke(
    row: Grant,
    *,
    by: Actor,
    reason: str = "",
    ticket: str = "",
    confirm: str = "",
    signed: ChangeRequest | None = None,
) -> ChangeRequest | None:
    """Revoke a grant now; the row is kept. Administrators can revoke any grant, others those they created.

    `confirm` names the protected environments that the end of a denial opens: it then waits as the change request that
    is returned, until it is approved and comes again as `signed`.
    """
    with audit.act("grant.revoke", row, by=by, reason=reason, ticket=ticket) as act:
        act.environment = row.environment.slug if row.environment else ""
        if not can_revoke(row, by):
            raise Refused("grant.not_own", f"{by.name} can revoke only grants they created.")
        found = loosened(row, None)
        proposal = Proposal(
            subject_id=str(row.pk),
            subject_name=name_of(row),
            before={**columns_of(row), "predicate": row.predicate},
            after={},
            beneficiary=f"person:{row.person_id}" if row.person_id else f"group:{row.group_id}",
        )
        if waiting := pass_or_submit(found, act, proposal, confirm=confirm, signed=signed):
            return waiting
        act.before = describe(row)
        # Compare and set: of two concurrent revocations only one is recorded.
        revoked = Grant.objects.filter(pk=row.pk, revoked_at=None).update(
            revoked_at=timezone.now(), revoked_by_name=by.name
        )
        if not revoked:
            raise Refused("grant.revoked", "This grant has already been revoked.")
        loosening_gate.record_and_notify(found, act, signed)
    return None


def can_grant(by: Actor) -> bool:
    """Return whether there is any grant that the actor could create."""
    return by.is_administrator or Permissions.of(by).can_any(Verb.MANAGE)


def can_revoke(row: Grant, by: Actor) -> bool:
    return by.is_administrator or (by.is_same_person_as(row.granted_by_id) and can_grant(by))


def describe(row: Grant) -> dict[str, Any]:
    """Return the grant for the audit trail and for `--json`; verbs by their stored names."""
    return {
        "subject": row.subject,
        "effect": row.effect,
        "verbs": list(row.verbs),
        "selector": row.selector,
        "predicate": row.predicate,
        "valid_from": row.valid_from,
        "valid_until": row.valid_until,
    }
