"""Who chose which topics: defaults, subscriptions and rules, read with the same few queries for a batch of events.

A choice opens nothing: each message asks the permissions of its receiver.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q

from flows.models import Deployment, Environment
from runs.access.decisions import Permissions, Target, matches, permissions_of_each
from runs.models import Channel, NotificationRule, Subscription, Verb
from runs.models.notification import DEFAULTS, Topic
from runs.notifications import topic_matching


@dataclass(frozen=True, slots=True)
class Listener:
    """A person who chose a topic, and what they may do; or a channel, and the rules for it.

    A channel sees what its rules select, which administrators decide: never a log, and of a protected environment only
    what names it.
    """

    person: User | None
    permissions: Permissions | None = None
    channel: Channel | None = None
    rules: tuple[NotificationRule, ...] = ()

    @property
    def key(self) -> int | None:
        """Return the key of the person; None for a channel."""
        return self.person.pk if self.person else None

    @property
    def channels(self) -> tuple[Channel, ...]:
        return (self.channel,) if self.channel else ()

    def can(self, verb: Verb, target: Deployment | Target, values: Mapping[str, Any] | None = None) -> bool:
        if self.permissions is not None:
            return self.permissions.decide(verb, target, values).allowed
        about = Target.of(target) if isinstance(target, Deployment) else target
        return verb == Verb.SEE and any(opens(rule, about) for rule in self.rules)

    def sees(self, target: Deployment | Target) -> bool:
        return self.can(Verb.SEE, target)

    def sees_environment(self, environment: Environment) -> bool:
        """Return whether the person sees all of an environment, or something in it."""
        if self.sees(Target.whole(environment)):
            return True
        return self.permissions is not None and self.permissions.environments().filter(pk=environment.pk).exists()


def opens(rule: NotificationRule, target: Target) -> bool:
    """Return whether a rule lets its channel see a target."""
    is_named = rule.environment_id is not None or not target.environment.is_protected
    return is_named and matches(rule, target)


class Audience:
    """The active people who chose some topics, as far as they are about some targets."""

    def __init__(self, topics: Collection[Topic], targets: Collection[Target], *, people: Iterable[int] = ()) -> None:
        """Read it; `people` are the keys of others who can receive it: by default, or whatever they chose."""
        # 1. Topic and environment, None for all of them -> who subscribed to it; topic -> who turned a default off.
        self.subscribed: dict[tuple[str, int | None], set[int]] = {}
        self.declined: dict[str, set[int]] = {}
        places = {target.environment.pk for target in targets}
        chosen = Subscription.objects.filter(
            Q(environment__in=places) | Q(environment=None), topic__in=topics, person__is_active=True
        )
        for topic, place, pk, is_off in chosen.values_list("topic", "environment", "person", "is_off"):
            found = (
                self.declined.setdefault(topic, set()) if is_off else self.subscribed.setdefault((topic, place), set())
            )
            found.add(pk)
        # 2. The rules for any of the targets, by their keys; and the people of their groups.
        keys = {key for target in targets for key in topic_matching.keys_of(target)}
        rules = list(
            NotificationRule.objects.filter(
                Q(channel=None) | Q(channel__is_enabled=True),
                match_key__in=keys,
                topics__overlap=list(topics),
                after_minutes=0,
                removed_at=None,
            ).select_related("channel")
        )
        self.rules = topic_matching.by_key(rules)
        self.members = members_of({rule.group_id for rule in rules if rule.group_id})
        # 3. The people.
        self.asked = frozenset(people)
        wanted = {pk for each in (*self.subscribed.values(), *self.members.values()) for pk in each} | self.asked
        wanted |= {rule.person_id for rule in rules if rule.person_id}
        self.listeners = {each.key or 0: each for each in listeners_of(wanted)}
        # 4. The channels, under negative keys.
        for channel in {rule.channel for rule in rules if rule.channel}:
            theirs = tuple(rule for rule in rules if rule.channel_id == channel.pk)
            self.listeners[-channel.pk] = Listener(None, channel=channel, rules=theirs)

    def keys(self, topic: Topic, target: Target) -> set[int]:
        """Return the keys of who chose a topic about a target; those of channels are negative."""
        place = target.environment.pk
        found = self.subscribed.get((topic, place), set()) | self.subscribed.get((topic, None), set())
        if topic in DEFAULTS:
            found |= self.asked - self.declined.get(topic, set())
        for rule in topic_matching.rules_for(topic, target, self.rules):
            if rule.channel_id:
                # Another rule of the channel, for other topics, may name the environment; this one must.
                found |= {-rule.channel_id} if opens(rule, target) else set()
            else:
                found |= {rule.person_id} if rule.person_id else self.members.get(rule.group_id or 0, set())
        return found & self.listeners.keys()

    def of(self, topics: Collection[Topic], targets: Collection[Target]) -> list[Listener]:
        """Return who chose any of the topics about any of the targets, each once."""
        found = {pk for topic in topics for target in targets for pk in self.keys(topic, target)}
        return [self.listeners[pk] for pk in sorted(found)]

    def wants(self, listener: Listener, topic: Topic, target: Target) -> bool:
        key = listener.key or -next(channel.pk for channel in listener.channels)
        return key in self.keys(topic, target)

    def has_any(self, topic: Topic) -> bool:
        """Return whether anyone at all chose a topic."""
        return any(each == topic for each, _ in self.subscribed) or any(each == topic for _, each in self.rules)


def listeners_of(people: Collection[int]) -> list[Listener]:
    """Read these people, as far as they are active, and what they may do."""
    active = (
        list(User.objects.filter(pk__in=people, is_active=True).select_related("email_settings").order_by("pk"))
        if people
        else []
    )
    read = zip(active, permissions_of_each(active), strict=True)
    return [Listener(person, permissions) for person, permissions in read]


def receivers_of(rule: NotificationRule) -> list[Listener]:
    """Return the active people whom a rule is for, or its channel."""
    if rule.person_id:
        return listeners_of([rule.person_id])
    if rule.channel:
        return [Listener(None, channel=rule.channel, rules=(rule,))] if rule.channel.is_enabled else []
    return listeners_of(members_of([rule.group_id or 0]).get(rule.group_id or 0, set()))


def members_of(groups: Collection[int]) -> dict[int, set[int]]:
    """Return group -> the keys of its people."""
    found: dict[int, set[int]] = {}
    rows = User.groups.through.objects.filter(group__in=groups) if groups else ()
    for row in rows:
        found.setdefault(row.group_id, set()).add(row.user_id)
    return found


def everyone() -> set[int]:
    """Return the keys of the active people who can sign in: those who receive a default, if they may."""
    return set(User.objects.filter(is_active=True, is_staff=True).values_list("pk", flat=True))
