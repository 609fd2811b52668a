"""Notifications: subscriptions, recipients and deliveries."""

from runs.notifications.deliveries import EMAIL, LEASE, MOST_ATTEMPTS, due_lanes
from runs.notifications.escalation import escalate
from runs.notifications.links import link_of
from runs.notifications.mail_addresses import approvers_without_address, mute_approvers
from runs.notifications.personal_messages import MOST_COUNTED, NOTIFICATIONS, count_unread, mark_read, unread_count
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
    "MOST_COUNTED",
    "NOTIFICATIONS",
    "REQUESTED",
    "NotSent",
    "approvers_without_address",
    "chosen_by",
    "count_unread",
    "create",
    "describe_validity",
    "due_lanes",
    "escalate",
    "forget",
    "link_of",
    "mark_read",
    "mute_approvers",
    "overseers",
    "reset_link",
    "send_reset_link",
    "subscribe",
    "unread_count",
]
