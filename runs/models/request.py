"""Run requests: the occurrences of what was requested."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from flows.models import Deployment, Environment
from flows.models.stored_row import StoredRow
from flows.stored_column import StoredColumn
from flows.wording import deployment_name
from runs.models.change_request import ChangeRequest
from runs.models.run import Run
from runs.models.run_spec import RunSpec


class State(models.TextChoices):
    """The state of a run request; `runs.changes.states` has the legal transitions.

    Rejected, withdrawn and expired follow from the change request.
    """

    HELD = "held", "Waiting for approval"
    APPROVED = "approved", "Queued"
    LAUNCHING = "launching", "Launching"
    LAUNCHED = "launched", "Launched"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    LOST = "lost", "Lost"
    REJECTED = "rejected", "Rejected"
    WITHDRAWN = "withdrawn", "Withdrawn"
    EXPIRED = "expired", "Expired"
    REFUSED = "refused", "Refused at launch"


COLOURS: dict[str, str] = {
    State.HELD: "amber",
    State.APPROVED: "blue",
    State.LAUNCHING: "blue",
    State.LAUNCHED: "blue",
    State.COMPLETED: "green",
    State.FAILED: "red",
    State.CANCELLED: "grey",
    State.LOST: "red",
    State.REJECTED: "red",
    State.WITHDRAWN: "grey",
    State.EXPIRED: "grey",
    State.REFUSED: "red",
}
# States of finished requests. One of them is left only for the state of the run: after a retry in Prefect, or when a
# lost run reappears there.
OVER = frozenset(COLOURS) - {State.HELD, State.APPROVED, State.LAUNCHING, State.LAUNCHED}


# The columns locked at request time. The trigger `frozen` in runs/migrations/triggers.sql refuses to change them.
FROZEN = [
    "change",
    "spec",
    "environment",
    "deployment",
    "occurrence",
    "scheduled_for",
    "mapped_values",
    "requested_at",
    "signature",
]
# The columns that services change afterwards. The portal's database role may update these and no others.
CHANGED = [
    "run",
    "flow_run_id",
    "flow_run_name",
    "run_state",
    "run_started_at",
    "run_ended_at",
    "state",
    "message",
    "changed_at",
    "attempts",
    "check_definition_at",
    "moved_definition",
    "next_attempt_at",
    "launched_at",
    "sent_at",
    "overridden_at",
    "overridden_by_name",
    "failure_accepted_at",
]
# A trigger keeps a request in these states: `closed_stays_closed` in runs/migrations/triggers.sql.
CLOSED = [State.REJECTED, State.WITHDRAWN, State.EXPIRED, State.REFUSED]
# States of a run request that did not do what was asked: a backfill that stops on failure stops at one.
FAILURES = [State.FAILED, State.CANCELLED, State.LOST, State.REFUSED]
# States from which a run request is released, launched or given up.
OPEN = [State.HELD, State.APPROVED, State.LAUNCHING]
UNFINISHED = [*OPEN, State.LAUNCHED]


class RunRequest(StoredRow):
    """One occurrence of a spec: when it starts, its attempts, and the run it became.

    `runs.requests` inserts it. `runs.changes` changes its state, `runs.dispatch` records its attempts,
    `runs.definitions` what its run began with.
    """

    State = State

    change = models.ForeignKey(ChangeRequest, models.PROTECT, related_name="run_requests")
    spec = models.ForeignKey(RunSpec, models.PROTECT, related_name="run_requests", db_index=False)
    # Those of the spec, for lists and indexes.
    environment = models.ForeignKey(Environment, models.PROTECT, related_name="run_requests", db_index=False)
    deployment = models.ForeignKey(Deployment, models.PROTECT, related_name="run_requests", db_index=False)
    run = models.OneToOneField("runs.Run", models.PROTECT, null=True, related_name="run_request")
    # `run` follows when the mirror has read it; until then this is all that links the two.
    flow_run_id = models.UUIDField(
        null=True, unique=True, help_text="Prefect's flow run ID; the run itself is synced later."
    )

    # What became of the run, copied when retention deletes it: `runs.changes.settle`.
    flow_run_name = models.CharField(max_length=300, blank=True)
    run_state = models.CharField(max_length=100, blank=True, help_text="Its last state, as Prefect named it.")
    run_started_at = models.DateTimeField(null=True)
    run_ended_at = models.DateTimeField(null=True)

    occurrence = models.CharField(
        max_length=100,
        blank=True,
        help_text="Which one of its spec, such as the due time; blank if it is the only one.",
    )
    scheduled_for = models.DateTimeField(null=True, blank=True)
    mapped_values = models.JSONField(default=dict, help_text="The values of this occurrence for `RunSpec.mapped`.")
    signature = models.CharField(max_length=80, blank=True, help_text="Key id and HMAC: runs/audit/signatures.py.")
    requested_at = models.DateTimeField(db_default=Now())
    # What lists are sorted and filtered by, under the same name as a run's.
    sort_at = StoredColumn(
        expression=models.F("requested_at"),
        output_field=models.DateTimeField("requested"),
    )

    # State and delivery. `next_attempt_at` is a lease while launching, otherwise the time of the next check.
    state = models.CharField(max_length=10, choices=State)
    message = models.TextField(blank=True, help_text="One sentence that explains the state.")
    changed_at = models.DateTimeField(db_default=Now())
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    launched_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True, help_text="When it was sent to Prefect, which may have its run since.")
    # Set when the run leaves Scheduled and when it begins to run; cleared by `runs.definitions.start_check`.
    check_definition_at = models.DateTimeField(null=True, help_text="When to compare the definition again.")
    moved_definition = models.JSONField(
        default=dict, help_text="The definition that Prefect had when the run started, if it is not the approved one."
    )
    overridden_at = models.DateTimeField(null=True, help_text="When a change window or freeze was overridden for it.")
    overridden_by_name = models.CharField(max_length=200, blank=True)
    failure_accepted_at = models.DateTimeField(
        null=True, help_text="When a person let its backfill go on although this did not complete."
    )

    class Meta:
        ordering = ["-sort_at", "-pk"]
        indexes = [
            # For requeue_due, which looks for due requests every few seconds.
            models.Index(fields=["state", "next_attempt_at"]),
            models.Index(fields=["-sort_at", "-id"], name="requests_sorted"),
            models.Index(fields=["environment", "-sort_at", "-id"], name="requests_sorted_by_environment"),
            models.Index(fields=["deployment", "-sort_at", "-id"], name="requests_sorted_by_deployment"),
            # For what was approved there before: the page of a request that waits compares with it.
            models.Index(
                fields=["deployment", "-launched_at"],
                condition=models.Q(launched_at__isnull=False),
                name="requests_by_launch",
            ),
            # Partial: the few that wait or are under way.
            models.Index(fields=["-sort_at", "-id"], condition=models.Q(state__in=UNFINISHED), name="open_requests"),
        ]
        constraints = [models.UniqueConstraint(fields=["spec", "occurrence"], name="unique_occurrence_per_spec")]

    def __str__(self) -> str:
        return f"Request {self.pk} for {deployment_name(self.spec.deployment_name)} in {self.change.environment_name}"

    @property
    def state_label(self) -> str:
        return self.get_state_display()

    @property
    def state_colour(self) -> str:
        return COLOURS[self.state]

    @property
    def state_row(self) -> RunRequest | Run:
        """What its state word is about: its run, as soon as there is one, so that both pages say the same."""
        return self.run if self.run and self.state == State.LAUNCHED else self

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def idempotency_key(self) -> str:
        """Return the key that makes repeated launches one run: of the occurrence and its deployment.

        Prefect keeps keys per flow: without the deployment in it, another deployment of the flow would get this run.
        """
        spec = self.spec
        parts = [self.change.submission_key, spec.deployment_prefect_id, spec.position or "", self.occurrence]
        return "-".join(["portal", *map(str, parts)]).rstrip("-")
