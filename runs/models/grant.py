"""Grants: who can do what with which deployments."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from flows.models import Environment
from flows.models.stored_row import StoredRow
from flows.wording import deployment_name


class Verb(models.TextChoices):
    """What a grant can allow or deny. Values are stored in grants and the audit trail; pages show the labels."""

    SEE = "see", "view"
    SEE_INPUTS = "see inputs", "view parameters"
    SEE_LOGS = "see logs", "view logs"
    TRIGGER = "trigger", "run"
    TRIGGER_LATER = "trigger later", "schedule run"
    BACKFILL = "backfill", "backfill"
    RERUN = "rerun", "re-run"
    CANCEL = "cancel", "cancel"
    FORCE_CANCEL = "force cancel", "force cancel"
    PUT_BACK = "put back", "put back"
    APPROVE = "approve", "approve"
    SCHEDULE = "schedule", "manage schedules"
    PAUSE = "pause", "pause"
    POST_EVENT = "post event", "post events"
    OVERRIDE_FREEZE = "override freeze", "override freeze"
    BREAK_GLASS = "break glass", "emergency override"
    MANAGE = "manage", "manage"


# verb -> the verb whose denial also denies it: otherwise a denied `trigger` could be replaced by `rerun`.
PART_OF: dict[Verb, Verb] = {
    Verb.SEE_INPUTS: Verb.SEE,
    Verb.SEE_LOGS: Verb.SEE,
    Verb.TRIGGER_LATER: Verb.TRIGGER,
    Verb.BACKFILL: Verb.TRIGGER,
    Verb.RERUN: Verb.TRIGGER,
    Verb.PUT_BACK: Verb.TRIGGER,
    Verb.FORCE_CANCEL: Verb.CANCEL,
}
# The verbs that start runs, let them start, or change who can: what a grant opens in a protected environment.
OPENING = frozenset(
    {
        *(Verb.TRIGGER, Verb.SCHEDULE, Verb.APPROVE, Verb.OVERRIDE_FREEZE, Verb.BREAK_GLASS, Verb.MANAGE),
        # What is posted makes event rules request runs.
        Verb.POST_EVENT,
        *(verb for verb, whole in PART_OF.items() if whole == Verb.TRIGGER),
    }
)
# The verbs that come with parameters; only their grants can have a condition on values.
WITH_PARAMETERS = frozenset(
    {Verb.TRIGGER, Verb.TRIGGER_LATER, Verb.BACKFILL, Verb.RERUN, Verb.APPROVE, Verb.BREAK_GLASS}
)


class Selector(StoredRow):
    """Which deployments a rule applies to; blank fields match everything, filled ones must all match."""

    environment = models.ForeignKey(Environment, models.CASCADE, null=True, blank=True, related_name="%(class)ss")
    tag = models.CharField(max_length=300, blank=True)
    flow_name = models.CharField("flow", max_length=300, blank=True)
    full_name = models.CharField("deployment", max_length=601, blank=True, help_text="flow name/deployment name")

    class Meta:
        abstract = True

    @property
    def selector(self) -> str:
        parts: list[Any] = [
            self.environment or "all environments",
            deployment_name(self.full_name) or (f"flow {self.flow_name}" if self.flow_name else ""),
            f"tag {self.tag}" if self.tag else "",
        ]
        return ", ".join(str(part) for part in parts if part)


class Scope(Selector):
    """What a credential may do, as a grant would say it. It never gives more than the grants of its account."""

    verbs = ArrayField(models.CharField(max_length=20, choices=Verb))
    predicate = models.JSONField(null=True, blank=True, help_text="JSON Schema that the parameters must satisfy.")

    class Meta:
        abstract = True
        ordering = ["pk"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{', '.join(self.verbs)} on {self.selector}"

    @property
    def verb_labels(self) -> list[str]:
        return [str(Verb(verb).label) for verb in self.verbs]


class Grant(Selector):
    """Allows or denies verbs to a person or a group. Never edited: revoked and created again.

    Blank selector fields match everything, except that an allowing grant must name a protected environment.
    `runs.governance.grants` is the only code that writes it.
    """

    class Effect(models.TextChoices):
        ALLOW = "allow", "allow"
        DENY = "deny", "deny"

    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="grants")
    group = models.ForeignKey(Group, models.PROTECT, null=True, blank=True, related_name="grants")
    effect = models.CharField(max_length=5, choices=Effect, default=Effect.ALLOW)
    verbs = ArrayField(models.CharField(max_length=20, choices=Verb))
    # Checked with `runs.access.predicates`, which supports a subset of JSON Schema.
    predicate = models.JSONField(
        null=True, blank=True, help_text="JSON Schema: the grant applies only to parameters that satisfy it."
    )
    valid_from = models.DateTimeField(null=True, blank=True)
    valid_until = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    ticket = models.CharField(max_length=100, blank=True)
    granted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, editable=False, related_name="grants_given"
    )
    # A copy, and the only name for grants of the installation, which no account created.
    granted_by_name = models.CharField(max_length=200, editable=False)
    granted_at = models.DateTimeField(db_default=Now(), editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)
    revoked_by_name = models.CharField(max_length=200, blank=True, editable=False)

    class Meta:
        ordering = ["-granted_at"]
        # No "add" and "change": a Django permission to create grants would be a way to grant oneself everything.
        default_permissions = ["view"]
        constraints = [
            # A grant without a subject would apply to no one, one with two would be ambiguous when it is revoked.
            models.CheckConstraint(
                condition=models.Q(person__isnull=False, group__isnull=True)
                | models.Q(person__isnull=True, group__isnull=False),
                name="grant_has_one_subject",
            )
        ]
        indexes = [
            # The list of those that are not revoked.
            models.Index(fields=["-granted_at", "-id"], condition=models.Q(revoked_at=None), name="current_grants"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} {self.effect} {', '.join(self.verbs)} on {self.selector}"

    @property
    def subject(self) -> str:
        return str(self.person or self.group)

    @property
    def verb_labels(self) -> list[str]:
        return [str(Verb(verb).label) for verb in self.verbs]
