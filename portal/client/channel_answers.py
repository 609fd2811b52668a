"""What the portal answers about channels and deliveries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Channel:
    """An address outside the portal that receives notifications; `destination` is its host, or the service."""

    id: int
    name: str
    kind: str
    destination: str
    allows_private: bool
    is_enabled: bool
    disabled_why: str
    failures: int
    next_attempt_at: datetime | None
    created_at: datetime
    created_by: str
    url: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message on its way to one address. `channel` is None for an email to you."""

    id: int
    channel: str | None
    topic: str
    environment: str | None
    subject: str
    state: str
    attempts: int
    queued_at: datetime
    next_attempt_at: datetime | None
    sent_at: datetime | None
    status: int | None
    answer: str
    message: str
    message_id: str
    url: str
