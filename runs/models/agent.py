"""AI agents: programs that ask for runs in the name of their owner, within a scope and a budget."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class Agent(models.Model):
    """An AI agent of a person. It acts with that person's grants, within the scopes of its tokens.

    `runs.governance.agents` is the only code that adds and changes it, `runs.changes.agent_stop` stops and starts it.
    The owner never changes: what an agent may do are the grants of its owner.
    """

    name = models.CharField(max_length=60, unique=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="agents")
    purpose = models.CharField(max_length=500)
    # Runs and cancellations in 24 hours, and runs of it that are open at a time.
    requests_per_day = models.PositiveIntegerField("requests a day", default=20)
    requests_at_once = models.PositiveIntegerField("at once", default=3)
    stopped_at = models.DateTimeField(null=True, editable=False)
    stopped_by_name = models.CharField(max_length=200, blank=True, editable=False)
    stopped_why = models.CharField(max_length=500, blank=True, editable=False)
    # Then its owner cannot start it again.
    stopped_by_administrator = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["name"]
        default_permissions = ["view"]

    def __str__(self) -> str:
        return self.name


class AgentStop(models.Model):
    """A stop of all agents, until it is lifted. `runs.changes.agent_stop` is the only code that writes it."""

    why = models.CharField(max_length=500)
    stopped_at = models.DateTimeField(db_default=Now())
    stopped_by_name = models.CharField(max_length=200)
    lifted_at = models.DateTimeField(null=True)
    lifted_by_name = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-stopped_at"]
        default_permissions = ()
        constraints = [
            # One stop is in force, or none.
            models.UniqueConstraint(
                fields=["lifted_at"],
                condition=models.Q(lifted_at=None),
                nulls_distinct=False,
                name="one_stop_of_all_agents",
            )
        ]

    def __str__(self) -> str:
        return f"Stop of all agents by {self.stopped_by_name}"


class AgentUse(models.Model):
    """How often an agent called a tool: all calls are counted, only those that act or are refused are audited.

    `runs.governance.agents` is the only code that writes it.
    """

    agent = models.ForeignKey(Agent, models.CASCADE, related_name="uses")
    tool = models.CharField(max_length=60)
    calls = models.PositiveBigIntegerField(default=1)
    refused = models.PositiveBigIntegerField(default=0)
    last_at = models.DateTimeField()

    class Meta:
        ordering = ["tool"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["agent", "tool"], name="unique_use_per_agent_and_tool")]

    def __str__(self) -> str:
        return f"{self.tool} by {self.agent}"
