"""Escalate requests that nobody decided in time: the only code that writes `Escalation`.

A rule with minutes applies to such a request once, however long it waits. That is an event, from which messages are
made as from any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import Prefetch
from django.utils import timezone

from runs import events
from runs.access.decisions import Target, matches
from runs.models import ChangeRequest, Escalation, NotificationRule, RunEvent, RunSpec

# What decides about a deployment is small; these columns are not.
LARGE = [
    *("definition", "parameters"),
    *(f"deployment__{name}" for name in ("parameter_schema", "parameter_defaults", "job_variables", "definition")),
]
State, Kind = ChangeRequest.State, ChangeRequest.Kind


def escalate() -> None:
    """Record an event for each rule and request that became overdue since the last call."""
    rules = list(NotificationRule.objects.filter(after_minutes__gt=0, removed_at=None).order_by("pk"))
    if not rules:
        return
    # 1. What waits long enough for the shortest rule; overseers are notified of changes of rules at once.
    since = timezone.now() - timedelta(minutes=min(rule.after_minutes for rule in rules))
    specs = Prefetch("specs", RunSpec.objects.select_related("deployment__environment").defer(*LARGE))
    rows = ChangeRequest.objects.filter(state=State.WAITING, requested_at__lte=since).exclude(kind=Kind.RULES)
    waiting = list(rows.order_by("pk").prefetch_related(specs))
    known = set(Escalation.objects.filter(change__in=waiting).values_list("rule", "change"))
    # 2. Each rule that is for it, once.
    for change in waiting:
        targets = list(dict.fromkeys(Target.of(spec.deployment) for spec in change.specs.all()))
        for rule in rules:
            if (rule.pk, change.pk) not in known and is_overdue(rule, change, targets):
                record(rule, change)


def is_overdue(rule: NotificationRule, change: ChangeRequest, targets: Sequence[Target]) -> bool:
    is_late = change.requested_at <= timezone.now() - timedelta(minutes=rule.after_minutes)
    return is_late and any(matches(rule, target) for target in targets)


@transaction.atomic
def record(rule: NotificationRule, change: ChangeRequest) -> None:
    """Record it, unless the request was decided meanwhile, or another process was faster."""
    # Locked: a decision at the same moment is before this, or after it.
    locked = ChangeRequest.objects.select_for_update(of=["self"]).filter(pk=change.pk, state=State.WAITING).first()
    if locked is None:
        return
    _, is_new = Escalation.objects.get_or_create(rule=rule, change=locked)
    if is_new:
        facts = {"rule": rule.pk, "minutes": rule.after_minutes}
        events.record(RunEvent.Kind.REQUEST_OVERDUE, change=locked, data=facts)
