"""Flow runs, mirrored from Prefect."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Coalesce, Concat, Lower

from flows.models import Deployment, Environment
from flows.models.stored_row import StoredRow
from flows.stored_column import StoredColumn

# Prefect state type -> label and colour, for every place that shows a state.
STATES: dict[str, tuple[str, str]] = {
    "SCHEDULED": ("Scheduled", "amber"),
    "PENDING": ("Pending", "amber"),
    "RUNNING": ("Running", "blue"),
    "COMPLETED": ("Completed", "green"),
    "FAILED": ("Failed", "red"),
    "CRASHED": ("Crashed", "red"),
    "CANCELLING": ("Cancelling", "amber"),
    "CANCELLED": ("Cancelled", "grey"),
    "PAUSED": ("Paused", "amber"),
}


class Stall(models.TextChoices):
    """How a run is stalled; the rules are in `runs.stalls`."""

    PENDING = "pending", "Pending without a process"
    LATE = "late", "Late"
    SILENT = "silent", "Running without a sign of life"
    CANCELLING = "cancelling", "Cancelling too long"


TERMINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
ACTIVE = frozenset(STATES) - TERMINAL
FAILED = frozenset({"FAILED", "CRASHED"})


def label_of(state_type: str, state_name: str) -> str:
    """Return Prefect's name of a state, which can say more than its type, such as AwaitingRetry."""
    return state_name or STATES.get(state_type, (state_type.title(), "grey"))[0]


def colour_of(state_type: str) -> str:
    """Return the colour of a state type; grey for one that is not known here."""
    return STATES.get(state_type, ("", "grey"))[1]


