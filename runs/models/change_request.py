"""Change requests: what somebody asks for, and others may have to approve."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import Now, Upper
from django.utils.functional import cached_property

from flows.models import Environment
from flows.models.stored_row import StoredRow
from flows.wording import deployment_name
from runs.models.agent import Agent

if TYPE_CHECKING:
    from runs.models.request import RunRequest

# The columns locked at request time: what was requested, and what an approval is for. The trigger `frozen` in
# runs/migrations/triggers.sql refuses to change them.
FROZEN = [
    "kind",
    "submission_key",
    "environment",
    "environment_name",
    "requested_by",
    "requested_by_name",
    "on_behalf_of",
    "on_behalf_of_name",
    "agent",
    "occurrence_of",
    "channel",
    "requested_at",
    "reason",
    "ticket",
    "needs_approval",
    "approvals_needed",
    "policy",
    "pacing",
    "contents",
    "digest",
    "signature",
]
# The columns that services change afterwards. The portal's database role may update these and no others.
CHANGED = ["state", "message", "changed_at", "expires_at", "progress", "progress_at", "progress_by_name"]


# State -> colour of its badge; those of a run request for what both have.
COLOURS: dict[str, str] = {
    "waiting": "amber",
    "approved": "blue",
    "rejected": "red",
    "withdrawn": "grey",
    "expired": "grey",
    "closed": "green",
}


class ChangeRequest(StoredRow):
    """What a person requests as one act: a run, several that are approved together, or a change of rules.

    It is never edited. Approvals, comments and an emergency override belong to it. Its specs say what would run, its
    run requests are the occurrences; a change of rules has a `RuleChange` instead. Numbers are shared with run
    requests: a change request for one run has the number of that run request. `runs.requests` inserts it, of rules
    `runs.governance.rule_changes`; `runs.changes` changes its state.
    """

    class Kind(models.TextChoices):
        RUN = "run", "Run"
        BACKFILL = "backfill", "Backfill"
        SCHEDULE = "schedule", "Schedule"
        CHAIN = "chain", "Chain"
        RETRY = "retry", "Retry"
        RULES = "rules", "Change of rules"

    class Progress(models.TextChoices):
        """Whether runs of an approved backfill or chain are being released.

        `runs.changes.pacing` and `runs.automation.chain_pacing` change it.
        """

        RUNNING = "running", "Running"
        PAUSED = "paused", "Paused"
        STOPPED = "stopped", "Stopped"

    class OnFailure(models.TextChoices):
        """What a backfill does when one of its runs did not complete: part of `pacing`."""

        STOP = "stop", "Stop"
        GO_ON = "go_on", "Go on"

    class State(models.TextChoices):
        """`runs.changes.states` has the legal transitions."""

        WAITING = "waiting", "Waiting for approval"
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"
        WITHDRAWN = "withdrawn", "Withdrawn"
        EXPIRED = "expired", "Expired"
        CLOSED = "closed", "Closed"

    # A trigger keeps a change request in these states: `closed_stays_closed` in runs/migrations/triggers.sql.
    OVER = (State.REJECTED, State.WITHDRAWN, State.EXPIRED, State.CLOSED)
    # Their specs are all there when they are submitted, and each has one occurrence.
    FIXED = (Kind.RUN, Kind.BACKFILL)

    kind = models.CharField(max_length=10, choices=Kind, default=Kind.RUN)
    submission_key = models.UUIDField(
        default=uuid.uuid4, unique=True, help_text="Makes repeated submissions of one form a single request."
    )
    environment = models.ForeignKey(
        Environment,
        models.PROTECT,
        null=True,
        related_name="change_requests",
        help_text="Null for a change of rules that concerns several.",
    )
    environment_name = models.CharField("environment", max_length=500)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="change_requests"
    )
    requested_by_name = models.CharField("requested by", max_length=200)
    on_behalf_of = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        null=True,
        related_name="+",
        help_text="The person the requester acts for, if any; they cannot approve the request either.",
    )
    on_behalf_of_name = models.CharField("on behalf of", max_length=200, blank=True)
    # The owner of the agent is then the requester.
    agent = models.ForeignKey(
        Agent, models.PROTECT, null=True, related_name="change_requests", help_text="The AI agent that asked for it."
    )
    occurrence_of = models.ForeignKey(
        "runs.Schedule",
        models.PROTECT,
        null=True,
        related_name="occurrences",
        db_index=False,
        help_text="The schedule of which this is one run, if each of its runs is approved.",
    )
    channel = models.CharField(max_length=20)
    requested_at = models.DateTimeField(db_default=Now())
    reason = models.CharField(max_length=1000, blank=True)
    ticket = models.CharField(max_length=100, blank=True)
    needs_approval = models.BooleanField(default=False)
    approvals_needed = models.PositiveSmallIntegerField(
        default=0, help_text="Number of different people who must approve."
    )
    policy = models.JSONField(
        default=dict, help_text="Requirements at request time: Requirements.frozen() in runs.governance.requirements."
    )
    pacing = models.JSONField(
        default=dict,
        help_text="at_once: the number of its runs that may be open at a time. on_failure: stop, or go_on. schedule: "
        "when they are due.",
    )
    contents = models.CharField(
        max_length=64,
        help_text="SHA-256 over its specs and the start times of its run requests, or its change of rules.",
    )
    digest = models.CharField(
        max_length=64, help_text="SHA-256 over the fields locked at request time; approvals quote it."
    )
    signature = models.CharField(max_length=80, blank=True, help_text="Key id and HMAC: runs/audit/signatures.py.")

    state = models.CharField(max_length=10, choices=State)
    message = models.TextField(blank=True, help_text="One sentence that explains the state.")
    changed_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True)
    progress = models.CharField(max_length=10, choices=Progress, default=Progress.RUNNING)
    progress_at = models.DateTimeField(null=True, help_text="When it was paused, stopped or resumed.")
    progress_by_name = models.CharField(max_length=200, blank=True, help_text="By whom; blank if it stopped.")

    class Meta:
        ordering = ["-requested_at"]
        indexes = [
            # For what waits, on every page, and for what is to be closed; few rows are in either state.
            models.Index(fields=["state"], condition=models.Q(state__in=["waiting", "approved"]), name="open_changes"),
            models.Index(fields=["requested_by", "-requested_at"]),
            models.Index(fields=["requested_by_name", "-requested_at"], name="changes_by_requester"),
            models.Index(fields=["-requested_at", "-id"], name="changes_sorted"),
            models.Index(fields=["ticket"], condition=~models.Q(ticket=""), name="changes_by_ticket"),
            # Those that have a page of their own: a change request for one run is on the page of that run.
            models.Index(fields=["-id"], condition=~models.Q(kind="run"), name="changes_with_a_page"),
            # For the search of requests, which compares in capitals.
            GinIndex(OpClass(Upper("requested_by_name"), name="gin_trgm_ops"), name="changes_search_requester"),
            GinIndex(OpClass(Upper("reason"), name="gin_trgm_ops"), name="changes_search_reason"),
            models.Index(Upper("ticket"), name="changes_search_ticket"),
            models.Index(
                fields=["occurrence_of", "-id"],
                condition=models.Q(occurrence_of__isnull=False),
                name="changes_by_schedule",
            ),
            # For the budget of an agent.
            models.Index(fields=["agent", "-requested_at"], condition=models.Q(agent__isnull=False), name="by_agent"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(environment__isnull=False) | models.Q(kind="rules"),
                name="runs_are_of_one_environment",
            ),
            # A double click, or two people with the same idea: one of them waits.
            models.UniqueConstraint(
                fields=["contents"],
                condition=models.Q(kind="rules", state="waiting"),
                name="unique_waiting_change_of_rules",
            ),
        ]

    def __str__(self) -> str:
        return f"Change request {self.pk} in {self.environment_name}"

    @property
    def state_label(self) -> str:
        # Of these nothing is left to do: "closed" would not say what became of them.
        done = {self.Kind.RULES: "Applied", self.Kind.RETRY: "Approved"}
        return done.get(self.Kind(self.kind), "Closed") if self.state == self.State.CLOSED else self.get_state_display()

    @property
    def state_colour(self) -> str:
        return COLOURS[self.state]

    @property
    def is_backfill(self) -> bool:
        return self.kind == self.Kind.BACKFILL

    @property
    def is_schedule(self) -> bool:
        return self.kind == self.Kind.SCHEDULE

    @property
    def stops_on_failure(self) -> bool:
        return bool(self.pacing.get("on_failure") == self.OnFailure.STOP)

    @property
    def is_held_back(self) -> bool:
        """Whether it was paused, or stopped at a failure: nothing more of it starts until it is resumed."""
        return self.progress != self.Progress.RUNNING

    @cached_property
    def run_request(self) -> RunRequest:
        """The run request of a change request for one run."""
        return self.run_requests.select_related("environment", "deployment__environment", "spec").get()

    @cached_property
    def title(self) -> str:
        """What would run or change, and where: "sales/daily in prod", "12 runs of sales/daily in prod"."""
        if self.kind == self.Kind.RULES:
            return f"{'; '.join(self.rule_change.what)} in {self.environment_name}"
        # All of them, not only their names: lists prefetch the specs of all their change requests.
        return self.title_for(
            [spec.deployment_name for spec in sorted(self.specs.all(), key=lambda each: each.position)]
        )

    def title_for(self, names: Sequence[str]) -> str:
        """Return the title of a change request for runs; `names` are the deployments of its specs, in their order."""
        different = [deployment_name(name) for name in dict.fromkeys(names)]
        what = different[0] if len(names) == 1 else f"{len(names)} runs of {', '.join(different)}"
        return f"{what} in {self.environment_name}"

    @property
    def requester(self) -> str:
        """Who asked for it, and on whose behalf: "ci-robot on behalf of kim"."""
        behalf = f" on behalf of {self.on_behalf_of_name}" if self.on_behalf_of_name else ""
        return f"{self.requested_by_name}{behalf}"

    @property
    def summary(self) -> str:
        """The title within a sentence: "a run of sales/daily in prod"."""
        names = {self.Kind.RUN: "a run of ", self.Kind.RETRY: "a retry of ", self.Kind.SCHEDULE: "a schedule of "}
        return f"{names.get(self.Kind(self.kind), '')}{self.title}"

    @property
    def subject(self) -> ChangeRequest | RunRequest:
        """What audit entries, messages and pages are about: people see a change request for one run as that run."""
        return self.run_request if self.kind == self.Kind.RUN else self
