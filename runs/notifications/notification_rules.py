"""Create and remove notification rules: the only code that writes `NotificationRule`.

A rule opens nothing and changes no rules of governance: each receives what they may see. So everyone can have rules of
their own, and administrators those of groups.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet
from django.utils import timezone

from flows.db_text import sanitize
from flows.models import Environment
from runs import audit, events
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.errors import Refused
from runs.governance.loosening_gate import places_of
from runs.governance.rule_changes import reads_trail
from runs.listing import Filter, Listing
from runs.listings import IN_ENVIRONMENT
from runs.models import Channel, NotificationRule, RunEvent
from runs.models.notification import PERSONAL, Topic
from runs.notifications import topic_matching

# All administrators and auditors are notified of channels, and no one else is.
CHOOSABLE = [topic for topic in Topic.values if topic != Topic.CHANNEL]
LONGEST_NAME = 100
# Rules of one person, and of one group.
MOST_RULES = 100
# A week: what waits longer has expired almost everywhere.
MOST_MINUTES = 7 * 24 * 60


def create(
    name: str,
    topics: Collection[str],
    *,
    by: Actor,
    group: Group | None = None,
    channel: Channel | None = None,
    environment: Environment | None = None,
    full_name: str = "",
    flow_name: str = "",
    tag: str = "",
    after_minutes: int = 0,
) -> NotificationRule:
    """Create a rule of the person who acts; or of a group or a channel, which needs an administrator.

    `after_minutes` is for requests that wait for an approval only: the rule is for those that nobody has decided by
    then. Raises `Refused` with code `notification_rule.…`.
    """
    texts = {"full_name": full_name, "flow_name": flow_name, "tag": tag}
    rule = NotificationRule(
        name=sanitize(name.strip())[:LONGEST_NAME],
        topics=sorted(set(topics)),
        group=group,
        channel=channel,
        person=None if group or channel else by.user,
        environment=environment,
        after_minutes=after_minutes,
        created_by_name=by.name,
        **{column: sanitize(text.strip()) for column, text in texts.items()},
    )
    names = {"subject_kind": "notificationrule", "environment": environment.slug if environment else ""}
    with audit.act("notification_rule.create", None, by=by, subject_name=rule.name, **names) as act:
        require_receiver(rule, by)
        require_topics(rule)
        require_visible(rule, by)
        rule.match_key = topic_matching.key_of(rule)
        rule.save(force_insert=True)
        act.subject, act.after = rule, describe(rule)
        if channel and environment and environment.is_protected:
            announce(rule, environment, by)
    return rule


def remove(rule: NotificationRule, *, by: Actor, reason: str = "") -> NotificationRule:
    """Remove a rule, by its person, or by an administrator that of a group. Raises `Refused`."""
    names = {"subject_kind": "notificationrule", "environment": rule.environment.slug if rule.environment else ""}
    with audit.act("notification_rule.remove", rule, by=by, reason=reason, **names) as act:
        locked = rows().select_for_update(of=["self"]).get(pk=rule.pk)
        require_receiver(locked, by)
        if locked.removed_at:
            raise Refused("notification_rule.removed", f"{locked.removed_by_name} has removed this rule already.")
        act.before = describe(locked)
        locked.removed_at, locked.removed_by_name = timezone.now(), by.name
        locked.save(update_fields=["removed_at", "removed_by_name"])
    return locked


def can_remove(rule: NotificationRule, by: Actor) -> bool:
    return rule.removed_at is None and decides(rule, by)


def decides(rule: NotificationRule, by: Actor) -> bool:
    """Return whether the actor may change a rule: administrators those of groups and channels, others their own."""
    if rule.group_id or rule.channel_id:
        return by.is_administrator
    # A service account, which acts for an owner, reads no messages.
    return by.agent is None and by.owner is None and by.is_same_person_as(rule.person_id)


# What is required -----------------------------------------------------------------------------------------------------


def announce(rule: NotificationRule, environment: Environment, by: Actor) -> None:
    """Notify administrators and auditors that messages about a protected environment leave the portal."""
    line = f"{environment}: messages go to the channel {rule.channel}: {', '.join(rule.topic_labels)}"
    facts = {**places_of([environment.slug]), "by": by.name, "reason": f"notification rule {rule.name}"}
    events.record(RunEvent.Kind.RULES_LOOSENED, environment=environment, data={**facts, "lines": [line]})


def require_receiver(rule: NotificationRule, by: Actor) -> None:
    if rule.group and rule.channel:
        raise Refused("notification_rule.receivers", "Choose a group or a channel, not both.")
    if not decides(rule, by):
        raise Refused(
            "notification_rule.not_yours",
            "Only administrators can manage the rules of groups and channels, and each person their own.",
        )


def require_topics(rule: NotificationRule) -> None:
    """Refuse a rule without a name or with topics that its receiver cannot have."""
    if not rule.name:
        raise Refused("notification_rule.name", "Give the rule a name, such as “nightly loads”.")
    if not rule.topics or set(rule.topics) - set(CHOOSABLE):
        raise Refused("notification_rule.topics", f"Choose topics among these: {', '.join(CHOOSABLE)}.")
    if not rule.person_id and (personal := PERSONAL & set(rule.topics)):
        labels = ", ".join(f"“{Topic(topic).label}”" for topic in sorted(personal))
        raise Refused("notification_rule.personal", f"{labels} is about one person, and so for people only.")
    if not 0 <= rule.after_minutes <= MOST_MINUTES:
        raise Refused("notification_rule.minutes", f"Wait for 0 to {MOST_MINUTES} minutes.")
    if rule.after_minutes and rule.topics != [Topic.WAITING]:
        raise Refused(
            "notification_rule.minutes",
            f"Minutes are for “{Topic.WAITING.label}” alone: the rule is for requests that nobody decided by then.",
        )
    same = NotificationRule.objects.filter(person=rule.person, group=rule.group, channel=rule.channel, removed_at=None)
    if same.count() >= MOST_RULES:
        raise Refused("notification_rule.too_many", f"{rule.receiver} has {MOST_RULES} rules. Remove one first.")


def require_visible(rule: NotificationRule, by: Actor) -> None:
    """Refuse a deployment that the actor does not see, and names that cannot be."""
    for column, longest in (("full_name", 601), ("flow_name", 300), ("tag", 300)):
        if len(getattr(rule, column)) > longest:
            raise Refused("notification_rule.too_long", f"This name is longer than {longest} characters.")
    permissions = Permissions.of(by)
    if rule.environment and not permissions.environments().filter(pk=rule.environment.pk).exists():
        raise Refused("environment.unknown", "Unknown environment.")
    seen = permissions.deployments().filter(full_name=rule.full_name)
    if rule.environment:
        seen = seen.filter(environment=rule.environment)
    if rule.full_name and not seen.exists():
        raise Refused("notification_rule.deployment", f"There is no deployment {rule.full_name} that you see.")


# Queries --------------------------------------------------------------------------------------------------------------


def rows() -> QuerySet[NotificationRule]:
    return NotificationRule.objects.select_related("environment", "person", "group", "channel")


def sees_rule(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for one's own rules and those of one's groups; the rules of other people are their business.

    Who reads the audit trail sees those of all groups and channels.
    """
    shared = Q(person=None) if reads_trail(by) else Q(group__in=by.user.groups.values("pk"))
    return Q(person=by.user.pk) | shared


NOTIFICATION_RULES = Listing(
    "notification rules",
    NotificationRule,
    sees_rule,
    ("-pk",),
    {
        "environment": IN_ENVIRONMENT,
        "group": Filter("group__name", str, "Name of the group that it is for."),
        "channel": Filter("channel__name", str, "Name of the channel that it is for."),
        "topic": Filter("topics__contains", list[str], "Has all these topics."),
        "active": Filter("removed_at__isnull", bool, "false: only those that were removed."),
    },
    related=("environment", "person", "group", "channel"),
)


def describe(rule: NotificationRule) -> dict[str, Any]:
    """Return the rule for the audit trail."""
    return {
        "name": rule.name,
        "receiver": rule.receiver,
        "topics": rule.topics,
        "environment": rule.environment.slug if rule.environment else None,
        **{column: getattr(rule, column) for column in ("full_name", "flow_name", "tag", "after_minutes")},
    }
