"""Email notifications: subscriptions, recipients and delivery."""

from runs.notifications.services import (
    LEASE,
    MOST_ATTEMPTS,
    Message,
    notify,
    notify_each,
    notify_overseers,
    notify_person,
    overseers,
    send,
    subscribe,
)

__all__ = [
    "LEASE",
    "MOST_ATTEMPTS",
    "Message",
    "notify",
    "notify_each",
    "notify_overseers",
    "notify_person",
    "overseers",
    "send",
    "subscribe",
]
