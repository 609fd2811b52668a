"""Rules about when a run may start and what it takes: policies, change windows, freezes."""

from __future__ import annotations

from typing import TypedDict

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from flows.models import Environment
from runs.models.grant import Selector


class Stage(TypedDict):
    """`needed` different people must approve; `group` is the name of theirs, or empty for anyone who can approve."""

    needed: int
    group: str


class Risk(models.TextChoices):
    LOW = "low", "low"
    MEDIUM = "medium", "medium"
    HIGH = "high", "high"


RISK_COLOURS: dict[str, str] = {Risk.LOW: "grey", Risk.MEDIUM: "amber", Risk.HIGH: "red"}


class Policy(Selector):
    """What asking for a run takes. Where several are about one deployment, all of them count.

    `runs.governance.policies` is the only code that writes it.
    """

    class Outside(models.TextChoices):
        WAIT = "wait", "wait until it may start"
        REFUSE = "refuse", "be refused"

    name = models.CharField(max_length=100, unique=True)
    stages = models.JSONField("approvals", default=list, blank=True, help_text="In this order: needed, group.")
    approval_minutes = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="An approval not given in this time expires. Left empty: as the environment says.",
    )
    needs_reason = models.BooleanField(default=False, help_text="Runs, cancels, pauses and grants must say why.")
    needs_ticket = models.BooleanField(default=False, help_text="They must name a ticket too.")
    ticket_pattern = models.CharField(
        max_length=200, blank=True, help_text="What a ticket looks like, such as ^OPS-[0-9]+$."
    )
    ticket_link = models.CharField(
        max_length=500, blank=True, help_text="Where it is read, such as https://tickets.example/{ticket}."
    )
    needs_confirmation = models.BooleanField(
        default=False, help_text="Whoever asks for a run looks at its parameters again and types the deployment's name."
    )
    outside_window = models.CharField(
        "outside change windows runs", max_length=10, choices=Outside, default=Outside.WAIT
    )
    risk = models.CharField(max_length=10, choices=Risk, default=Risk.LOW, help_text="Shown to whoever approves.")

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "policies"

    def __str__(self) -> str:
        return self.name


class Window(Selector):
    """A time that comes again, in which runs may start, or may not. A prohibition wins.

    `runs.governance.policies` is the only code that writes it.
    """

    class Effect(models.TextChoices):
        ALLOW = "allow", "runs may start only then"
        DENY = "deny", "no run may start then"

    name = models.CharField(max_length=100, unique=True)
    effect = models.CharField(max_length=5, choices=Effect, default=Effect.ALLOW)
    cron = models.CharField("begins", max_length=100, help_text="A cron expression: minute hour day month weekday.")
    minutes = models.PositiveIntegerField("lasts (minutes)")
    time_zone = models.CharField(max_length=60, default="UTC", help_text="Such as Europe/Vienna.")
    is_active = models.BooleanField(default=True)
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Freeze(models.Model):
    """A stop of everything in one environment, until it is lifted or its time is over.

    `runs.governance.policies` is the only code that writes it.
    """

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="freezes")
    reason = models.CharField(max_length=500)
    ticket = models.CharField(max_length=100, blank=True)
    until = models.DateTimeField(null=True, blank=True)
    begun_at = models.DateTimeField(db_default=Now())
    begun_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    begun_by_name = models.CharField(max_length=200)
    lifted_at = models.DateTimeField(null=True)
    lifted_by_name = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-begun_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment"], condition=models.Q(lifted_at=None), name="unique_open_freeze_per_environment"
            )
        ]

    def __str__(self) -> str:
        return f"Freeze of {self.environment}"
