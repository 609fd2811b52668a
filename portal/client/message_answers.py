"""What the portal answers about notifications."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Notification:
    """A message of the portal to you. `environment` is None if it is about several, or about none."""

    id: int
    topic: str
    environment: str | None
    subject: str
    text: str
    created_at: datetime
    read_at: datetime | None
    url: str


@dataclass(frozen=True, slots=True)
class Marked:
    """How many of the notifications that were marked as read were unread."""

    marked: int
