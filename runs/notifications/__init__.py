"""Notifications: subscriptions, recipients and deliveries."""

from runs.notifications.deliveries import EMAIL, LEASE, MOST_ATTEMPTS, due_lanes, send_due
from runs.notifications.escalation import escalate
from runs.notifications.recipients import overseers
from runs.notifications.reset_links import (
    MADE_ADMINISTRATOR,
    REQUESTED,
    NotSent,
    describe_validity,
    reset_link,
    send_reset_link,
)
from runs.notifications.services import chosen_by, create, forget, subscribe

__all__ = [
    "EMAIL",
    "LEASE",
    "MADE_ADMINISTRATOR",
    "MOST_ATTEMPTS",
    "REQUESTED",
    "NotSent",
    "chosen_by",
    "create",
    "describe_validity",
    "due_lanes",
    "escalate",
    "forget",
    "overseers",
    "reset_link",
    "send_due",
    "send_reset_link",
    "subscribe",
]
