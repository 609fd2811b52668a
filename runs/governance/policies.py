"""Policies and change windows: the only code that writes `Policy` and `Window`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from cronsim import CronSim, CronSimError
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.utils import timezone

from flows.cron_text import CRON_PARTS
from flows.local_time import zone_names
from flows.parameters import formats
from runs import audit
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import configuration, loosening_gate, rule_changes
from runs.governance.loosening import loosened
from runs.models import ChangeRequest, Policy, Window
from runs.models.policy import Stage

# More would be a mistake: every approver has to be found before the approvals expire.
MOST_STAGES, MOST_APPROVALS = 5, 9
LONGEST_WINDOW = timedelta(days=31)
# Columns in the audit trail.
POLICY = [
    "name",
    "tag",
    "flow_name",
    "full_name",
    "stages",
    "approval_minutes",
    "needs_reason",
    "needs_ticket",
    "ticket_pattern",
    "ticket_link",
    "needs_confirmation",
    "refuse_moving",
    "cancel_moved",
    "token_days",
    "schedule_days",
    "approve_each_run",
    "native_schedules",
    "outside_window",
    "risk",
]
# What of a policy says only what it is for, and where the ticket is; all else requires something.
DESCRIBES = frozenset({"name", "tag", "flow_name", "full_name", "ticket_link"})
WINDOW = ["name", "tag", "flow_name", "full_name", "effect", "cron", "minutes", "time_zone", "is_active", "reason"]


def save_policy(
    policy: Policy, *, by: Actor, reason: str = "", confirm: str = "", signed: ChangeRequest | None = None
) -> ChangeRequest | None:
    """Save a new or changed policy; for administrators.

    `confirm` names the environments whose rules become looser: the save then waits as the change request that is
    returned, until it is approved and comes again as `signed`. So do the other functions here.
    """
    with audit.act("policy.change" if policy.pk else "policy.create", policy, by=by, reason=reason) as act:
        require_valid_policy(policy)
        return save(policy, POLICY, act, confirm, signed)


def require_valid_policy(policy: Policy) -> None:
    """Refuse a policy that could not be satisfied or displayed; normalizes its stages."""
    policy.stages = checked_stages(policy.stages)
    # None: the linear-time engine does not support the pattern.
    if policy.ticket_pattern and formats.fits(policy.ticket_pattern, "") is None:
        raise Refused(
            "policy.ticket_pattern",
            f"The ticket pattern {policy.ticket_pattern} is not a supported regular expression: look-around and "
            "backreferences are not allowed.",
        )
    if policy.ticket_link and not policy.ticket_link.startswith(("https://", "http://")):
        raise Refused("policy.ticket_link_scheme", "The ticket URL must start with https:// or http://.")
    if policy.ticket_link and "{ticket}" not in policy.ticket_link:
        raise Refused("policy.ticket_link_placeholder", "The ticket URL must contain {ticket}.")


def requires_nothing(policy: Policy) -> bool:
    """Return whether a policy leaves everything as the environment has it."""
    settings = [Policy._meta.get_field(name) for name in POLICY if name not in DESCRIBES]
    return all(getattr(policy, field.name) == field.get_default() for field in settings)  # type: ignore[union-attr]  # no relation is named here


def checked_stages(stages: Sequence[Any]) -> list[Stage]:
    """Return the stages with their types; raises `Refused`, or ValueError for a number that is none."""
    valid: list[Stage] = []
    for stage in stages:
        needed, group = int(stage["needed"]), str(stage["group"])
        if not 1 <= needed <= MOST_APPROVALS:
            raise Refused(
                "policy.stage_approvals", f"A stage needs 1 to {MOST_APPROVALS} approvals.", maximum=MOST_APPROVALS
            )
        if group and not Group.objects.filter(name=group).exists():
            raise Refused(
                "policy.stage_group", f"Unknown group {group}: no one could approve at that stage.", group=str(group)
            )
        if group in [each["group"] for each in valid]:
            raise Refused(
                "policy.stage_duplicate", f"Two stages are for {group or 'anyone who can approve'}. Combine them."
            )
        valid.append(Stage(needed=needed, group=group))
    if len(valid) > MOST_STAGES:
        raise Refused("policy.stages_too_many", f"A policy has at most {MOST_STAGES} stages.", maximum=MOST_STAGES)
    return valid


def save_window(
    window: Window, *, by: Actor, reason: str = "", confirm: str = "", signed: ChangeRequest | None = None
) -> ChangeRequest | None:
    """Save a new or changed window; for administrators."""
    with audit.act("window.change" if window.pk else "window.create", window, by=by, reason=reason) as act:
        require_valid_window(window)
        return save(window, WINDOW, act, confirm, signed)


def require_valid_window(window: Window) -> None:
    """Refuse a window that never opens, or whose time cannot be computed."""
    for problem in window_problems(window):
        raise problem


def window_problems(window: Window) -> Iterator[Refused]:
    """Yield everything that `require_valid_window` refuses: a form shows all of it at once."""
    if window.time_zone not in zone_names():
        yield Refused("window.time_zone", f"Unknown time zone {window.time_zone}. Use a name such as Europe/Vienna.")
    if len(window.cron.split()) != CRON_PARTS:
        yield Refused(
            "window.cron",
            f"“{window.cron}” is not a cron expression: it needs five fields, minute hour day month weekday.",
        )
    elif (detail := never_matches(window.cron)) is not None:
        yield Refused("window.cron_never", f"“{window.cron}” never matches a date{detail}.")
    if not 0 < window.minutes <= LONGEST_WINDOW / timedelta(minutes=1):
        yield Refused("window.minutes", f"A window lasts from 1 minute to {LONGEST_WINDOW.days} days.")


def never_matches(cron: str) -> str | None:
    """Return why an expression has no time, as the end of a sentence; None if it has one."""
    try:
        next(CronSim(cron, timezone.now()))
    except (CronSimError, StopIteration) as error:
        return f": {error}" if str(error) else ""
    return None


def delete_policy(
    policy: Policy, *, by: Actor, reason: str = "", confirm: str = "", signed: ChangeRequest | None = None
) -> ChangeRequest | None:
    with audit.act("policy.delete", policy, by=by, reason=reason) as act:
        return remove(policy, POLICY, act, confirm, signed)


def delete_window(
    window: Window, *, by: Actor, reason: str = "", confirm: str = "", signed: ChangeRequest | None = None
) -> ChangeRequest | None:
    with audit.act("window.delete", window, by=by, reason=reason) as act:
        return remove(window, WINDOW, act, confirm, signed)


def remove(
    rule: Policy | Window, names: list[str], act: audit.Act, confirm: str, signed: ChangeRequest | None
) -> ChangeRequest | None:
    configuration.require_administrator(act.by)
    stored = type(rule)._default_manager.get(pk=rule.pk)
    found = loosened(stored, None)
    if waiting := rule_changes.pass_or_submit(found, act, propose(stored, None, names), confirm=confirm, signed=signed):
        return waiting
    act.before, act.subject_id = describe(rule, names), str(rule.pk)
    act.environment = rule.environment.slug if rule.environment else ""
    rule.delete()
    loosening_gate.record_and_notify(found, act, signed)
    return None


def save(
    rule: Policy | Window, names: list[str], act: audit.Act, confirm: str, signed: ChangeRequest | None
) -> ChangeRequest | None:
    """Save a rule and record what changed."""
    # Here and not in the callers, so that no rule can be saved without the check.
    configuration.require_administrator(act.by)
    stored = type(rule)._default_manager.filter(pk=rule.pk).first()
    before = describe(stored, names) if isinstance(stored, Policy | Window) else {}
    found = loosened(stored, rule)
    if waiting := rule_changes.pass_or_submit(found, act, propose(stored, rule, names), confirm=confirm, signed=signed):
        return waiting
    # A savepoint: after an IntegrityError the audit entry could not be written otherwise.
    try:
        with transaction.atomic():
            rule.save()
    except IntegrityError as error:
        raise Refused(
            "name.taken", f"A {rule._meta.verbose_name} named {rule.name} already exists.", name=rule.name
        ) from error
    act.before, act.after = configuration.difference(before, describe(rule, names))
    act.environment = rule.environment.slug if rule.environment else ""
    loosening_gate.record_and_notify(found, act, signed)
    return None


def propose(stored: Policy | Window | None, rule: Policy | Window | None, names: list[str]) -> rule_changes.Proposal:
    """Return a rule before and after an act; None before it is made and after it is deleted."""
    one = stored or rule
    return rule_changes.Proposal(
        subject_id=str(stored.pk) if stored else "",
        subject_name=f"{one._meta.verbose_name if one else ''} {one}",
        before=configuration.columns(stored, [*names, "environment_id"]) if stored else {},
        after=configuration.columns(rule, [*names, "environment_id"]) if rule else {},
    )


def describe(rule: Policy | Window, names: list[str]) -> dict[str, Any]:
    environment = rule.environment.slug if rule.environment else "all environments"
    return {"environment": environment, **configuration.columns(rule, names)}
