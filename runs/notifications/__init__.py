"""Email notifications: subscriptions, recipients and delivery."""

from runs.notifications.reset_links import (
    MADE_ADMINISTRATOR,
    REQUESTED,
    NotSent,
    describe_validity,
    reset_link,
    send_reset_link,
)
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
    "MADE_ADMINISTRATOR",
    "MOST_ATTEMPTS",
    "REQUESTED",
    "NotSent",
    "describe_validity",
    "forget",
    "overseers",
    "reset_link",
    "send",
    "send_reset_link",
    "subscribe",
]
