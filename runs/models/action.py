"""Actions on what exists in Prefect: cancel a run, recover it, pause a deployment or work pool, change a limit."""

from __future__ import annotations

from typing import TypedDict

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from flows.models import Deployment, GlobalLimit, WorkPool, WorkQueue
from flows.models.stored_row import StoredRow
from runs.models.run import Run


class Kind(models.TextChoices):
    CANCEL = "cancel", "Cancel"
    FORCE = "force", "Force cancel"
    PUT_BACK = "put back", "Put back"
    FAIL = "fail", "Mark as failed"
    RETRY = "retry", "Retry"
    PAUSE = "pause", "Pause"
    RESUME = "resume", "Resume"
    LIMIT = "limit", "Change limits"
    SCHEDULE = "schedule", "Save schedule"
    PAUSE_ONE = "pause one", "Pause schedule"
    RESUME_ONE = "resume one", "Resume schedule"


class State(models.TextChoices):
    """The legal moves are in `runs.actions`."""

    WANTED = "wanted", "Queued"
    SENT = "sent", "Sent"
    DONE = "done", "Done"
    OVERTAKEN = "overtaken", "Overtaken"
    FAILED = "failed", "Failed"


# Families: a run has at most one open action of each.
CANCELS = (Kind.CANCEL, Kind.FORCE)
RECOVERIES = (Kind.PUT_BACK, Kind.FAIL)
RETRIES = (Kind.RETRY,)
ON_RUN = (*CANCELS, *RECOVERIES, *RETRIES)
# Of the schedules of a deployment, or of the work of a pool or queue.
PAUSES = (Kind.PAUSE, Kind.RESUME)
LIMITS = (Kind.LIMIT,)
# Of one schedule that Prefect keeps for the portal: on its deployment.
SCHEDULES = (Kind.SCHEDULE,)
# Of one schedule that Prefect has from code, or that was made there: on its deployment.
SINGLE_PAUSES = (Kind.PAUSE_ONE, Kind.RESUME_ONE)
# On a deployment, a work pool, a work queue or a global limit: one of these columns.
ON_CAPACITY = (*PAUSES, *LIMITS)
CAPACITIES = ("deployment", "pool", "queue", "global_limit")
# Not settled yet: sent is not enough, what Prefect has afterwards decides.
OPEN = (State.WANTED, State.SENT)
# Where a state has another name than its own.
CANCEL_LABELS = {
    State.SENT: "Cancelling",
    State.DONE: "Cancelled",
    State.OVERTAKEN: "Finished before the cancellation",
    State.FAILED: "Could not be sent",
}
RECOVERY_LABELS = {State.OVERTAKEN: "The run moved first", State.FAILED: "Not done"}
LABELS: dict[Kind, dict[State, str]] = {
    **dict.fromkeys(CANCELS, CANCEL_LABELS),
    **dict.fromkeys([*RECOVERIES, *RETRIES], RECOVERY_LABELS),
    **{kind: {State.OVERTAKEN: "Changed by someone else first", State.FAILED: "Not done"} for kind in ON_CAPACITY},
    **{kind: {State.FAILED: "Not done"} for kind in SCHEDULES},
    **{kind: {State.FAILED: "Not done", State.OVERTAKEN: "Withdrawn"} for kind in SINGLE_PAUSES},
}
COLOURS: dict[State, str] = {
    State.WANTED: "amber",
    State.SENT: "amber",
    State.DONE: "green",
    State.OVERTAKEN: "blue",
    State.FAILED: "red",
}
# How an action is named with its target.
NAMES: dict[Kind, str] = {
    **dict.fromkeys(CANCELS, "Cancel {}"),
    **{kind: f"{kind.label}: {{}}" for kind in (*RECOVERIES, *RETRIES)},
    **{kind: f"{kind.label} {{}}" for kind in PAUSES},
    **{kind: f"{kind.label} of {{}}" for kind in (*LIMITS, *SCHEDULES, *SINGLE_PAUSES)},
}
# How Prefect's own pages name what a recovery or a retry did.
MARKS = {Kind.PUT_BACK: "Put back", Kind.FAIL: "Marked as failed", Kind.RETRY: "Retried"}


