"""Chains: deployments of one environment that run after each other, their versions, and what was decided at a gate."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from flows.models import Deployment, Environment
from runs.models.change_request import ChangeRequest
from runs.models.request import RunRequest

LONGEST_NAME, LONGEST_KEY = 100, 40
# Attempts of one step, its retries and every resumption among them. The spec of a step is for so many runs, of a step
# that is a backfill for so many of each of its items.
MOST_ATTEMPTS = 20


class Chain(models.Model):
    """A graph of deployments by name; what it runs is in its versions. `runs.automation.chains` is the only writer.

    Its owner is who saved it last. A run of it starts with the permissions of its requester.
    """

    environment = models.ForeignKey(Environment, models.PROTECT, related_name="chains")
    name = models.CharField(max_length=LONGEST_NAME)
    description = models.CharField(max_length=500, blank=True)
    number = models.PositiveIntegerField("version", default=0, help_text="Number of its newest version.")
    is_enabled = models.BooleanField("enabled", default=True, help_text="Steps of a disabled chain do not start.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="chains")
    valid_until = models.DateTimeField("ends", help_text="Then it cannot be run, until it is renewed.")
    reminded_at = models.DateTimeField(null=True, editable=False, help_text="When its owner was notified of its end.")
    obstacle = models.TextField(
        blank=True, editable=False, help_text="Why its owner could not run every step when last checked."
    )
    created_at = models.DateTimeField("created", db_default=Now(), editable=False)
    created_by_name = models.CharField("created by", max_length=200, editable=False)

    class Meta:
        ordering = ["name", "pk"]
        default_permissions = ["view"]
        constraints = [models.UniqueConstraint(fields=["environment", "name"], name="unique_chain_per_environment")]

    def __str__(self) -> str:
        return f"{self.name} in {self.environment}"


class ChainVersion(models.Model):
    """What a chain was from one save to the next, frozen. `runs.automation.chains` is the only writer."""

    chain = models.ForeignKey(Chain, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    definition = models.JSONField(help_text="Inputs and steps: runs/automation/chain_definition.py.")
    digest = models.CharField(max_length=64, help_text="SHA-256 over the definition.")
    saved_at = models.DateTimeField("saved", db_default=Now())
    saved_by_name = models.CharField("saved by", max_length=200)

    class Meta:
        ordering = ["-number"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["chain", "number"], name="unique_number_per_chain")]

    def __str__(self) -> str:
        return f"{self.chain}, version {self.number}"

    def step(self, position: int) -> dict[str, Any]:
        """Return the definition of one step."""
        found: dict[str, Any] = self.definition["steps"][position]
        return found


class ChainStep(models.Model):
    """The deployment of one step of a version, which decides who sees it. `runs.automation.chains` is the only writer.

    By the key that the deployment had when the version was saved; a run looks its name up again.
    """

    version = models.ForeignKey(ChainVersion, models.PROTECT, related_name="steps")
    position = models.PositiveIntegerField()
    key = models.CharField(max_length=LONGEST_KEY)
    deployment = models.ForeignKey(Deployment, models.PROTECT, related_name="chain_steps")

    class Meta:
        ordering = ["version", "position"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["version", "position"], name="unique_position_per_version")]

    def __str__(self) -> str:
        return f"{self.key} of {self.version}"


class ChainRun(models.Model):
    """The version and the inputs of a change request for a run of a chain; its specs are the steps, by position.

    The digest of the change request covers it. `runs.requests` inserts it, and nothing changes it.
    """

    change = models.OneToOneField(ChangeRequest, models.PROTECT, related_name="chain_run")
    version = models.ForeignKey(ChainVersion, models.PROTECT, related_name="chain_runs")
    inputs = models.JSONField(default=dict, help_text="Without those of secret parameters: they are in the specs.")

    class Meta:
        ordering = ["-pk"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"run of {self.version}"


class StepDecision(models.Model):
    """Whether a person let a step start that waited at its gate. `runs.changes.gate_decisions` is the only writer."""

    change = models.ForeignKey(ChangeRequest, models.PROTECT, related_name="step_decisions")
    run_request = models.ForeignKey(RunRequest, models.PROTECT, related_name="step_decisions")
    is_allowed = models.BooleanField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    by_name = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())
    reason = models.CharField(max_length=1000, blank=True)
    signature = models.CharField(max_length=80, blank=True, help_text="Key id and HMAC: runs/audit/signatures.py.")

    class Meta:
        ordering = ["pk"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{'let go' if self.is_allowed else 'rejected'} by {self.by_name}"
