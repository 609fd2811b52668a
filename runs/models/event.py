"""Facts that others react to, and how far each consumer has read them."""

from __future__ import annotations

from enum import StrEnum

from django.db import models
from django.db.models.functions import Now

from flows.models.stored_row import StoredRow


class RunEvent(StoredRow):
    """One fact that others react to, written in the transaction of the fact. `runs.events` is the only writer.

    Rows are named by their keys, without foreign keys: an event outlives what it is about. `data` holds what only that
    transaction knew; never a secret, never the value of a parameter. An event that a program posted holds its body, and
    the message to a hook too where an event rule reads it: both are given to event rules only.
    """

    class Kind(StrEnum):
        RUN_APPEARED = "run appeared"
        RUN_MOVED = "run moved"
        RUN_DELETED = "run deleted"
        RUNS_STALLED = "runs stalled"
        DRIFT_CHANGED = "drift changed"
        ARTIFACT_STORED = "artifact stored"
        HOOK_DELIVERED = "hook delivered"
        EVENT_POSTED = "event posted"
        FAILURE_APPEARED = "failure appeared"
        FAILURE_REGRESSED = "failure regressed"
        FAILURE_RESOLVED = "failure resolved"
        LEVEL_BREACHED = "level breached"
        LEVEL_CLEARED = "level cleared"
        REQUEST_WAITING = "request waiting"
        REQUEST_OVERDUE = "request overdue"
        REQUEST_APPROVED = "request approved"
        REQUEST_REJECTED = "request rejected"
        REQUEST_WITHDRAWN = "request withdrawn"
        REQUEST_EXPIRED = "request expired"
        REQUEST_LAUNCHED = "request launched"
        REQUEST_REFUSED = "request refused"
        REQUEST_LOST = "request lost"
        STEP_WAITING = "step waiting"
        REQUEST_STOPPED = "request stopped"
        OVERRIDE_USED = "override used"
        DEFINITION_MOVED = "definition moved"
        FREEZE_STARTED = "freeze started"
        FREEZE_ENDED = "freeze ended"
        RULES_LOOSENED = "rules loosened"
        RULES_CHANGED_OUTSIDE = "rules changed outside"
        BYPASS_FOUND = "bypass found"
        ENVIRONMENT_DISABLED = "environment disabled"
        ENVIRONMENT_DOWN = "environment down"
        ENVIRONMENT_BACK = "environment back"
        DEPLOYMENTS_UNASSIGNED = "deployments unassigned"
        SCHEDULE_PAUSED = "schedule paused"
        SCHEDULE_MISSED = "schedule missed"
        SCHEDULE_ENDING = "schedule ending"
        SCHEDULE_DRIFTED = "schedule drifted"
        SCHEDULE_HOLDS = "schedule holds"
        AUTOMATION_ENDING = "automation ending"
        AUTOMATION_PREVENTED = "automation prevented"

    kind = models.CharField(max_length=30, help_text="One of `Kind`.")
    # Assigned after the commit, in the order in which transactions became visible; an id is taken before the commit.
    position = models.BigIntegerField(null=True, unique=True, help_text="Where it stands for consumers.")
    environment_id = models.BigIntegerField(null=True)
    deployment_id = models.BigIntegerField(null=True)
    run_id = models.BigIntegerField(null=True)
    change_id = models.BigIntegerField(null=True)
    request_id = models.BigIntegerField(null=True)
    data = models.JSONField(default=dict)
    occurred_at = models.DateTimeField(db_default=Now(), help_text="When it happened, by the clock of its source.")
    observed_at = models.DateTimeField(db_default=Now(), help_text="When the portal recorded it.")
    is_history = models.BooleanField(default=False, help_text="Found by a first reading: nothing reacts to it.")

    class Meta:
        ordering = ["pk"]
        default_permissions = ()
        indexes = [
            models.Index(fields=["id"], condition=models.Q(position=None), name="events_without_position"),
            # For retention.
            models.Index(fields=["environment_id", "observed_at"], name="events_by_age"),
            # Partial: a few rows, which a page lists.
            models.Index(
                fields=["environment_id", "-id"], condition=models.Q(kind="drift changed"), name="drift_changes"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} ({self.pk})"


class EventCursor(models.Model):
    """How far a consumer has read. The row of the relay holds the last position that it has assigned.

    `runs.events` is the only code that writes it.
    """

    name = models.CharField(max_length=40, primary_key=True)
    position = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.position}"


class FailedEvent(models.Model):
    """An event that a consumer failed to handle. `runs.events` is the only code that writes it."""

    consumer = models.CharField(max_length=40)
    event_id = models.BigIntegerField()
    tries = models.PositiveSmallIntegerField(default=0)
    tried_at = models.DateTimeField(db_default=Now())
    # Kind and place of the error; its text could contain anything.
    error = models.CharField(max_length=200)
    is_set_aside = models.BooleanField(default=False, help_text="Not tried again by itself; the consumer went on.")

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["consumer", "event_id"], name="unique_failed_event_per_consumer")
        ]

    def __str__(self) -> str:
        return f"{self.consumer}: event {self.event_id}: {self.error}"
