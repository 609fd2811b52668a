"""The lines of the page: messages with the state of their email, and emails that could not be sent."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Prefetch, QuerySet

from portal.ui import channel_labels
from portal.ui.audit_links import address
from portal.ui.rule_labels import Badge
from runs import notifications
from runs.models import Delivery, Notification

# Of each kind at a time.
FEW = 30
# Unread messages that are listed; the oldest of more come up as others are read.
MOST_UNREAD = 100


@dataclass(frozen=True, slots=True)
class Line:
    """A message, the state of its email if it has one, and the path of what it is about."""

    notice: Notification
    delivery: Delivery | None
    badge: Badge | None
    path: str


def messages_of(person: User) -> QuerySet[Notification]:
    emails = Prefetch("deliveries", Delivery.objects.filter(channel=None))
    return person.notices.order_by(*notifications.NOTIFICATIONS.order).prefetch_related(emails)


def unread_lines(person: User) -> list[Line]:
    return lines(messages_of(person).filter(read_at=None)[:MOST_UNREAD])


def read_lines(person: User, before: str) -> tuple[list[Line], int | None]:
    """Return the newest messages that were read, before one of them, and the last one's key if there are more."""
    rows = messages_of(person).filter(read_at__isnull=False)
    if before.isdecimal() and len(before) <= 18 and (last := person.notices.filter(pk=before).first()):
        listing = notifications.NOTIFICATIONS
        rows = rows.filter(listing.beyond(listing.position(last)))
    found = lines(rows[: FEW + 1])
    return found[:FEW], found[FEW - 1].notice.pk if len(found) > FEW else None


def lines(rows: QuerySet[Notification]) -> list[Line]:
    return [line(notice, next(iter(notice.deliveries.all()), None)) for notice in rows]


def failed_emails() -> list[Line]:
    """Return what could not be sent to any user. Administrators see subject and error; the page leaves out the text."""
    rows = Delivery.objects.filter(state=Delivery.State.FAILED, channel=None).select_related("notification__person")
    return [line(delivery.notification, delivery) for delivery in rows.order_by("-pk")[:FEW]]


def line(notice: Notification, delivery: Delivery | None) -> Line:
    path = address(notice.target_kind, notice.target_id) if notice.target_kind else ""
    badge = channel_labels.delivery_badge(delivery) if delivery else None
    return Line(notice, delivery, badge, path)
