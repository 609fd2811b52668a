"""Notification rules: who receives which messages, narrower than a subscription, or for a whole group."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from runs.models.change_request import ChangeRequest
from runs.models.channel import Channel
from runs.models.grant import Selector
from runs.models.notification import Topic


class NotificationRule(Selector):
    """Some topics, where its selector matches, for one person, for the people of a group, or for a channel.

    Never edited: removed and created again. `runs.notifications.notification_rules` is the only writer. It opens
    nothing: each receives what they may see.
    """

    name = models.CharField(max_length=100)
    topics = ArrayField(models.CharField(max_length=20, choices=Topic))
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="notification_rules")
    group = models.ForeignKey(Group, models.CASCADE, null=True, related_name="notification_rules")
    channel = models.ForeignKey(Channel, models.PROTECT, null=True, related_name="notification_rules")
    # The narrowest part of its selector: by it the rules of an event are found.
    match_key = models.CharField(max_length=620, editable=False)
    after_minutes = models.PositiveIntegerField(
        "after (minutes)",
        default=0,
        help_text="Of requests that nobody has decided after so many minutes, once; 0 = of everything, at once.",
    )
    created_at = models.DateTimeField("created", db_default=Now())
    created_by_name = models.CharField(max_length=200)
    removed_at = models.DateTimeField("removed", null=True)
    removed_by_name = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = "notification rule"
        default_permissions = ["view"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(person__isnull=False, group=None, channel=None)
                | models.Q(person=None, group__isnull=False, channel=None)
                | models.Q(person=None, group=None, channel__isnull=False),
                name="notification_rule_has_one_receiver",
            )
        ]
        indexes = [
            models.Index(fields=["match_key"], condition=models.Q(removed_at=None), name="notification_rules_by_key")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def receiver(self) -> str:
        if self.channel:
            return f"channel {self.channel}"
        return f"group {self.group}" if self.group else str(self.person)

    @property
    def topic_labels(self) -> list[str]:
        return [str(Topic(topic).label) for topic in self.topics if topic in Topic.values]


class Escalation(models.Model):
    """That a rule with minutes was applied to a stage of a request, once.

    `runs.notifications.escalation` is the only writer.
    """

    rule = models.ForeignKey(NotificationRule, models.CASCADE, related_name="escalations", db_index=False)
    change = models.ForeignKey(ChangeRequest, models.CASCADE, related_name="escalations")
    stage = models.PositiveSmallIntegerField(default=0, help_text="Index of the approval stage, starting at 0.")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["rule", "change", "stage"], name="one_escalation_per_stage")]

    def __str__(self) -> str:
        return f"{self.rule_id}: {self.change_id}"
