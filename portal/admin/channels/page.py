"""Context of the pages of a channel and of a delivery."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from portal.auth.request_user import actor_of
from portal.ui import channel_labels, tables
from portal.ui.audit_links import address
from runs.models import Channel, Delivery
from runs.notifications import channel_messages, channels

DELIVERIES = 50


def context(request: HttpRequest, channel: Channel) -> dict[str, Any]:
    may_change = actor_of(request).is_administrator
    return {
        "channel": channel,
        "badge": channel_labels.state_badge(channel),
        "deliveries": tables.DeliveryTable(channels.deliveries_of(channel)[:DELIVERIES]),
        "may_change": may_change,
        "is_signed": channel.kind == Channel.Kind.WEBHOOK,
    }


def delivery_context(request: HttpRequest, channel: Channel, delivery: Delivery) -> dict[str, Any]:
    notice, by = delivery.notification, actor_of(request)
    return {
        "channel": channel,
        "delivery": delivery,
        "notice": notice,
        "badge": channel_labels.delivery_badge(delivery),
        "path": address(notice.target_kind, notice.target_id) if notice.target_kind else "",
        "message_id": channel_messages.message_id(delivery) if channel.kind == Channel.Kind.WEBHOOK else "",
        "may_replay": by.is_administrator and channel.is_enabled and delivery.state != Delivery.State.WANTED,
    }
