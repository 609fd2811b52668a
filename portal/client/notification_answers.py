"""What the portal answers about notification rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class NotificationRule:
    """Topics of which a person or the people of a group hear, where its selector matches."""

    id: int
    name: str
    person: str | None
    group: str | None
    channel: str | None
    topics: list[str]
    environment: str | None
    deployment: str
    flow: str
    tag: str
    after_minutes: int
    created_at: datetime
    created_by: str
    removed_at: datetime | None
    url: str
