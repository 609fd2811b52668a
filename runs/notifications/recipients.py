"""Who receives a message: those who chose it and may see it, and those who receive it in any case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from django.contrib.auth.models import User
from django.db import models

from flows.models import Environment
from runs.access.decisions import Permissions, Target
from runs.models import Channel
from runs.models.notification import Topic
from runs.notifications.audience import Audience, Listener
from runs.notifications.services import create

type May = Callable[[Listener], bool]


@dataclass(frozen=True, slots=True)
class Message:
    """The message for one person, and the row that it is about."""

    subject: str
    text: str
    target: models.Model | None = None


def notify(
    topic: Topic,
    environment: Environment,
    subject: str,
    text: str,
    *,
    target: models.Model | None = None,
    about: Sequence[Target] = (),
    may: May | None = None,
    also: Iterable[User] = (),
    concerned: Iterable[User] = (),
    default_to: Iterable[int] = (),
) -> None:
    """Queue a message to all who chose the topic, within the current transaction.

    `about` is what it is about for the rules, by default the whole environment. `may` decides who can receive it; by
    default those who can see the environment. Permissions are checked for each message, because what somebody chose
    outlives a grant. `also` are people who receive it whatever they chose, if they may; `concerned` are those who
    receive it in any case, as long as their account is active; `default_to` those who receive a topic of `DEFAULTS`.
    """
    targets = about or [Target.whole(environment)]
    people = {person.pk: person for person in concerned if person.is_active}
    asked = [Listener(person, Permissions.of_person(person)) for person in also if person.is_active]
    wanted = [*asked, *Audience([topic], targets, people=default_to).of([topic], targets)]
    receivers = [each for each in wanted if is_allowed(each, targets, may or partial(sees_any, [environment]))]
    deliver(people, receivers, topic, environment, subject, text, target)


def is_allowed(listener: Listener, targets: Sequence[Target], may: May) -> bool:
    """Return whether a person may receive a message, or a channel sees all that it is about."""
    return all(map(listener.sees, targets)) if listener.channel else may(listener)


def sees_any(environments: Sequence[Environment], listener: Listener) -> bool:
    return any(map(listener.sees_environment, environments))


def deliver(
    people: dict[int, User],
    receivers: Iterable[Listener],
    topic: Topic,
    environment: Environment | None,
    subject: str,
    text: str,
    target: models.Model | None,
) -> None:
    """Create a message for each of the people and receivers, once, and one for all channels."""
    found, channels = dict(people), list[Channel]()
    for each in receivers:
        channels += each.channels
        if each.person:
            found.setdefault(each.person.pk, each.person)
    for person in found.values():
        create(person, topic, environment, subject, text, target)
    if channels:
        create(None, topic, environment, subject, text, target, channels)


def notify_each(
    topic: Topic, environment: Environment, about: Sequence[Target], message: Callable[[Listener], Message | None]
) -> None:
    """Queue a separate message to each who chose the topic; None for those it is not for.

    `message` decides by the permissions of its receiver, because what somebody chose outlives a grant.
    """
    for listener in Audience([topic], about).of([topic], about):
        if found := message(listener):
            create(listener.person, topic, environment, found.subject, found.text, found.target, listener.channels)


def overseers() -> models.QuerySet[User]:
    """Return the active administrators and auditors."""
    backend = "django.contrib.auth.backends.ModelBackend"
    return User.objects.with_perm("runs.view_auditentry", backend=backend)


def notify_overseers(
    topic: Topic,
    environments: Sequence[Environment],
    subject: str,
    text: str,
    *,
    target: models.Model | None = None,
    about: Sequence[Target] = (),
    also: Iterable[User] = (),
    may: May | None = None,
    only_overseers: bool = False,
) -> None:
    """Queue a message of `OVERSIGHT` to all administrators and auditors, and to those who chose it and may see it.

    `also` are people who receive it in any case, as long as their account is active. `may` decides who else can receive
    it; by default those who can see one of the environments.
    """
    # No setting disables this: a person who loosens the rules must not be able to do so unseen.
    people = {person.pk: person for person in [*overseers(), *also] if person.is_active}
    targets = about or [Target.whole(environment) for environment in environments]
    wanted = [] if only_overseers else Audience([topic], targets).of([topic], targets)
    receivers = [each for each in wanted if is_allowed(each, targets, may or partial(sees_any, environments))]
    if target is None and len(environments) == 1:
        target = environments[0]
    place = environments[0] if len(environments) == 1 else None
    deliver(people, receivers, topic, place, subject, text, target)


def notify_person(
    topic: Topic,
    environment: Environment | None,
    person: User,
    subject: str,
    text: str,
    *,
    about: Sequence[Target],
    target: models.Model | None = None,
) -> None:
    """Queue a message to one person, if they chose the topic; no environment is about several."""
    audience = Audience([topic], about, people=[person.pk])
    if any(listener.key == person.pk for listener in audience.of([topic], about)):
        create(person, topic, environment, subject, text, target)