class Run(StoredRow):
    """A flow run and its last known state. `runs.mirror` is the only code that writes it and its related rows."""

    # The first columns of sorted indexes: none of these keys needs another index.
    environment = models.ForeignKey(Environment, models.PROTECT, related_name="runs", db_index=False)
    deployment = models.ForeignKey(Deployment, models.PROTECT, null=True, related_name="runs", db_index=False)
    # A run without a deployment of its own is as visible as the run that it is part of.
    access_deployment = models.ForeignKey(
        Deployment,
        models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        help_text="Whose grants decide about the run: its deployment, or that of the run it is part of.",
    )
    parent = models.ForeignKey(
        "self", models.SET_NULL, null=True, related_name="children", help_text="The run that called it as a subflow."
    )
    parent_task_run_id = models.UUIDField(null=True, help_text="The task run that stands for it in its parent.")
    # Unique per environment only: two environments can be the same server, or a copy of one.
    prefect_id = models.UUIDField()
    name = models.CharField(max_length=300)
    flow_name = models.CharField(max_length=300, blank=True)
    deployment_name = models.CharField("deployment", max_length=601, blank=True)
    deployment_version = models.CharField(max_length=300, blank=True)
    # Prefect returns SecretStr values in clear text: they are masked before they are stored.
    parameters = models.JSONField(default=dict, help_text="Secrets masked.")
    tags = ArrayField(models.CharField(max_length=300), default=list)
    state_id = models.UUIDField(null=True)
    state_type = models.CharField("state", max_length=20, choices=[(key, label) for key, (label, _) in STATES.items()])
    state_name = models.CharField(max_length=100, blank=True)
    state_message = models.TextField(blank=True)
    # Orders readings: an older one never overwrites a newer one.
    state_at = models.DateTimeField(null=True)
    run_count = models.IntegerField(default=0)
    expected_start_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    run_seconds = models.FloatField("duration", default=0)
    work_pool_name = models.CharField(max_length=300, blank=True)
    work_queue_name = models.CharField(max_length=300, blank=True)
    infrastructure_pid = models.CharField(max_length=300, blank=True)
    is_auto_scheduled = models.BooleanField(default=False)
    created_by_portal = models.BooleanField(
        "requested in the portal", default=False, help_text="False: started outside the portal."
    )
    schedule = models.ForeignKey(
        "runs.Schedule",
        models.PROTECT,
        null=True,
        related_name="runs",
        db_index=False,
        help_text="The approved schedule by which Prefect started it, if Prefect keeps that for the portal.",
    )
    created_upstream_at = models.DateTimeField(null=True)
    # What lists are sorted and filtered by. It does not change while a run goes on, so that no row moves between pages.
    sort_at = StoredColumn(
        expression=Coalesce("created_upstream_at", "expected_start_at", "started_at", "synced_at"),
        output_field=models.DateTimeField("created"),
    )
    # What lists are searched in, in lower case: one index for all of it, so that a word is looked up once.
    search_text = StoredColumn(
        expression=Lower(
            Concat("name", models.Value(" "), "flow_name", models.Value(" "), "deployment_name"),
            output_field=models.TextField(),
        ),
        output_field=models.TextField(),
    )
    synced_at = models.DateTimeField(help_text="When it was last read from Prefect.")
    # Empty for old history, whose details are read when the page is opened.
    detailed_at = models.DateTimeField(null=True, help_text="When states, task runs and logs were last read.")
    deleted_upstream_at = models.DateTimeField(
        "deleted in Prefect", null=True, help_text="When it was found to be missing in Prefect."
    )

    # A heartbeat, log line or task change. It never moves back.
    active_at = models.DateTimeField("last activity", null=True, help_text="Its last sign of life, as Prefect has it.")
    # The rule of `runs.stalls` by which it is stalled now; empty for most runs. Cleared when the run moves.
    stalled_kind = models.CharField("stalled", max_length=10, blank=True, choices=Stall)
    stalled_since = models.DateTimeField(null=True, help_text="Since when nothing has happened.")

    class Meta:
        ordering = ["-sort_at", "-pk"]
        constraints = [models.UniqueConstraint(fields=["prefect_id", "environment"], name="unique_run_per_environment")]
        indexes = [
            models.Index(fields=["-sort_at", "-id"], name="runs_sorted"),
            models.Index(fields=["environment", "-sort_at", "-id"], name="runs_sorted_by_environment"),
            models.Index(fields=["deployment", "-sort_at", "-id"], name="runs_sorted_by_deployment"),
            models.Index(fields=["access_deployment", "-sort_at", "-id"], name="runs_sorted_by_access"),
            models.Index(fields=["deployment_name", "-sort_at", "-id"], name="runs_by_deployment_name"),
            models.Index(fields=["flow_name", "-sort_at", "-id"], name="runs_by_flow_name"),
            models.Index(fields=["-run_seconds", "-id"], name="runs_by_duration"),
            models.Index(fields=["name"], name="runs_by_name"),
            # Partial: most runs are of none.
            models.Index(
                fields=["schedule", "-sort_at", "-id"],
                condition=models.Q(schedule__isnull=False),
                name="runs_by_schedule",
            ),
            # Partial: the few that are asked for most. Of the other states a list finds enough rows soon.
            models.Index(
                fields=["-sort_at", "-id"], condition=models.Q(state_type__in=sorted(ACTIVE)), name="active_runs"
            ),
            models.Index(
                fields=["-sort_at", "-id"], condition=models.Q(state_type__in=sorted(FAILED)), name="failed_runs"
            ),
            GinIndex(fields=["search_text"], name="runs_search", opclasses=["gin_trgm_ops"]),
            GinIndex(fields=["tags"], name="runs_by_tag"),
            GinIndex(fields=["parameters"], name="runs_by_parameter", opclasses=["jsonb_path_ops"]),
            models.Index(fields=["-ended_at"]),
            # For retention.
            models.Index(fields=["environment", "ended_at"], name="runs_by_end"),
            # Partial: a few rows of a million.
            models.Index(
                fields=["-ended_at"], condition=models.Q(state_type__in=sorted(FAILED)), name="latest_failures"
            ),
            models.Index(
                fields=["expected_start_at"], condition=models.Q(state_type="SCHEDULED"), name="scheduled_runs"
            ),
            models.Index(
                fields=["environment", "stalled_kind"], condition=~models.Q(stalled_kind=""), name="stalled_runs"
            ),
        ]

    def __str__(self) -> str:
        return self.name.strip() or str(self.prefect_id)

    @property
    def what(self) -> str:
        """The deployment it is a run of, or its flow."""
        return self.deployment_name or self.flow_name or "no deployment"

    @property
    def is_terminal(self) -> bool:
        return self.state_type in TERMINAL

    @property
    def is_lost(self) -> bool:
        """Whether the run was deleted in Prefect before it ended: how it ended is not known."""
        return self.deleted_upstream_at is not None and not self.is_terminal

    @property
    def is_over(self) -> bool:
        return self.is_terminal or self.deleted_upstream_at is not None

    @property
    def state_label(self) -> str:
        return "Deleted" if self.is_lost else label_of(self.state_type, self.state_name)

    @property
    def state_colour(self) -> str:
        return "grey" if self.is_lost else colour_of(self.state_type)

    @property
    def prefect_url(self) -> str:
        return f"{self.environment.server.prefect_ui}/runs/flow-run/{self.prefect_id}"


