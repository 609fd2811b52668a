"""Email notifications: subscriptions, recipients and delivery."""

from runs.notifications.services import (
    LEASE,
    MOST_ATTEMPTS,
    forget,
    overseers,
    send,
    subscribe,
)

__all__ = [
    "LEASE",
    "MOST_ATTEMPTS",
    "forget",
    "overseers",
    "send",
    "subscribe",
]
