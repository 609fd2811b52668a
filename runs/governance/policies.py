"""Setting up what a run takes, and freezing: the only code that writes `Policy`, `Window` and `Freeze`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from django.contrib.auth.models import Group
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from flows import canonical
from flows.db_text import sanitize
from flows.models import Environment
from flows.parameters import formats
from runs import audit, changes, notifications
from runs.access.decisions import Target, require
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import configuration, pausing
from runs.governance.requirements import requirements_for
from runs.models import Freeze, Policy, Verb, Window
from runs.models.notification import Topic
from runs.models.policy import Stage

MOST_STAGES, MOST_APPROVALS = 5, 9
LONGEST_WINDOW = timedelta(days=31)
CRON_PARTS = 5
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
    "outside_window",
    "risk",
]
WINDOW = ["name", "tag", "flow_name", "full_name", "effect", "cron", "minutes", "time_zone", "is_active", "reason"]


def save_policy(policy: Policy, *, by: Actor) -> None:
    with audit.act("policy.change" if policy.pk else "policy.create", policy, by=by) as act:
        require_valid_policy(policy)
        save(policy, POLICY, act)


def require_valid_policy(policy: Policy) -> None:
    """Refuse rules that nobody could fulfil; puts the stages into their form."""
    policy.stages = checked_stages(policy.stages)
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


def checked_stages(stages: Sequence[Any]) -> list[Stage]:
    kept: list[Stage] = []
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
        if group in [each["group"] for each in kept]:
            raise Refused(
                "policy.stage_duplicate", f"Two stages are for {group or 'anyone who can approve'}. Combine them."
            )
        kept.append(Stage(needed=needed, group=group))
    if len(kept) > MOST_STAGES:
        raise Refused("policy.stages_too_many", f"A policy has at most {MOST_STAGES} stages.", maximum=MOST_STAGES)
    return kept


def save_window(window: Window, *, by: Actor) -> None:
    with audit.act("window.change" if window.pk else "window.create", window, by=by) as act:
        require_valid_window(window)
        save(window, WINDOW, act)


def require_valid_window(window: Window) -> None:
    """Refuse a time that never comes, or that nobody could tell."""
    if window.time_zone not in available_timezones():
        raise Refused("window.time_zone", f"Unknown time zone {window.time_zone}. Use a name such as Europe/Vienna.")
    if len(window.cron.split()) != CRON_PARTS:
        raise Refused(
            "window.cron",
            f"“{window.cron}” is not a cron expression: it needs five fields, minute hour day month weekday.",
        )
    try:
        next(CronSim(window.cron, timezone.now()))
    except (CronSimError, StopIteration) as error:
        raise Refused(
            "window.cron_never", f"“{window.cron}” is not a time that comes: {error or 'it never does'}."
        ) from error
    if not 0 < window.minutes <= LONGEST_WINDOW / timedelta(minutes=1):
        raise Refused("window.minutes", f"A window lasts from 1 minute to {LONGEST_WINDOW.days} days.")


def delete_policy(policy: Policy, *, by: Actor) -> None:
    with audit.act("policy.delete", policy, by=by) as act:
        remove(policy, POLICY, act)


def delete_window(window: Window, *, by: Actor) -> None:
    with audit.act("window.delete", window, by=by) as act:
        remove(window, WINDOW, act)


def remove(rule: Policy | Window, names: list[str], act: audit.Act) -> None:
    configuration.require_administrator(act.by)
    act.before, act.subject_id = describe(rule, names), str(rule.pk)
    act.environment = rule.environment.slug if rule.environment else ""
    rule.delete()


def save(rule: Policy | Window, names: list[str], act: audit.Act) -> None:
    """Store a rule for an administrator, and tell what changed."""
    configuration.require_administrator(act.by)
    stored = type(rule)._default_manager.filter(pk=rule.pk).first()
    before = describe(stored, names) if isinstance(stored, Policy | Window) else {}
    try:
        with transaction.atomic():
            rule.save()
    except IntegrityError as error:
        raise Refused(
            "name.taken", f"A {rule._meta.verbose_name} named {rule.name} already exists.", name=rule.name
        ) from error
    act.before, act.after = configuration.difference(before, describe(rule, names))
    act.environment = rule.environment.slug if rule.environment else ""


def describe(rule: Policy | Window, names: list[str]) -> dict[str, Any]:
    environment = rule.environment.slug if rule.environment else "every environment"
    return {"environment": environment, **configuration.columns(rule, names)}


def normalise(environment: Environment) -> Target:
    """What a grant must cover to be about everything in an environment."""
    return Target(environment, "")


def freeze(
    environment: Environment, *, by: Actor, reason: str, ticket: str = "", until: datetime | None = None
) -> Freeze:
    """Let no run start in an environment, until it is lifted or that moment has come. Takes `manage` of all of it."""
    # In a transaction of its own: its entry in the trail comes last there, and this one's comes last here.
    end_expired(environment)
    with audit.act("environment.freeze", environment, by=by, reason=reason, ticket=ticket) as act:
        act.environment = environment.slug
        require(by.user, Verb.MANAGE, normalise(environment))
        if not reason.strip():
            raise Refused(
                "freeze.reason_required", "Give a reason for the freeze. It is shown to everyone whose run is held."
            )
        requirements_for(normalise(environment)).require_reason_and_ticket("freeze", reason=reason, ticket=ticket)
        require_fit(Freeze, reason=reason.strip(), ticket=ticket.strip())
        if until and until <= timezone.now():
            raise Refused("freeze.past", "The end of the freeze is in the past.")
        until = canonical.moment(until) if until else None
        row = Freeze(environment=environment, reason=sanitize(reason.strip()), until=until)
        row.ticket = sanitize(ticket.strip())
        row.begun_by, row.begun_by_name = by.user, by.name
        try:
            with transaction.atomic():
                row.save()
        except IntegrityError as error:
            raise Refused("freeze.already", f"{environment} is already frozen.") from error
        act.after = {"until": until, "ticket": ticket, "schedules_held": pausing.pause_for_freeze(row)}
        lasts = f" It ends by itself at {timezone.localtime(until):%d %b %Y, %H:%M %Z}." if until else ""
        text = f"{by.name} froze {environment}: {row.reason}. No run starts there until it is lifted.{lasts}"
        notifications.notify(Topic.FREEZE, environment, f"{environment} is frozen", text, path=page_of(environment))
        return row


def unfreeze(environment: Environment, *, by: Actor, reason: str = "", ticket: str = "") -> None:
    """Let runs start again; what waited for it goes on at once."""
    with audit.act("environment.unfreeze", environment, by=by, reason=reason, ticket=ticket) as act:
        act.environment = environment.slug
        require(by.user, Verb.MANAGE, normalise(environment))
        requirements_for(normalise(environment)).require_reason_and_ticket(
            "end of a freeze", reason=reason, ticket=ticket
        )
        row = freeze_of(environment)
        if row is None or not lift(row, timezone.now(), by.name):
            raise Refused("freeze.none", f"{environment} is not frozen.")
        act.after = {"schedules_released": pausing.resume_after_freeze(row, by_name=by.name)}
        changes.recheck(environment)
        text = f"{by.name} lifted the freeze of {environment}: what waited for it goes on."
        notifications.notify(Topic.FREEZE, environment, f"{environment} goes on", text, path=page_of(environment))


def end_expired(*environments: Environment) -> None:
    """End the freezes whose time is over; among these environments, or everywhere."""
    over = Freeze.objects.filter(lifted_at=None, until__lte=timezone.now()).select_related("environment")
    for row in over.filter(environment__in=environments) if environments else over:
        with audit.act("environment.unfreeze", row.environment, by=Actor.system()) as act:
            act.environment = row.environment.slug
            # Two that come at once: the second finds nothing to do, and says nothing.
            act.is_repeat = not lift(row, row.until, "its time")
            if not act.is_repeat:
                act.after = {"schedules_released": pausing.resume_after_freeze(row, by_name="its time")}
                changes.recheck(row.environment)


def pause_frozen_schedules() -> None:
    """Hold schedules that were added or resumed during a freeze, and end the freezes whose time is over."""
    end_expired()
    for row in Freeze.objects.filter(lifted_at=None):
        pausing.pause_for_freeze(row)


def lift(row: Freeze, at: datetime | None, by_name: str) -> int:
    return Freeze.objects.filter(pk=row.pk, lifted_at=None).update(lifted_at=at, lifted_by_name=by_name)


def require_fit(model: type[models.Model], **texts: str) -> None:
    """Refuse what the database would not take, before it is asked."""
    for name, text in texts.items():
        longest = getattr(model._meta.get_field(name), "max_length", None)
        if longest and len(text) > longest:
            raise Refused(
                "text.too_long",
                f"The {name} is too long: {len(text)} characters, at most {longest}.",
                field=name,
                limit=longest,
            )


def page_of(environment: Environment) -> str:
    return f"/admin/flows/environment/{environment.pk}/change/"


def frozen_now(*environments: Environment) -> models.QuerySet[Freeze]:
    """The freezes that hold now."""
    in_time = models.Q(until=None) | models.Q(until__gt=timezone.now())
    return Freeze.objects.filter(in_time, environment__in=environments, lifted_at=None)


def freeze_of(environment: Environment) -> Freeze | None:
    """The freeze that holds now, if any."""
    return frozen_now(environment).first()
