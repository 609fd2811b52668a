"""Who receives which message: the only code that creates and deletes `Notification`, and writes `Subscription`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db import models
from django.db.models import Exists, OuterRef, Q

from flows.db_text import sanitize
from flows.models import Environment
from runs import audit
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.errors import Refused
from runs.models import Channel, Delivery, Notification, Subscription
from runs.models.notification import Topic
from runs.notifications import deliveries

LONGEST_SUBJECT = 300
# Rows of one transaction.
FORGOTTEN_AT_ONCE = 500


def notify(
    topic: Topic,
    environment: Environment,
    subject: str,
    text: str,
    *,
    target: models.Model | None = None,
    may: Callable[[User], bool] | None = None,
    also: Iterable[User] = (),
) -> None:
    """Queue a message to all subscribers of the topic, within the current transaction.

    `may` decides who can receive it; by default those who can see the environment. Permissions are checked for each
    message, because a subscription outlives a grant. `also` are people who receive it without a subscription.
    """
    people = {person.pk: person for person in [*subscribers(topic, environment), *also] if person.is_active}
    for person in people.values():
        if may(person) if may else Permissions.of_person(person).environments().filter(pk=environment.pk).exists():
            create(person, topic, environment, subject, text, target)


@dataclass(frozen=True, slots=True)
class Message:
    """The message for one person, and the row that it is about."""

    subject: str
    text: str
    target: models.Model | None = None


def notify_each(topic: Topic, environment: Environment, message: Callable[[User], Message | None]) -> None:
    """Queue a separate message to each subscriber of the topic; None for those it does not concern.

    `message` decides by the person's permissions, because a subscription outlives a grant.
    """
    for person in subscribers(topic, environment):
        if found := message(person):
            create(person, topic, environment, found.subject, found.text, found.target)


def subscribers(topic: Topic, environment: Environment) -> models.QuerySet[User]:
    return User.objects.filter(
        Q(subscriptions__environment=environment) | Q(subscriptions__environment=None),
        subscriptions__topic=topic,
        is_active=True,
    ).distinct()


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
    also: Iterable[User] = (),
    may: Callable[[User], bool] | None = None,
) -> None:
    """Queue a message to all administrators and auditors, and to subscribers who can see one of the environments.

    `also` are people who receive it without a subscription, as long as their account is active. `may` decides which
    subscribers can receive it, where seeing an environment is not enough.
    """
    # No setting disables this: a person who loosens the rules must not be able to do so unseen.
    people = {person.pk: person for person in [*overseers(), *also] if person.is_active}
    wanted = Q(subscriptions__environment__in=environments) | Q(subscriptions__environment=None)
    for person in User.objects.filter(wanted, subscriptions__topic=topic, is_active=True).distinct():
        places = Permissions.of_person(person).environments().filter(pk__in=[each.pk for each in environments])
        if may(person) if may else places.exists():
            people.setdefault(person.pk, person)
    if target is None and len(environments) == 1:
        target = environments[0]
    about = environments[0] if len(environments) == 1 else None
    for person in people.values():
        create(person, topic, about, subject, text, target)


def notify_concerned(
    topic: Topic,
    environment: Environment,
    subject: str,
    text: str,
    *,
    people: Iterable[User],
    may: Callable[[User], bool],
    target: models.Model | None = None,
) -> None:
    """Queue a message to these people, as long as their accounts are active, and to subscribers who may receive it."""
    concerned = {person.pk: person for person in people if person.is_active}
    for person in subscribers(topic, environment):
        if may(person):
            concerned.setdefault(person.pk, person)
    for person in concerned.values():
        create(person, topic, environment, subject, text, target)


def notify_person(
    topic: Topic,
    environment: Environment | None,
    person: User,
    subject: str,
    text: str,
    *,
    target: models.Model | None = None,
) -> None:
    """Queue a message to one person, if they subscribed; None is about several environments."""
    wanted = Q(environment=environment) | Q(environment=None)
    if person.is_active and person.subscriptions.filter(wanted, topic=topic).exists():
        create(person, topic, environment, subject, text, target)


def create(
    person: User | None,
    topic: Topic,
    environment: Environment | None,
    subject: str,
    text: str,
    target: models.Model | None,
    channels: Iterable[Channel] = (),
) -> Notification:
    """Store one message and queue its deliveries: an email to the person, and one for each channel.

    Without a person it goes to the channels only. A rollback removes all of it.
    """
    # Names come from users: a line break in the subject would start another header.
    one_line = " ".join(sanitize(subject).split())[:LONGEST_SUBJECT]
    notice = Notification(person=person, topic=topic, environment=environment, subject=one_line, text=sanitize(text))
    if target:
        notice.target_kind, notice.target_id = target._meta.model_name or "", str(target.pk)
    notice.save()
    deliveries.add(notice, [*([None] if person else []), *channels])
    return notice


def subscribe(person: User, wanted: Iterable[tuple[str, int | None]], *, by: Actor) -> None:
    """Replace a person's subscriptions: pairs of topic and environment key, None for all environments."""
    with audit.act("person.subscribe", person, by=by, subject_kind="person") as act:
        if not by.is_same_person_as(person.pk):
            raise Refused("notifications.not_own", "You can change only your own notification settings.")
        chosen = set(wanted)
        visible = set(Permissions.of_person(person).environments().values_list("pk", flat=True)) | {None}
        if {environment for _, environment in chosen} - visible:
            raise Refused("environment.unknown", "Unknown environment.")
        if unknown := {topic for topic, _ in chosen} - set(Topic.values):
            raise Refused("notifications.topic", f"Unknown notification topics: {', '.join(sorted(unknown))}.")
        # Subscriptions to environments they cannot see now were not in the form, and are kept for when they can.
        kept = {
            (row.topic, row.environment_id): row for row in person.subscriptions.all() if row.environment_id in visible
        }
        # Only the differences, so that unchanged subscriptions keep their rows.
        for pair in kept.keys() - chosen:
            kept[pair].delete()
        for topic, environment in chosen - kept.keys():
            Subscription.objects.create(person=person, topic=topic, environment_id=environment)
        act.after = {"topics": sorted({topic for topic, _ in chosen})}


def forget(environment: Environment | None, before: datetime) -> bool:
    """Delete the first old messages of which no delivery is open; return whether there were any.

    Without an environment: those that are about several.
    """
    old = Notification.objects.filter(environment=environment, created_at__lt=before)
    is_open = Exists(Delivery.objects.filter(notification=OuterRef("pk"), state=Delivery.State.WANTED))
    done = old.filter(~is_open)
    pks = list(done.order_by("pk").values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE])
    return bool(Notification.objects.filter(pk__in=pks).delete()[0])
