"""Giving and taking permissions: the only code that writes `Grant`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group, User
from django.utils import timezone

from flows.access import Refused
from flows.models import Environment, Grant, Verb
from runs import audit
from runs.actors import Actor


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
    reason: str = "",
) -> Grant:
    """Allow or deny; an empty selector matches everything."""
    with audit.act("grant.give", None, by=by, reason=reason, subject_kind="grant") as act:
        must_administer(by, "flows.add_grant")
        if (person is None) == (group is None):
            raise Refused("A grant is for one person or for one group.")
        if not verbs or set(verbs) - set(Verb.values):
            raise Refused("A grant needs at least one verb, and only verbs that exist.")
        if valid_from and valid_until and valid_from >= valid_until:
            raise Refused("A grant must begin before it ends.")
        row = Grant.objects.create(
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
            reason=reason,
            granted_by_name=by.name,
        )
        act.subject, act.after = row, described(row)
        return row


def revoke(row: Grant, *, by: Actor, reason: str = "") -> None:
    """End a grant now; it stays to be read."""
    with audit.act("grant.revoke", row, by=by, reason=reason) as act:
        must_administer(by, "flows.change_grant")
        act.before = described(row)
        revoked = Grant.objects.filter(pk=row.pk, revoked_at=None).update(
            revoked_at=timezone.now(), revoked_by_name=by.name
        )
        if not revoked:
            raise Refused("This grant was revoked already.")


def must_administer(by: Actor, permission: str) -> None:
    if by.holder is not None and not by.user.has_perm(permission):
        raise Refused(f"{by.name} may not administer grants.")


def described(row: Grant) -> dict[str, Any]:
    return {
        "subject": row.subject,
        "effect": row.effect,
        "verbs": list(row.verbs),
        "selector": row.selector,
        "valid_from": row.valid_from,
        "valid_until": row.valid_until,
    }