type Capacity = Deployment | WorkPool | WorkQueue | GlobalLimit


class Before(TypedDict, total=False):
    """What the target was when the action was decided, as far as it matters for the action."""

    state_id: str
    state: str
    stalled: str
    is_paused: bool
    concurrency_limit: int | None
    collision_strategy: str
    priority: int
    is_active: bool
    slot_decay_per_second: float
    # Whether Prefect has the limit.
    is_there: bool
    # When a schedule of a deployment is due, and the fingerprint of all of it but whether it is active.
    schedule: str
    fingerprint: str


def is_on(column: str = "") -> Q:
    """Return the condition that of the columns of `CAPACITIES` this one is set; by default none."""
    return Q(**{f"{each}__isnull": each != column for each in CAPACITIES})


class Action(StoredRow):
    """One act on a run, a deployment, a work pool, a work queue or a limit in Prefect, and its result.

    `runs.actions` is the only code that creates and moves it; `runs.dispatch` carries it out.
    """

    kind = models.CharField(max_length=10, choices=Kind)
    run = models.ForeignKey(Run, models.PROTECT, null=True, related_name="actions")
    deployment = models.ForeignKey(Deployment, models.PROTECT, null=True, related_name="actions")
    pool = models.ForeignKey(WorkPool, models.PROTECT, null=True, related_name="actions")
    queue = models.ForeignKey(WorkQueue, models.PROTECT, null=True, related_name="actions")
    global_limit = models.ForeignKey(GlobalLimit, models.PROTECT, null=True, related_name="actions")
    schedule = models.ForeignKey(
        "runs.Schedule", models.PROTECT, null=True, related_name="actions", help_text="The schedule that Prefect keeps."
    )
    prefect_schedule = models.UUIDField(
        null=True, help_text="Prefect's id of the one schedule of a deployment that is paused or resumed."
    )
    # Compared with what Prefect has just before it is sent: a run that has moved, or a limit that someone else has
    # changed, is left alone.
    before = models.JSONField(default=dict, help_text="What the target was when the action was decided.")
    wanted = models.JSONField(default=dict, help_text="What a work pool, a queue or a limit is to be set to.")
    state = models.CharField(max_length=10, choices=State, default=State.WANTED)
    reason = models.CharField(max_length=1000, blank=True)
    ticket = models.CharField(max_length=100, blank=True)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="actions")
    requested_by_name = models.CharField(max_length=200)
    agent = models.ForeignKey(
        "runs.Agent", models.PROTECT, null=True, related_name="actions", help_text="The AI agent that asked for it."
    )
    requested_at = models.DateTimeField(db_default=Now())
    is_automatic = models.BooleanField(default=False, help_text="Decided by the portal, without a person.")
    # Tells the pauses of a freeze from those of people: only the former are undone when it ends.
    freeze = models.ForeignKey(
        "runs.Freeze",
        models.SET_NULL,
        null=True,
        related_name="actions",
        help_text="The freeze that paused the schedules, or that did until now.",
    )
    change = models.ForeignKey(
        "runs.ChangeRequest",
        models.PROTECT,
        null=True,
        related_name="actions",
        help_text="The change request by whose approval it was decided, if it needed one.",
    )
    # Lease and retries, as for run requests: see runs/dispatch/leases.py.
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True, help_text="When it was last sent; the answer may have been lost.")
    settled_at = models.DateTimeField(null=True)
    message = models.TextField(blank=True)

    class Meta:
        ordering = ["-requested_at"]
        indexes = [
            # What is due is looked for every few seconds; the rows that are settled stay.
            models.Index(fields=["next_attempt_at"], condition=Q(state__in=[*OPEN]), name="open_actions")
        ]
        constraints = [
            models.CheckConstraint(
                condition=(Q(kind__in=[*ON_RUN], run__isnull=False) & is_on())
                | (
                    Q(kind__in=[*ON_CAPACITY], run__isnull=True)
                    & (is_on("deployment") | is_on("pool") | is_on("queue") | is_on("global_limit"))
                )
                | (Q(kind__in=[*SCHEDULES], run__isnull=True, schedule__isnull=False) & is_on("deployment"))
                | (
                    Q(kind__in=[*SINGLE_PAUSES], run__isnull=True, prefect_schedule__isnull=False) & is_on("deployment")
                ),
                name="action_has_its_target",
            ),
            # The row lock on the run prevents these; the constraints hold it for code that forgets the lock.
            models.UniqueConstraint(
                fields=["run"],
                condition=Q(kind__in=[*CANCELS], state__in=[*OPEN]),
                name="unique_open_cancellation_per_run",
            ),
            models.UniqueConstraint(
                fields=["run"],
                condition=Q(kind__in=[*RECOVERIES], state__in=[*OPEN]),
                name="unique_open_recovery_per_run",
            ),
            models.UniqueConstraint(
                fields=["run"],
                condition=Q(kind__in=[*RETRIES], state__in=[*OPEN]),
                name="unique_open_retry_per_run",
            ),
            # Of two changes of one limit the second would be compared with what the first is about to change.
            *(
                models.UniqueConstraint(
                    fields=[column],
                    condition=Q(kind__in=[*LIMITS], state__in=[*OPEN]),
                    name=f"unique_open_limit_per_{column}",
                )
                for column in CAPACITIES
            ),
            # What is to be saved is read when it is sent, so one is enough, and two at once would undo each other.
            models.UniqueConstraint(
                fields=["schedule"],
                condition=Q(kind__in=[*SCHEDULES], state__in=[*OPEN]),
                name="unique_open_save_per_schedule",
            ),
            # Of a pause and a resumption that are open at once the last to be sent would count.
            models.UniqueConstraint(
                fields=["deployment", "prefect_schedule"],
                condition=Q(kind__in=[*SINGLE_PAUSES], state__in=[*OPEN]),
                name="unique_open_pause_per_prefect_schedule",
            ),
            models.UniqueConstraint(
                fields=["run"],
                condition=Q(kind__in=[*RECOVERIES], is_automatic=True),
                name="unique_automatic_recovery_per_run",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.state_label})"

    @property
    def name(self) -> str:
        """What is done to which target."""
        return self.title if "is_there" in self.wanted else NAMES[Kind(self.kind)].format(self.target)

    @property
    def title(self) -> str:
        """What is done, on the page of its target; a limit that is created has no page yet."""
        if (is_there := self.wanted.get("is_there")) is not None:
            return f"{'Create' if is_there else 'Delete'} concurrency limit {self.target}"
        # Of a deployment with several schedules, which one.
        return f"{self.get_kind_display()} {self.wanted.get('schedule', '')}".strip()

    @property
    def target(self) -> Run | Capacity:
        return self.target_run if self.run_id else self.target_capacity

    @property
    def target_capacity(self) -> Capacity:
        """The deployment, work pool, work queue or global limit."""
        return self.pool or self.queue or self.global_limit or self.target_deployment

    @property
    def target_run(self) -> Run:
        if self.run is None:
            raise TypeError(f"Action {self.pk} ({self.kind}) is not on a run.")
        return self.run

    @property
    def target_deployment(self) -> Deployment:
        if self.deployment is None:
            raise TypeError(f"Action {self.pk} ({self.kind}) is not on a deployment.")
        return self.deployment

    @property
    def state_label(self) -> str:
        state = State(self.state)
        return LABELS[Kind(self.kind)].get(state, str(state.label))

    @property
    def state_colour(self) -> str:
        is_cancelled = self.kind in CANCELS and self.state == State.DONE
        return "grey" if is_cancelled else COLOURS[State(self.state)]

    @property
    def mark(self) -> str:
        """Return the message of the state in Prefect, by which an attempt whose answer was lost is recognized."""
        return f"{MARKS[Kind(self.kind)]} through the portal (action {self.pk})."
