"""The lists of channels and of deliveries, as the API reads them: for administrators, auditors and their programs.

Neither has an address or a secret. Managing channels is an act of administrators, on the pages alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from django.db.models import Q

from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.governance.rule_changes import reads_trail
from runs.listing import Filter, Listing
from runs.models import Channel, Delivery, Notification
from runs.models.notification import Topic
from runs.notifications.personal_messages import sees_notification

# Not the enumerations: the description of the API has one component for each name.
ChannelKind = Literal["webhook", "slack", "teams", "service"]
DeliveryState = Literal["wanted", "sent", "failed"]


def sees_channel(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for all channels, to those who read the audit trail, which has each change of them."""
    return Q() if reads_trail(by) else Q(pk__in=[])


def sees_delivery(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for the actor's own emails, and what was sent to channels to those who see channels."""
    own = Q(channel=None, notification__in=Notification.objects.filter(sees_notification(by, permissions)).values("pk"))
    return own | Q(channel__isnull=False) if reads_trail(by) else own


CHANNELS = Listing(
    "channels",
    Channel,
    sees_channel,
    ("name", "pk"),
    {
        "kind": Filter("kind", ChannelKind, "What it is."),
        "enabled": Filter("is_enabled", bool, "Whether messages are sent to it."),
    },
)
DELIVERIES = Listing(
    "deliveries",
    Delivery,
    sees_delivery,
    ("-pk",),
    {
        "channel": Filter("channel__name", str, "Name of the channel."),
        "email": Filter("channel__isnull", bool, "true: your own emails; false: what was sent to channels."),
        "state": Filter("state", DeliveryState, "Its state."),
        "topic": Filter("notification__topic", Topic, "What the message is about."),
        "environment": Filter("notification__environment__slug", str, "Name of the environment."),
        "since": Filter("queued_at__gte", datetime, "Queued not before this time."),
        "until": Filter("queued_at__lt", datetime, "Queued before this time."),
    },
    related=("channel", "notification__environment"),
)
