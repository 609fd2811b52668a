"""Who receives which message: the only code that creates and deletes `Notification`, and writes `Subscription`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.contrib.auth.models import User
from django.db import models
from django.db.models import Exists, OuterRef

from flows.db_text import sanitize
from flows.models import Environment
from runs import audit
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.change_feed import publish
from runs.errors import Refused
from runs.models import Channel, Delivery, Notification, Subscription
from runs.models.notification import DEFAULTS, Topic
from runs.notifications import deliveries

LONGEST_SUBJECT = 300
# Rows of one transaction.
FORGOTTEN_AT_ONCE = 500


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
    if person:
        publish("inbox", [person.pk])
    deliveries.add(notice, [*([None] if person else []), *channels])
    return notice


def chosen_by(person: User) -> set[tuple[str, int | None]]:
    """Return what a person hears of: pairs of topic and environment key, None for all environments."""
    rows = person.subscriptions.values_list("topic", "environment", "is_off")
    off = {topic for topic, _, is_off in rows if is_off}
    on = {(topic.value, None) for topic in DEFAULTS if topic not in off}
    return on | {(topic, place) for topic, place, is_off in rows if not is_off}


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
        # Without a row a default is on: one that is not chosen is a row that says so.
        on = {(topic.value, None) for topic in DEFAULTS}
        rows = {pair: pair in on for pair in chosen ^ on}
        # Subscriptions to environments they cannot see now were not in the form, and are kept for when they can.
        kept = {
            (row.topic, row.environment_id): row for row in person.subscriptions.all() if row.environment_id in visible
        }
        # Only the differences, so that unchanged subscriptions keep their rows.
        for pair in kept.keys() - rows.keys():
            kept[pair].delete()
        for topic, environment in rows.keys() - kept.keys():
            is_off = rows[topic, environment]
            Subscription.objects.create(person=person, topic=topic, environment_id=environment, is_off=is_off)
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
