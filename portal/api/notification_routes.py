"""Routes of notifications: the caller's own messages, and that they were read."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router, Schema
from pydantic import model_validator

from portal.api import paging
from portal.api.bodies import body
from portal.api.catalog_routes import actor_of
from portal.api.idempotency import idempotent
from portal.api.problems import PROBLEMS
from runs import notifications
from runs.models import Notification
from runs.models.notification import Topic

router = Router(tags=["Notifications"])
NotificationFilters = paging.filters_of(notifications.NOTIFICATIONS)
# Of one request.
MOST_MARKED = 500


class NotificationRow(paging.Row):
    id: int
    topic: Topic
    environment: str | None = Field(description="Its name; null if it is about several, or about none.")
    subject: str
    text: str
    created_at: datetime
    read_at: datetime | None
    url: str = Field(description="Its page, which asks to sign in again for a decision; empty without one.")

    @classmethod
    def of(cls, row: Notification) -> NotificationRow:
        return cls(
            id=row.pk,
            topic=Topic(row.topic),
            environment=row.environment.slug if row.environment else None,
            subject=row.subject,
            text=row.text,
            created_at=row.created_at,
            read_at=row.read_at,
            url=notifications.link_of(row),
        )


class MarkRead(Schema):
    model_config = body(ids=[17, 18])

    ids: list[int] = Field([], max_length=MOST_MARKED, description="Those of others are ignored.")
    all: bool = Field(False, description="All of them, instead of `ids`.")

    @model_validator(mode="after")
    def require_one(self) -> MarkRead:
        if bool(self.ids) == self.all:
            raise ValueError("Name ids, or set all.")
        return self


class Marked(Schema):
    marked: int = Field(description="How many of them were unread.")


@router.get(
    "/notifications", response={200: paging.page_of(NotificationRow), **PROBLEMS}, summary="List your notifications"
)
def list_notifications(request: HttpRequest, query: Query[NotificationFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List your own notifications, the newest first.

    A token lists those about environments of which its scope covers everything, logs included.
    """
    return paging.answer(request, notifications.NOTIFICATIONS, query, NotificationRow, NotificationRow.of)


@router.post("/notifications/read", response={200: Marked, **PROBLEMS}, summary="Mark your notifications as read")
@idempotent
def mark_read(request: HttpRequest, payload: MarkRead) -> Marked:
    """Mark your own notifications as read, those that the token lists."""
    return Marked(marked=notifications.mark_read(actor_of(request), None if payload.all else payload.ids))