class StateChange(StoredRow):
    """One state that a run was in."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="state_changes", db_index=False)
    prefect_id = models.UUIDField()
    type = models.CharField(max_length=20)
    name = models.CharField(max_length=100)
    message = models.TextField(blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["at"]
        constraints = [models.UniqueConstraint(fields=["run", "prefect_id"], name="unique_state_change_per_run")]

    def __str__(self) -> str:
        return self.name

    @property
    def state_label(self) -> str:
        return label_of(self.type, self.name)

    @property
    def state_colour(self) -> str:
        return colour_of(self.type)


class TaskRun(StoredRow):
    """One task of a run."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="task_runs", db_index=False)
    prefect_id = models.UUIDField()
    name = models.CharField(max_length=300)
    state_type = models.CharField(max_length=20)
    state_name = models.CharField(max_length=100)
    message = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    run_count = models.IntegerField(default=0)
    run_seconds = models.FloatField(default=0)
    is_cached = models.BooleanField(default=False)
    task_key = models.CharField(max_length=300, blank=True, help_text="The same for all runs of one task.")
    # No foreign keys: a task can depend on one that the mirror has not read yet.
    upstream = ArrayField(
        base_field=models.UUIDField(), default=list, help_text="The task runs it depends on, by Prefect's ids."
    )
    # run_count and is_over say for which reading of the task run they hold.
    attempts = models.JSONField(default=dict, help_text="spans: start and end of each attempt, if it was retried.")

    class Meta:
        ordering = [models.F("started_at").asc(nulls_last=True), "name"]
        constraints = [models.UniqueConstraint(fields=["run", "prefect_id"], name="unique_task_run_per_run")]

    def __str__(self) -> str:
        return self.name.strip() or str(self.prefect_id)

    @property
    def state_label(self) -> str:
        return "Cached" if self.is_cached else label_of(self.state_type, self.state_name)

    @property
    def state_colour(self) -> str:
        return colour_of(self.state_type)


class LogLine(StoredRow):
    """One line of a run's log."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="log_lines", db_index=False)
    prefect_id = models.UUIDField()
    at = models.DateTimeField()
    # A number, so that “warning and above” is a comparison.
    level = models.SmallIntegerField(help_text="As Python's logging: 20 info, 30 warning, 40 error.")
    message = models.TextField()
    task_run_id = models.UUIDField(null=True)

    class Meta:
        # Lines of one batch can share a timestamp; the primary key keeps the order in which they were read.
        ordering = ["at", "pk"]
        constraints = [models.UniqueConstraint(fields=["run", "prefect_id"], name="unique_log_line_per_run")]
        # The second one for those who follow a log: keys of a run become visible in their order.
        indexes = [models.Index(fields=["run", "at"]), models.Index(fields=["run", "id"])]

    def __str__(self) -> str:
        return self.message[:80]
