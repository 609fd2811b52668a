"""Policies, change windows and freezes: what a run requires and when it can start."""

from __future__ import annotations

from typing import TypedDict

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from flows.models import Environment
from runs.models.grant import Selector


class Stage(TypedDict):
    """`needed` different people must approve; `group` is the name of their group, empty for anyone who can approve."""

    needed: int
    group: str


class Risk(models.TextChoices):
    LOW = "low", "low"
    MEDIUM = "medium", "medium"
    HIGH = "high", "high"


# Values are ordered from low to high in `runs.governance.requirements`.
RISK_COLOURS: dict[str, str] = {Risk.LOW: "grey", Risk.MEDIUM: "amber", Risk.HIGH: "red"}


class Policy(Selector):
    """What a request for a run requires. All policies that apply to a deployment are combined.

    `runs.governance.policies` is the only code that writes it.
    """

    class Outside(models.TextChoices):
        WAIT = "wait", "Hold the run until it may start"
        REFUSE = "refuse", "Refuse the request"

    class Native(models.TextChoices):
        """Whether schedules can be kept by Prefect, which starts their runs without asking the portal."""

        DEFAULT = "", "Not in protected environments"
        ALLOW = "allow", "Allowed"
        REFUSE = "refuse", "Refused"

    # Unique: refusals, approvals and audit entries name a policy.
    name = models.CharField(max_length=100, unique=True)
    stages = models.JSONField(
        "approvals", default=list, blank=True, help_text="Stages in order, each with needed and group."
    )
    approval_minutes = models.PositiveIntegerField(
        "approval timeout (minutes)",
        null=True,
        blank=True,
        help_text="Requests not approved within this time expire. Blank = environment default.",
    )
    needs_reason = models.BooleanField(
        "require a reason", default=False, help_text="For runs, cancellations, pauses and grants."
    )
    needs_ticket = models.BooleanField(
        "require a ticket", default=False, help_text="For runs, cancellations, pauses and grants."
    )
    # Matched by the linear-time engine of flows.parameters.formats, which has no look-around and no backreferences.
    ticket_pattern = models.CharField(
        max_length=200, blank=True, help_text="Regular expression, for example ^OPS-[0-9]+$."
    )
    # http or https only: it becomes a link on pages.
    ticket_link = models.CharField(
        "ticket URL", max_length=500, blank=True, help_text="For example https://tickets.example/{ticket}."
    )
    needs_confirmation = models.BooleanField(
        "require typed confirmation",
        default=False,
        help_text="Requesters review the parameters and type the deployment's name.",
    )
    # Both are about definitions of deployments: see flows/definition.py.
    refuse_moving = models.BooleanField(
        "refuse code that is not pinned",
        default=False,
        help_text="Refuse deployments whose code is a branch, tag, path, storage or image tag.",
    )
    cancel_moved = models.BooleanField(
        "cancel changed runs",
        default=False,
        help_text="Cancel an approved run if its deployment has changed by the time it starts.",
    )
    token_days = models.PositiveIntegerField(
        "longest token (days)",
        null=True,
        blank=True,
        help_text="Tokens that can act here must end within this time. Blank = one year.",
    )
    schedule_days = models.PositiveIntegerField(
        "longest schedule (days)",
        null=True,
        blank=True,
        help_text="Schedules, hooks, event rules and chains here must end within this time. Blank = one year.",
    )
    approve_each_run = models.BooleanField(
        "approve each run of schedules",
        default=False,
        help_text="Each run of a schedule is a request of its own, which needs its own approval.",
    )
    native_schedules = models.CharField(
        "schedules in Prefect",
        max_length=10,
        blank=True,
        choices=Native,
        default=Native.DEFAULT,
        help_text="Prefect starts their runs itself, also while the portal is down; nothing is checked at each start.",
    )
    outside_window = models.CharField("outside change windows", max_length=10, choices=Outside, default=Outside.WAIT)
    risk = models.CharField(max_length=10, choices=Risk, default=Risk.LOW, help_text="Shown to approvers.")

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "policies"

    def __str__(self) -> str:
        return self.name


class Window(Selector):
    """A recurring time in which runs can start, or cannot. Windows that block take precedence.

    `runs.governance.policies` is the only code that writes it.
    """

    class Effect(models.TextChoices):
        ALLOW = "allow", "Allow runs only during the window"
        DENY = "deny", "Block runs during the window"

    name = models.CharField(max_length=100, unique=True)
    effect = models.CharField(max_length=5, choices=Effect, default=Effect.ALLOW)
    # The start only; the end is `minutes` of elapsed time later, also when clocks change meanwhile.
    cron = models.CharField(
        "starts (cron)", max_length=100, help_text="Minute, hour, day of month, month, day of week."
    )
    minutes = models.PositiveIntegerField("duration (minutes)")
    time_zone = models.CharField(max_length=60, default="UTC", help_text="For example Europe/Vienna.")
    is_active = models.BooleanField("active", default=True, help_text="Ignored when off.")
    reason = models.CharField(max_length=500, blank=True, help_text="Shown to users.")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Freeze(models.Model):
    """A stop of all runs in one environment, until it is lifted or ends by itself.

    `runs.governance.freezes` is the only code that writes it.
    """

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="freezes")
    reason = models.CharField(max_length=500)
    ticket = models.CharField(max_length=100, blank=True)
    # When it ends by itself; the periodic task sets `lifted_at` then.
    until = models.DateTimeField(null=True, blank=True)
    begun_at = models.DateTimeField(db_default=Now())
    begun_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    begun_by_name = models.CharField(max_length=200)
    lifted_at = models.DateTimeField(null=True)
    lifted_by_name = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-begun_at"]
        constraints = [
            # Two people who freeze at once: the second gets `freeze.already`.
            models.UniqueConstraint(
                fields=["environment"], condition=models.Q(lifted_at=None), name="unique_open_freeze_per_environment"
            )
        ]

    def __str__(self) -> str:
        return f"Freeze of {self.environment}"
