"""Resource profiles: sets of job variables under a name, with which runs can be requested."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from flows.models import Environment


class ResourceProfile(models.Model):
    """Job variables, such as CPU, memory and image, for the runs of a work pool, or of all pools of a type.

    Never edited: removed and created again, so that a request names exactly what was there when it was submitted.
    `runs.governance.resource_profiles` is the only writer.
    """

    environment = models.ForeignKey(Environment, models.PROTECT, related_name="resource_profiles")
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=500, blank=True)
    # One of the two.
    pool_name = models.CharField("work pool", max_length=300, blank=True)
    pool_type = models.CharField("type of work pool", max_length=100, blank=True)
    work_queue = models.CharField(max_length=300, blank=True, help_text="Blank: the queue of the deployment.")
    job_variables = models.JSONField(default=dict, help_text="They replace those of the deployment.")
    # Names, as in the stages of a policy: a group that is renamed loses the profile, none gains it.
    groups = ArrayField(models.CharField(max_length=150), default=list, blank=True, help_text="Empty: everyone.")
    allows_agents = models.BooleanField("for AI agents", default=False)
    created_at = models.DateTimeField("created", db_default=Now())
    created_by_name = models.CharField(max_length=200)
    removed_at = models.DateTimeField("removed", null=True)
    removed_by_name = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["name", "-pk"]
        verbose_name = "resource profile"
        default_permissions = ["view"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "name"],
                condition=models.Q(removed_at=None),
                name="unique_profile_per_environment",
            ),
            models.CheckConstraint(
                condition=models.Q(pool_name="", pool_type__gt="") | models.Q(pool_name__gt="", pool_type=""),
                name="profile_has_pool_or_type",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def place(self) -> str:
        """The runs that can have it, in words."""
        return f"work pool {self.pool_name}" if self.pool_name else f"work pools of type {self.pool_type}"

    @property
    def contents(self) -> dict[str, Any]:
        """What a request freezes of it, and what an approval is for."""
        return {"name": self.name, "work_queue": self.work_queue, "job_variables": self.job_variables}
