"""Email notifications: subscriptions, recipients and delivery."""

from runs.notifications.services import (
    LEASE,
    MOST_ATTEMPTS,
    overseers,
    send,
    subscribe,
)

__all__ = [
    "LEASE",
    "MOST_ATTEMPTS",
    "overseers",
    "send",
    "subscribe",
]
