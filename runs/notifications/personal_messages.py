"""The messages of a person in the portal: which an actor sees, how many are unread, and that they were read."""

from __future__ import annotations

from collections.abc import Collection

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Func, IntegerField, OuterRef, Q
from django.utils import timezone

from runs.access import visible_rows
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.change_feed import publish
from runs.listing import Filter, Listing
from runs.listings import IN_ENVIRONMENT
from runs.models import Notification, Verb
from runs.models.notification import Topic

# More are not counted: people with hundreds of unread messages need no number.
MOST_COUNTED = 100


def sees_notification(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for the actor's own messages.

    A program sees those about environments of which its scope covers everything, logs included: a message can name any
    run there, and quote its failure.
    """
    own = Q(person=by.user.pk)
    if by.scope is None:
        return own
    covered = [
        visible_rows.whole_environments(by.scope, verb, is_administering=False) for verb in (Verb.SEE, Verb.SEE_LOGS)
    ]
    return own & covered[0] & covered[1] & Q(environment__isnull=False)


NOTIFICATIONS = Listing(
    "notifications",
    Notification,
    sees_notification,
    ("-created_at", "-pk"),
    {
        "environment": IN_ENVIRONMENT,
        "topic": Filter("topic", Topic, "What it is about."),
        "unread": Filter("read_at__isnull", bool, "Whether it is unread."),
    },
    related=("environment",),
)


def count_unread(person: int) -> int:
    """Return how many messages a user has not read, up to `MOST_COUNTED`; one read of a partial index."""
    return Notification.objects.filter(person=person, read_at=None)[:MOST_COUNTED].count()


def unread_count() -> Func:
    """Return the same number as a column of users, for who reads the user anyway."""
    rows = Notification.objects.filter(person=OuterRef("pk"), read_at=None).order_by()
    # An array, because a count of limited rows would have to reach for the user through two queries.
    keys = ArraySubquery(rows.values("pk")[:MOST_COUNTED])
    return Func(keys, function="CARDINALITY", output_field=IntegerField())


def mark_read(by: Actor, pks: Collection[int] | None = None) -> int:
    """Mark the actor's own messages as read, all of them without `pks`; return how many were unread.

    It has no entry in the audit trail: it decides nothing, and nobody else sees it.
    """
    rows = NOTIFICATIONS.rows(by).filter(read_at=None)
    if pks is not None:
        rows = rows.filter(pk__in=pks)
    # By key: an UPDATE takes no joins.
    number = Notification.objects.filter(pk__in=rows.values("pk"), read_at=None).update(read_at=timezone.now())
    if number:
        publish("inbox", [by.user.pk])
    return number
