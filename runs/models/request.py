"""Requests for runs."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from flows.models import Deployment, Environment
from runs.models.grant import Verb


class State(models.TextChoices):
    """The state of a request; `runs.changes.states` has the legal transitions."""

    WAITING = "waiting", "Waiting for approval"
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
    State.WAITING: "amber",
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
OVER = frozenset(COLOURS) - {State.WAITING, State.APPROVED, State.LAUNCHING, State.LAUNCHED}


# The columns locked at request time: what was requested, and what an approval is for. The trigger `frozen` in
# runs/migrations/triggers.sql refuses to change them. The encrypted parameters are not among them, because key rotation
# rewrites them; the digest shows whether their content is still the same.
FROZEN = [
    "submission_key",
    "environment",
    "deployment",
    "environment_name",
    "api_url",
    "flow_name",
    "deployment_name",
    "deployment_prefect_id",
    "deployment_version",
    "schema_fingerprint",
    "definition",
    "definition_fingerprint",
    "parameters",
    "digest",
    "signature",
    "scheduled_for",
    "tags",
    "run_name",
    "reason",
    "ticket",
    "verb",
    "requested_by",
    "requested_by_name",
    "on_behalf_of",
    "on_behalf_of_name",
    "channel",
    "requested_at",
    "needs_approval",
    "approvals_needed",
    "policy",
    "rerun_of",
    "is_blind",
]
# The columns that services change afterwards. The portal's database role may update these and no others.
CHANGED = [
    "run",
    "flow_run_id",
    "sealed_parameters",
    "state",
    "message",
    "changed_at",
    "expires_at",
    "attempts",
    "check_definition_at",
    "moved_definition",
    "next_attempt_at",
    "launched_at",
    "sent_at",
    "overridden_at",
    "overridden_by_name",
]
# A trigger keeps a request in these states: `closed_stays_closed` in runs/migrations/triggers.sql.
CLOSED = [State.REJECTED, State.WITHDRAWN, State.EXPIRED, State.REFUSED]


class RunRequest(models.Model):
    """A request for one flow run; what was requested is never edited.

    `runs.changes` changes its state, `runs.dispatch` records its attempts, `runs.definitions` what its run began with.
    """

    State = State

    environment = models.ForeignKey(Environment, models.PROTECT, related_name="run_requests")
    deployment = models.ForeignKey(Deployment, models.PROTECT, related_name="run_requests")
    run = models.OneToOneField("runs.Run", models.PROTECT, null=True, related_name="run_request")
    # `run` follows when the mirror has read it; until then this is all that links the two.
    flow_run_id = models.UUIDField(
        null=True, unique=True, help_text="Prefect's flow run ID; the run itself is synced later."
    )

    # Locked at request time: see FROZEN. Names are copied, so that the request reads the same after a rename.
    submission_key = models.UUIDField(
        default=uuid.uuid4, unique=True, help_text="Makes repeated submissions of one form a single request."
    )
    environment_name = models.CharField("environment", max_length=40)
    api_url = models.CharField("API URL", max_length=500, blank=True, help_text="Without a trailing slash.")
    flow_name = models.CharField(max_length=300)
    deployment_name = models.CharField("deployment", max_length=601)
    deployment_prefect_id = models.UUIDField()
    deployment_version = models.CharField(max_length=300, blank=True)
    schema_fingerprint = models.CharField(max_length=64)
    definition = models.JSONField(default=dict, help_text="What would run: `Deployment.definition` at request time.")
    definition_fingerprint = models.CharField(max_length=64, blank=True)
    parameters = models.JSONField(default=dict, help_text="Resolved, without secret values.")
    sealed_parameters = models.BinaryField(default=b"", help_text="Secret values: JSON pointer -> value, encrypted.")
    digest = models.CharField(
        max_length=64, help_text="SHA-256 over the fields locked at request time; approvals quote it."
    )
    signature = models.CharField(max_length=80, blank=True, help_text="Key id and HMAC: runs/audit/signatures.py.")
    scheduled_for = models.DateTimeField(null=True, blank=True)
    tags = ArrayField(models.CharField(max_length=300), default=list, blank=True)
    run_name = models.CharField(max_length=200, blank=True)
    reason = models.CharField(max_length=1000, blank=True)
    ticket = models.CharField(max_length=100, blank=True)
    verb = models.CharField(
        max_length=20, choices=Verb, default=Verb.TRIGGER, help_text="The permission that allowed the request."
    )
    rerun_of = models.ForeignKey("self", models.PROTECT, null=True, related_name="reruns")
    is_blind = models.BooleanField(
        default=False,
        help_text="Re-run by a person without permission to view the values; its requester sees none.",
    )
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="run_requests")
    requested_by_name = models.CharField("requested by", max_length=200)
    on_behalf_of = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        help_text="The person the requester acts for, if any; they cannot approve the request either.",
    )
    on_behalf_of_name = models.CharField("on behalf of", max_length=200, blank=True)
    channel = models.CharField(max_length=20)
    requested_at = models.DateTimeField(db_default=Now())
    needs_approval = models.BooleanField(default=False)
    approvals_needed = models.PositiveSmallIntegerField(
        default=0, help_text="Number of different people who must approve."
    )
    policy = models.JSONField(
        default=dict, help_text="Requirements at request time: Requirements.frozen() in runs.governance.requirements."
    )

    # State and delivery. `next_attempt_at` is a lease while launching, otherwise the time of the next check.
    state = models.CharField(max_length=10, choices=State)
    message = models.TextField(blank=True, help_text="One sentence that explains the state.")
    changed_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True)
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

    class Meta:
        ordering = ["-requested_at"]
        indexes = [
            # For requeue_due, which looks for due requests every few seconds.
            models.Index(fields=["state", "next_attempt_at"]),
            models.Index(fields=["-requested_at"]),
            models.Index(fields=["deployment", "-requested_at"]),
        ]

    def __str__(self) -> str:
        return f"Request {self.pk} for {self.deployment_name} in {self.environment_name}"

    @property
    def state_label(self) -> str:
        return self.get_state_display()

    @property
    def state_colour(self) -> str:
        return COLOURS[self.state]

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def idempotency_key(self) -> str:
        """Return the key that makes repeated launches one run.

        Prefect keeps keys per flow: without the deployment in it, another deployment of the flow would get this run.
        """
        return f"portal-{self.submission_key}-{self.deployment_prefect_id}"
