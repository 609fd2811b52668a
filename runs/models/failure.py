"""Failure groups: failed runs that failed in the same way."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.conf import settings
from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from flows.models import Deployment, Environment
from flows.models.stored_row import StoredRow
from flows.wording import deployment_name
from runs.models.run import Run


class FailureGroup(StoredRow):
    """Failures with one fingerprint: deployment, task, exception and message without what varies in it.

    `runs.failures.grouping` inserts and counts, `runs.failures.triage` moves the state; no other code writes it. The
    group outlives its runs: its counts and its last message stay.
    """

    class State(models.TextChoices):
        NEW = "new", "New"
        KNOWN = "known", "Known"
        MUTED = "muted", "Muted"
        RESOLVED = "resolved", "Resolved"
        REGRESSED = "regressed", "Regressed"

    # Protected, as of the runs: nothing cascades into history.
    environment = models.ForeignKey(Environment, models.PROTECT, related_name="failure_groups", db_index=False)
    access_deployment = models.ForeignKey(
        Deployment,
        models.PROTECT,
        null=True,
        related_name="failure_groups",
        db_index=False,
        help_text="Whose grants decide who sees it: that of the newest run in it.",
    )
    flow_name = models.CharField(max_length=300, blank=True, help_text="Decides where there is no deployment.")
    what = models.CharField("deployment", max_length=601, help_text="The deployment, or the flow, that failed.")
    fingerprint = models.CharField(max_length=64)
    task_name = models.CharField("task", max_length=300, blank=True, help_text="The task that failed first.")
    # These quote what the run printed: readers without permission to view logs do not see them.
    exception = models.CharField(max_length=200, blank=True)
    pattern = models.CharField(max_length=500, blank=True, help_text="The message without what varies.")
    message = models.TextField(blank=True, help_text="The message of the newest failure.")
    state = models.CharField(max_length=10, choices=State, default=State.NEW)
    state_at = models.DateTimeField("state since", db_default=Now())
    state_by_name = models.CharField("state set by", max_length=200, blank=True)
    reason = models.CharField(max_length=1000, blank=True, help_text="Why it is muted or resolved.")
    muted_until = models.DateTimeField(null=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="failure_groups", verbose_name="owner"
    )
    number = models.PositiveIntegerField("failures", default=0)
    first_seen_at = models.DateTimeField("first seen")
    last_seen_at = models.DateTimeField("last seen")

    class Meta:
        ordering = ["-last_seen_at", "-pk"]
        verbose_name = "failure group"
        default_permissions = ["view"]
        constraints = [
            models.UniqueConstraint(fields=["environment", "fingerprint"], name="unique_failure_per_environment")
        ]
        indexes = [
            models.Index(fields=["-last_seen_at", "-id"], name="failures_by_last_seen"),
            models.Index(fields=["access_deployment", "-last_seen_at"], name="failures_by_deployment"),
            # The same failure of other deployments.
            HashIndex(fields=["pattern"], name="failures_by_pattern"),
        ]

    def __str__(self) -> str:
        # Not the exception, which quotes the log.
        what = deployment_name(self.what)
        return f"{what}, task {self.task_name}" if self.task_name else what

    @property
    def shown_state(self) -> FailureGroup.State:
        """Its state now: a mute ends by itself."""
        is_over = self.state == self.State.MUTED and self.muted_until and self.muted_until <= timezone.now()
        return self.State.KNOWN if is_over else self.State(self.state)

    @property
    def state_label(self) -> str:
        return str(self.shown_state.label)

    @property
    def state_colour(self) -> str:
        return COLOURS[self.shown_state]

    @property
    def title(self) -> str:
        """The exception and its message in one line, for readers who can view logs."""
        return (
            f"{self.exception}: {self.pattern}" if self.exception and self.pattern else self.exception or self.pattern
        )


COLOURS: dict[FailureGroup.State, str] = {
    FailureGroup.State.NEW: "red",
    FailureGroup.State.REGRESSED: "red",
    FailureGroup.State.KNOWN: "amber",
    FailureGroup.State.MUTED: "grey",
    FailureGroup.State.RESOLVED: "green",
}
# What waits for somebody, or is being dealt with: all but muted and resolved ones.
OPEN = (FailureGroup.State.NEW, FailureGroup.State.REGRESSED, FailureGroup.State.KNOWN)


def in_states(states: Collection[str], now: datetime) -> models.Q:
    """Return the condition for groups whose `shown_state` is one of these; “open” stands for `OPEN`."""
    muted, known = FailureGroup.State.MUTED, FailureGroup.State.KNOWN
    wanted = {*states, *OPEN} if "open" in states else {*states}
    found = models.Q(state__in=[each for each in FailureGroup.State.values if each in wanted and each != muted])
    if muted in wanted:
        found |= models.Q(state=muted, muted_until__gt=now)
    if known in wanted:
        found |= models.Q(state=muted, muted_until__lte=now)
    return found


class FailureDay(models.Model):
    """How many failures of a group there were on one day. `runs.failures.grouping` is the only writer."""

    group = models.ForeignKey(FailureGroup, models.CASCADE, related_name="days", db_index=False)
    day = models.DateField(help_text="In the portal's time zone.")
    number = models.PositiveIntegerField()

    class Meta:
        ordering = ["day"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["group", "day"], name="unique_day_per_failure")]

    def __str__(self) -> str:
        return f"{self.number} on {self.day}"


class FailedRun(models.Model):
    """The last failure of a run, and its group once that is known. `runs.failures.grouping` is the only writer.

    One row a run, so that a run is in one group at most. It is deleted with the run; the group stays.
    """

    run = models.OneToOneField(Run, models.CASCADE, primary_key=True, related_name="failure")
    group = models.ForeignKey(FailureGroup, models.CASCADE, null=True, related_name="failed_runs", db_index=False)
    # Which failure of the run: one that is retried can fail again.
    state_id = models.UUIDField(null=True)
    message = models.TextField(blank=True, help_text="That of the state, before the run can move on.")
    failed_at = models.DateTimeField(help_text="By the clock of Prefect.")
    seen_at = models.DateTimeField(help_text="When the mirror read it.")

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(fields=["group", "-failed_at"], name="failed_runs_by_group"),
            models.Index(fields=["seen_at"], condition=models.Q(group=None), name="failed_runs_to_group"),
        ]

    def __str__(self) -> str:
        return f"failure of {self.run_id}"


class FailureAct(models.Model):
    """What somebody did with a failure group, or that it came back. Only inserted, with the change of the group.

    `runs.failures` is the only writer.
    """

    class Kind(models.TextChoices):
        APPEARED = "appeared", "First failure"
        REGRESSED = "regressed", "Failed again after it was resolved"
        ACKNOWLEDGED = "acknowledged", "Marked as known"
        MUTED = "muted", "Muted"
        RESOLVED = "resolved", "Resolved"
        OWNED = "owned", "Changed the owner"
        NOTED = "noted", "Note"

    group = models.ForeignKey(FailureGroup, models.CASCADE, related_name="acts")
    kind = models.CharField(max_length=20, choices=Kind)
    by_name = models.CharField(max_length=200, blank=True, help_text="Blank: the portal.")
    text = models.CharField(max_length=1000, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-at", "-pk"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.pk})"
