"""Routes of channels and deliveries, to read. A token never administers: channels are managed on the pages."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Field, Query, Router

from portal.api import paging
from portal.api.catalog_routes import actor_of, one
from portal.api.catalog_schemas import link
from portal.api.problems import PROBLEMS
from runs.models import Channel, Delivery
from runs.models.notification import Topic
from runs.notifications import channel_messages, delivery_listings
from runs.notifications.delivery_listings import ChannelKind, DeliveryState
from runs.notifications.mail import message_id

router = Router(tags=["Channels"])
ChannelFilters = paging.filters_of(delivery_listings.CHANNELS)
DeliveryFilters = paging.filters_of(delivery_listings.DELIVERIES)


class ChannelRow(paging.Row):
    id: int
    name: str
    kind: ChannelKind
    destination: str = Field(description="Its host, or the name of the service; the address is a secret.")
    allows_private: bool = Field(description="Whether it may reach private networks.")
    is_enabled: bool
    disabled_why: str
    failures: int = Field(description="Attempts that reached nobody since the last one that did.")
    next_attempt_at: datetime | None = Field(description="Until when it is left alone after those.")
    created_at: datetime
    created_by: str
    url: str

    @classmethod
    def of(cls, row: Channel) -> ChannelRow:
        return cls(
            id=row.pk,
            name=row.name,
            kind=cast("ChannelKind", row.kind),
            destination=row.destination,
            allows_private=row.allows_private,
            is_enabled=row.is_enabled,
            disabled_why=row.disabled_why,
            failures=row.failures,
            next_attempt_at=row.next_attempt_at,
            created_at=row.created_at,
            created_by=row.created_by_name,
            url=link("runs_channel_change", row.pk),
        )


class NotificationDeliveryRow(paging.Row):
    id: int
    channel: str | None = Field(description="Name of the channel; null for an email to you.")
    topic: Topic
    environment: str | None = Field(description="Its name; null if the message is about several, or about none.")
    subject: str
    state: DeliveryState = Field(description="wanted is queued, also for a further attempt.")
    attempts: int
    queued_at: datetime
    next_attempt_at: datetime | None = Field(description="Not tried before; null is at once, or not any more.")
    sent_at: datetime | None
    status: int | None = Field(description="Status of HTTP, or code of SMTP, of the last answer; null without one.")
    answer: str = Field(description="The beginning of what the other side answered, never with a part of the address.")
    message: str = Field(description="Why it was not sent, or is tried again.")
    message_id: str = Field(
        description="The same in each attempt: webhook-id, or Message-ID of an email; empty for chats and services."
    )
    url: str = Field(description="Its page; empty for an email.")

    @classmethod
    def of(cls, row: Delivery) -> NotificationDeliveryRow:
        notice, channel = row.notification, row.channel
        return cls(
            id=row.pk,
            channel=channel.name if channel else None,
            topic=Topic(notice.topic),
            environment=notice.environment.slug if notice.environment else None,
            subject=notice.subject,
            state=cast("DeliveryState", row.state),
            attempts=row.attempts,
            queued_at=row.queued_at,
            next_attempt_at=row.next_attempt_at,
            sent_at=row.sent_at,
            status=row.status,
            answer=row.answer,
            message=row.message,
            message_id=id_of(row),
            url=page_of(row),
        )


def id_of(row: Delivery) -> str:
    if row.channel is None:
        return message_id(row.email or row.key)
    return channel_messages.message_id(row) if row.channel.kind == Channel.Kind.WEBHOOK else ""


def page_of(row: Delivery) -> str:
    path = reverse("admin:runs_channel_delivery", args=[row.channel_id, row.pk]) if row.channel_id else ""
    return f"{settings.PUBLIC_URL.rstrip('/')}{path}" if path else ""


@router.get("/channels", response={200: paging.page_of(ChannelRow), **PROBLEMS}, summary="List channels")
def list_channels(request: HttpRequest, query: Query[ChannelFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List the addresses outside the portal that receive notifications, by name.

    For tokens that read the whole audit trail; for others the list is empty.
    """
    return paging.answer(request, delivery_listings.CHANNELS, query, ChannelRow, ChannelRow.of)


@router.get("/channels/{number}", response={200: ChannelRow, **PROBLEMS}, summary="Read a channel")
def read_channel(request: HttpRequest, number: int) -> ChannelRow:
    rows = delivery_listings.CHANNELS.rows(actor_of(request))
    return ChannelRow.of(one(rows, "channel", pk=number))


@router.get(
    "/deliveries", response={200: paging.page_of(NotificationDeliveryRow), **PROBLEMS}, summary="List deliveries"
)
def list_deliveries(request: HttpRequest, query: Query[DeliveryFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List what was sent, or is to be sent, the newest first: emails with the notifications that the token lists.

    Tokens that read the whole audit trail also list what was sent to channels.
    """
    return paging.answer(
        request, delivery_listings.DELIVERIES, query, NotificationDeliveryRow, NotificationDeliveryRow.of
    )
