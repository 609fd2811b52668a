"""Who receives which message: the only code that creates and deletes `Notification`, and writes `Subscription`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import connection, models
from django.db.models import Exists, OuterRef
from django.utils import timezone

from flows.db_text import sanitize
from flows.models import Environment
from runs import audit
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.change_feed import publish
from runs.errors import Refused
from runs.models import Channel, Delivery, Notification, Subscription
from runs.models.notification import DEFAULTS, SINGLE, Topic
from runs.notifications import deliveries
from runs.notifications.email_choices import email_due_at, settings_of
from runs.notifications.mail_addresses import is_usable

LONGEST_SUBJECT = 300
# Of a message that stands for several.
LONGEST_TEXT = 4_000
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
    """Store one message and queue its deliveries: an email to the person if they have an address, and each channel.

    Without a person it goes to the channels only. A rollback removes all of it.
    """
    return create_many([Draft(person, topic, environment, subject, text, target, tuple(channels))])[0]


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is not stored yet; see `create`."""

    person: User | None
    topic: Topic
    environment: Environment | None
    subject: str
    text: str
    target: models.Model | None = None
    channels: tuple[Channel, ...] = ()

    def notice(self, now: datetime) -> Notification:
        return Notification(
            person=self.person,
            topic=self.topic,
            environment=self.environment,
            subject=one_line(self.subject),
            text=sanitize(self.text),
            target_kind=(self.target._meta.model_name or "") if self.target else "",
            target_id=str(self.target.pk) if self.target else "",
            created_at=now,
        )


def create_many(drafts: Sequence[Draft]) -> list[Notification]:
    """Store messages and queue their deliveries, with the same queries for any number; a rollback removes all of it.

    A message of the same subject as one that its person received a few minutes before is counted there instead.
    """
    now = timezone.now()
    earlier = recent(drafts, now)
    new: list[tuple[Draft, Notification]] = []
    repeated: dict[int, Notification] = {}
    found = []
    for draft in drafts:
        notice = draft.notice(now)
        known = earlier.get(place_of(notice))
        if known and draft.person and draft.topic not in SINGLE and is_within(draft.person, known.created_at, now):
            # A link to the newest run, and its text first.
            known.number, known.target_id = known.number + 1, notice.target_id
            if notice.text not in known.text:
                known.text = f"{notice.text}\n{known.text}"[:LONGEST_TEXT]
            if known.pk:
                repeated[known.pk] = known
            found.append(known)
            continue
        earlier[place_of(notice)] = notice
        new.append((draft, notice))
        found.append(notice)
    Notification.objects.bulk_create(notice for _, notice in new)
    store_repeated(list(repeated.values()))
    deliveries.add(
        (notice, channel, None if channel else email_at(draft, now))
        for draft, notice in new
        for channel in (*((None,) if has_address(draft) else ()), *draft.channels)
    )
    if people := {draft.person.pk for draft in drafts if draft.person}:
        publish("inbox", people)
    return found


def store_repeated(notices: Sequence[Notification]) -> None:
    """Write messages that stand for one more, in one statement; they are unread again."""
    if not notices:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_notification AS notice SET number = found.number, text = found.text, "
            "target_id = found.target_id, read_at = NULL "
            "FROM unnest(%s::bigint[], %s::int[], %s::text[], %s::text[]) AS found (pk, number, text, target_id) "
            "WHERE notice.id = found.pk",
            [[getattr(each, name) for each in notices] for name in ("pk", "number", "text", "target_id")],
        )


def one_line(subject: str) -> str:
    # Names come from users: a line break in the subject would start another header.
    return " ".join(sanitize(subject).split())[:LONGEST_SUBJECT]


def place_of(notice: Notification) -> tuple[object, ...]:
    """Return what messages have in common that are one: of runs, those of one deployment are."""
    target = "" if notice.target_kind == "run" else notice.target_id
    return notice.person_id, notice.topic, notice.subject, notice.target_kind, target


def recent(drafts: Sequence[Draft], now: datetime) -> dict[tuple[object, ...], Notification]:
    """Return the messages of the same people and topics to which one of these can be added, in one query."""
    people = {draft.person.pk: draft.person for draft in drafts if draft.person and draft.topic not in SINGLE}
    longest = max((settings_of(person).merge_minutes for person in people.values()), default=0)
    if not longest:
        return {}
    rows = Notification.objects.filter(
        person__in=people,
        topic__in={draft.topic for draft in drafts},
        subject__in={one_line(draft.subject) for draft in drafts},
        created_at__gt=now - timedelta(minutes=longest),
    )
    return {place_of(row): row for row in rows.order_by("pk")}


def is_within(person: User, since: datetime, now: datetime) -> bool:
    return since > now - timedelta(minutes=settings_of(person).merge_minutes)


def has_address(draft: Draft) -> bool:
    """Return whether an email can be sent; else the message is in the portal alone, which is no failed delivery."""
    return draft.person is not None and is_usable(draft.person.email)


def email_at(draft: Draft, now: datetime) -> datetime | None:
    return email_due_at(settings_of(draft.person), draft.topic, now) if draft.person else None


def chosen_by(person: User) -> set[tuple[str, int | None]]:
    """Return what a person chose: pairs of topic and environment key, None for all environments."""
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
