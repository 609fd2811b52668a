"""Escalate requests that nobody decided in time: the only code that writes `Escalation`.

A rule with minutes applies to each stage of such a request once, however long it waits. That is an event, from which
messages are made as from any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Prefetch
from django.utils import timezone

from runs import events
from runs.access.decisions import Target, matches
from runs.changes.stages import waiting_stage
from runs.models import ChangeRequest, Escalation, NotificationRule, RunEvent, RunSpec

# What decides about a deployment is small; these columns are not.
LARGE = [
    *("definition", "parameters"),
    *(f"deployment__{name}" for name in ("parameter_schema", "parameter_defaults", "job_variables", "definition")),
]
State, Kind = ChangeRequest.State, ChangeRequest.Kind


def escalate() -> None:
    """Record an event for each rule and stage of a request that became overdue since the last call."""
    rules = list(NotificationRule.objects.filter(after_minutes__gt=0, removed_at=None).order_by("pk"))
    if not rules:
        return
    # 1. What waits long enough for the shortest rule; overseers are notified of changes of rules at once.
    since = timezone.now() - timedelta(minutes=min(rule.after_minutes for rule in rules))
    specs = Prefetch("specs", RunSpec.objects.select_related("deployment__environment").defer(*LARGE))
    rows = ChangeRequest.objects.filter(state=State.WAITING, requested_at__lte=since).exclude(kind=Kind.RULES)
    waiting = list(rows.order_by("pk").prefetch_related(specs, "approvals"))
    known = set(Escalation.objects.filter(change__in=waiting).values_list("rule", "change", "stage"))
    # 2. Each rule that is for it, once for the stage that waits.
    for change in waiting:
        stage = waiting_stage(change)
        if stage is None:
            continue
        position, waits_since = stage
        targets = list(dict.fromkeys(Target.of(spec.deployment) for spec in change.specs.all()))
        for rule in rules:
            if (rule.pk, change.pk, position) not in known and is_overdue(rule, waits_since, targets):
                record(rule, change, position)


def is_overdue(rule: NotificationRule, since: datetime, targets: Sequence[Target]) -> bool:
    is_late = since <= timezone.now() - timedelta(minutes=rule.after_minutes)
    return is_late and any(matches(rule, target) for target in targets)


@transaction.atomic
def record(rule: NotificationRule, change: ChangeRequest, position: int) -> None:
    """Record it, unless the stage was decided meanwhile, or another process was faster."""
    # Locked: a decision at the same moment is before this, or after it.
    locked = ChangeRequest.objects.select_for_update(of=["self"]).filter(pk=change.pk, state=State.WAITING).first()
    if locked is None or not is_waiting_at(locked, position):
        return
    _, is_new = Escalation.objects.get_or_create(rule=rule, change=locked, stage=position)
    if is_new:
        facts = {"rule": rule.pk, "minutes": rule.after_minutes, "stage": position}
        events.record(RunEvent.Kind.REQUEST_OVERDUE, change=locked, data=facts)


def is_waiting_at(change: ChangeRequest, position: int) -> bool:
    """Return whether it is this stage of a request that waits."""
    stage = waiting_stage(change)
    return stage is not None and stage[0] == position
