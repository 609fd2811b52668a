"""Channels: addresses outside the portal that receive messages; and the deliveries of messages."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models.functions import Now

from runs.models.notification import Notification


class Channel(models.Model):
    """An address that receives messages, such as a room of a chat. `runs.notifications.channels` is the only writer.

    `runs.notifications.deliveries` writes what became of the last attempts: `failures` and `next_attempt_at`.
    """

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", "Webhook"
        SLACK = "slack", "Slack"
        TEAMS = "teams", "Microsoft Teams"
        SERVICE = "service", "Other service"

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=10, choices=Kind)
    # The whole address is a secret: the token of a chat is part of it.
    sealed_address = models.BinaryField(editable=False)
    # With which messages to a webhook are signed; other kinds have none.
    sealed_secret = models.BinaryField(default=b"", editable=False)
    # Where messages go, without what is secret: the host name, or the name of the service.
    destination = models.CharField(max_length=260, editable=False)
    allows_private = models.BooleanField("private networks", default=False)
    is_enabled = models.BooleanField("enabled", default=True)
    disabled_why = models.CharField("why disabled", max_length=300, blank=True, editable=False)
    # Attempts that failed since the last success, and the time before which there is no other.
    failures = models.PositiveIntegerField(default=0, editable=False)
    next_attempt_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField("created", db_default=Now(), editable=False)
    created_by_name = models.CharField(max_length=200, editable=False)

    class Meta:
        ordering = ["name"]
        default_permissions = ["view"]

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """One message on its way to one address. `runs.notifications.deliveries` is the only code that writes it."""

    class State(models.TextChoices):
        WANTED = "wanted", "Queued"
        SENT = "sent", "Sent"
        FAILED = "failed", "Could not be sent"

    notification = models.ForeignKey(Notification, models.CASCADE, related_name="deliveries")
    # Empty: an email to the person of the notification.
    channel = models.ForeignKey(Channel, models.PROTECT, null=True, related_name="deliveries")
    # The same in every attempt, so that the other side recognises a repetition.
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    queued_at = models.DateTimeField("queued", db_default=Now())
    state = models.CharField(max_length=10, choices=State, default=State.WANTED)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField("sent", null=True)
    # The id of the email that it is in: the key of the first message of it. Set when it is sent the first time.
    email = models.UUIDField(null=True, editable=False)
    # What the other side answered last: a status of HTTP, or a reply code of SMTP; its text is cleaned and cut.
    status = models.PositiveSmallIntegerField(null=True)
    answer = models.TextField(blank=True)
    # Why it was not sent, or is tried again.
    message = models.TextField(blank=True)

    class Meta:
        ordering = ["-pk"]
        verbose_name_plural = "deliveries"
        default_permissions = ()
        constraints = [
            # Nulls count as equal: one email for each message.
            models.UniqueConstraint(
                fields=["notification", "channel"], name="unique_delivery_per_address", nulls_distinct=False
            )
        ]
        indexes = [
            # For requeue_due, which looks for due rows every few seconds.
            models.Index(fields=["channel", "id"], condition=models.Q(state="wanted"), name="open_deliveries"),
            models.Index(fields=["-id"], condition=models.Q(state="failed"), name="failed_deliveries"),
            models.Index(fields=["channel", "-id"], name="deliveries_of_channel"),
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk} of notification {self.notification_id}"
