"""Schedules: when the runs of an approved request are due."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from flows.models import Deployment, Environment
from flows.models.stored_row import StoredRow
from runs.models.change_request import ChangeRequest
from runs.models.run_spec import RunSpec

# The columns locked at request time. The trigger `frozen` in runs/migrations/triggers.sql refuses to change them.
FROZEN = [
    "change",
    "spec",
    "environment",
    "deployment",
    "name",
    "rule_type",
    "rule",
    "time_zone",
    "anchor",
    "catch_up",
    "valid_until",
    "replaces",
    "native",
    "created_at",
]
# The columns that services change afterwards. The portal's database role may update these and no others.
CHANGED = [
    "state",
    "code",
    "message",
    "changed_at",
    "changed_by_name",
    "activated_at",
    "next_due",
    "last_due",
    "missed",
    "missed_at",
    "reminded_at",
    "drift",
    "drifted_at",
]


class Schedule(StoredRow):
    """When the portal starts runs of one spec. Its owner is the requester of the change request.

    What is due is approved with the change request, whose digest covers these columns: an edit is another change
    request, with a schedule that replaces this one. `runs.automation.schedule_states` is the only code that writes it.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting for approval"
        ACTIVE = "active", "Active"
        PAUSED = "paused", "Paused"
        ENDED = "ended", "Ended"

    class RuleType(models.TextChoices):
        CRON = "cron", "Cron expression"
        INTERVAL = "interval", "Interval"
        RRULE = "rrule", "Recurrence rule"

    class CatchUp(models.TextChoices):
        """What becomes of starts that were missed, because the portal was down when they were due."""

        NONE = "none", "Skip them"
        LAST = "last", "Start the last one"
        ALL = "all", "Start all of them"

    COLOURS = {
        State.WAITING: "amber",
        State.ACTIVE: "green",
        State.PAUSED: "amber",
        State.ENDED: "grey",
    }
    # The `code` of a schedule that a person paused; otherwise it says what prevents its runs.
    BY_PERSON = "person"

    change = models.OneToOneField(ChangeRequest, models.PROTECT, related_name="schedule")
    spec = models.OneToOneField(RunSpec, models.PROTECT, related_name="schedule")
    # Those of the spec, for lists and indexes.
    environment = models.ForeignKey(Environment, models.PROTECT, related_name="schedules", db_index=False)
    deployment = models.ForeignKey(Deployment, models.PROTECT, related_name="portal_schedules")
    name = models.CharField(max_length=100)
    rule_type = models.CharField("type", max_length=10, choices=RuleType)
    rule = models.CharField(max_length=500)
    time_zone = models.CharField(max_length=60)
    anchor = models.DateTimeField(null=True, help_text="Where an interval starts to count.")
    catch_up = models.CharField("missed starts", max_length=10, choices=CatchUp, default=CatchUp.NONE)
    valid_until = models.DateTimeField("ends")
    replaces = models.ForeignKey("self", models.PROTECT, null=True, related_name="replacements")
    native = models.JSONField(
        default=dict,
        help_text="If Prefect keeps it: its slug, rule and parameters there. Empty if the portal keeps it.",
    )
    created_at = models.DateTimeField("requested", db_default=Now())

    state = models.CharField(max_length=10, choices=State)
    code = models.CharField(max_length=40, blank=True, help_text="Why it is paused or has ended, for programs.")
    message = models.TextField(blank=True, help_text="One sentence that explains the state.")
    changed_at = models.DateTimeField(db_default=Now())
    changed_by_name = models.CharField(max_length=200, blank=True, help_text="Blank if the portal did it.")
    activated_at = models.DateTimeField(null=True)
    next_due = models.DateTimeField(null=True, help_text="The next start; null while it is not active.")
    last_due = models.DateTimeField(null=True, help_text="The last start that it requested.")
    missed = models.PositiveIntegerField(
        default=0, help_text="Starts that were skipped: the portal was down when they were due."
    )
    missed_at = models.DateTimeField(null=True, help_text="When the last of them was due.")
    reminded_at = models.DateTimeField(null=True, help_text="When its owner was notified that it ends soon.")
    drift = models.JSONField(default=list, help_text="In what Prefect's schedule differs from what was approved.")
    drifted_at = models.DateTimeField(null=True, help_text="Since when it is known to differ.")

    class Meta:
        ordering = ["name", "pk"]
        default_permissions = ["view"]
        indexes = [
            # For the clock, every few seconds: what is due, and what was decided on.
            models.Index(fields=["next_due"], condition=models.Q(state="active"), name="schedules_due"),
            models.Index(fields=["change"], condition=models.Q(state="waiting"), name="schedules_waiting"),
            models.Index(fields=["environment", "name", "id"], name="schedules_by_environment"),
            models.Index(fields=["environment", "id"], condition=~models.Q(native={}), name="native_schedules"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state="active", next_due__isnull=False)
                | (~models.Q(state="active") & models.Q(next_due=None)),
                name="active_schedules_are_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.pk})"

    @property
    def state_label(self) -> str:
        return self.get_state_display()

    @property
    def state_colour(self) -> str:
        return self.COLOURS[self.State(self.state)]

    @property
    def is_native(self) -> bool:
        """Whether Prefect keeps it, and starts its runs without asking the portal."""
        return bool(self.native)

    @property
    def approves_each(self) -> bool:
        """Whether each of its runs is a change request of its own; select the change request with it."""
        return bool(self.change.policy.get("each_run"))

    @property
    def is_live(self) -> bool:
        return self.state in (self.State.ACTIVE, self.State.PAUSED)
