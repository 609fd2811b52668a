"""What an act that loosens the rules of a protected environment requires, and who is notified.

A reason and the typed name of the environment; a second signature (`runs.governance.rule_changes`); each loosening is
named in the audit entry; all administrators and auditors are notified; a switch that stays looser stands as a banner on
the pages of its environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from django.utils import timezone

from flows.models import Environment
from runs import audit, events
from runs.actors import Actor
from runs.errors import Refused
from runs.governance.loosening import ENVIRONMENT, Loosening, is_guarded
from runs.models import ChangeRequest, RunEvent

# Switches that stand as a banner while they are looser than they were.
BANNERS = ("is_protected", "needs_approval", "needs_reason", "approval_minutes", "independence_hours")


def require_confirmed(found: Sequence[Loosening], *, by: Actor, reason: str, confirm: str) -> None:
    """Refuse a loosening without a reason, or without the names of its environments; the system needs neither."""
    if not found or by.holder is None:
        return
    names = environments_of(found)
    what = f"This loosens the rules of {' and '.join(names)} ({'; '.join(each.what for each in found)})."
    if not reason.strip():
        raise Refused("loosening.reason_required", f"{what} Give a reason.", environments=names)
    if not is_confirmed(found, confirm):
        raise Refused("loosening.confirm", f"{what} Type {', '.join(names)} to confirm.", environments=names)


def is_confirmed(found: Iterable[Loosening], confirm: str) -> bool:
    """Return whether all names were typed, in any order, separated by commas or spaces."""
    return {name for name in re.split(r"[,\s]+", confirm) if name} == set(environments_of(found))


def environments_of(found: Iterable[Loosening]) -> list[str]:
    return sorted({each.environment for each in found})


def record_and_notify(found: Sequence[Loosening], act: audit.Act, signed: ChangeRequest | None = None) -> None:
    """Name each loosening in the audit entry, and have all administrators and auditors notified.

    `signed` is the approved change request by which it happens.
    """
    approvers: list[str] = []
    if signed:
        approvers = list(signed.approvals.filter(approved=True, digest=signed.digest).values_list("by_name", flat=True))
        act.after = {**act.after, "change_request": signed.pk, "approved_by": approvers}
    if not found:
        return
    act.after = {**act.after, "loosened": [asdict(each) for each in found]}
    # The installation sets up rules before anyone can be notified.
    if act.by.holder is None:
        return
    names = environments_of(found)
    lines = dict.fromkeys(f"{each.environment}: {each.what}" for each in found)
    events.record(
        RunEvent.Kind.RULES_LOOSENED,
        data={
            **places_of(names),
            "by": act.by.name,
            "approved_by": approvers,
            "reason": act.reason,
            "lines": list(lines),
        },
    )


def places_of(names: Sequence[str]) -> dict[str, Any]:
    """Return the environments of an event: their names as they are now, and their keys."""
    keys = Environment.objects.filter(slug__in=names).values_list("pk", flat=True)
    return {"environments": list(names), "environment_ids": list(keys)}


def standing(before: Environment, after: Environment, *, by: Actor) -> dict[str, Any]:
    """Return the switches that are looser than they were: column -> was, since (ISO 8601) and by."""
    found: dict[str, Any] = {}
    for column in BANNERS:
        _, is_looser = ENVIRONMENT[column]
        earlier = before.loosened.get(column)
        was = earlier["was"] if earlier else getattr(before, column)
        if not is_looser(was, getattr(after, column)):
            continue
        if earlier:
            found[column] = earlier
        elif is_guarded(before) and by.holder is not None:
            found[column] = {"was": was, "since": timezone.now().isoformat(), "by": by.name}
    return found


def notify_of_operator(what: str, found: Sequence[Loosening], act: audit.Act) -> None:
    """Have all administrators and auditors notified of an act of the installation's operator.

    `record_and_notify` leaves out what the installation does to set itself up; this is done behind the pages. Also if
    it reaches no protected environment: `what` says what was done.
    """
    names = environments_of(found)
    lines = dict.fromkeys([what, *(f"{each.environment}: {each.what}" for each in found)])
    events.record(
        RunEvent.Kind.RULES_LOOSENED,
        data={**places_of(names), "by": act.by.name, "reason": act.reason, "lines": list(lines)},
    )
