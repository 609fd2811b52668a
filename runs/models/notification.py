"""Email notifications and subscriptions."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from flows.models import Environment
from flows.models.stored_row import StoredRow


class Topic(models.TextChoices):
    """What a notification can be about."""

    WAITING = "waiting", "A request needs my approval"
    ANSWERED = "answered", "My request was approved or rejected"
    OWN_ENDED = "own ended", "A run that I requested ended"
    OWN_FAILED = "own failed", "A run that I requested failed or crashed"
    FAILED = "failed", "A run failed or crashed"
    RECOVERED = "recovered", "A deployment completed again after a failure"
    CANCELLED = "cancelled", "A run was cancelled"
    FAILURE = "failure", "A failure is new, was resolved, or came back after that"
    LEVEL = "level", "A service level is breached, or holds again"
    LATE = "late", "A run is late"
    OVERRUN = "overrun", "A run takes longer than a service level allows"
    STALLED = "stalled", "A run stalled, or was deleted in Prefect"
    # Requester and approvers receive it without a subscription.
    STOPPED = "stopped", "A backfill or chain stopped at a failure"
    # Administrators, auditors and the approvers receive it without a subscription.
    DEFINITION = "definition", "A deployment changed after approval"
    BREAK_GLASS = "break glass", "Emergency override used"
    FREEZE = "freeze", "Freeze started or ended"
    SERVER = "server", "Prefect of an environment is unreachable, or back"
    DRIFT = "drift", "High drift of a model"
    # Its owner and its approvers receive it without a subscription.
    SCHEDULE = (
        "schedule",
        "A schedule was paused or missed starts; it, a hook, rule or chain ends soon or lacks permission",
    )
    SCHEDULE_DRIFT = "schedule drift", "A schedule was changed in Prefect, or is as approved again"
    # Administrators and auditors receive it without a subscription.
    RULES = "rules", "Rules of a protected environment loosened"
    BYPASS = "bypass", "Runs can start without the portal"
    # Only administrators and auditors receive it.
    CHANNEL = "channel", "A channel was added, changed or disabled"


# What people are notified of without any setting, as far as it is about them. Each can turn them off.
DEFAULTS = frozenset({Topic.WAITING, Topic.ANSWERED, Topic.OWN_FAILED, Topic.SCHEDULE_DRIFT})
# What administrators and auditors always receive: who loosens the rules must not be able to do so unseen.
OVERSIGHT = frozenset({Topic.RULES, Topic.BREAK_GLASS, Topic.DEFINITION, Topic.BYPASS, Topic.CHANNEL})
# What is sent by email at once if the person wants that, whatever they chose for the rest.
URGENT = frozenset({Topic.WAITING, Topic.BREAK_GLASS})
# What is a message of its own each time.
SINGLE = URGENT | OVERSIGHT
# What is about the person who receives it, and so cannot be a topic of a group.
PERSONAL = frozenset({Topic.ANSWERED, Topic.OWN_ENDED, Topic.OWN_FAILED})


class Subscription(models.Model):
    """A person's subscription to a topic, in one environment or in all they can see; or that a default is off.

    `runs.notifications.services` is the only code that writes it.
    """

    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="subscriptions")
    topic = models.CharField(max_length=20, choices=Topic)
    environment = models.ForeignKey(Environment, models.CASCADE, null=True, blank=True, related_name="subscriptions")
    is_off = models.BooleanField(default=False, help_text="A topic of DEFAULTS is off; then without an environment.")

    class Meta:
        ordering = ["person", "topic"]
        constraints = [
            # Nulls count as equal: a null environment means all of them, once.
            models.UniqueConstraint(
                fields=["person", "topic", "environment"], name="unique_subscription_per_topic", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"{self.person}: {self.get_topic_display()} ({self.environment or 'every environment'})"


class Notification(StoredRow):
    """One message, to one person or only to channels. `runs.notifications` is the only code that writes it.

    People read it in the portal; each copy that is sent elsewhere is a `Delivery`.
    """

    # Empty: it goes to channels only.
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="notices")
    topic = models.CharField(max_length=20, choices=Topic)
    # Whose setting says how long it is kept; empty if it is about several.
    environment = models.ForeignKey(Environment, models.CASCADE, null=True, related_name="+")
    subject = models.CharField(max_length=300)
    text = models.TextField()
    # What the message is about, as in `AuditEntry`: the portal makes a link of it when it is sent or shown.
    target_kind = models.CharField(max_length=20, blank=True)
    target_id = models.CharField(max_length=20, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    read_at = models.DateTimeField(null=True)
    number = models.PositiveIntegerField(default=1, help_text="How many messages of this subject it stands for.")

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["environment", "created_at"], name="notifications_by_age"),
            models.Index(fields=["person", "-created_at", "-id"], name="notifications_of_person"),
            # Every page counts them.
            models.Index(fields=["person"], condition=models.Q(read_at=None), name="unread_notifications"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} (to {self.person or 'channels'})"
