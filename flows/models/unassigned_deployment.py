"""Deployments in Prefect that belong to no environment, or not to the one that they were in."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from flows.models.environment import Environment
from flows.models.server import Server
from flows.wording import deployment_name


class UnassignedDeployment(models.Model):
    """A deployment as of the last sync that an administrator has to assign. For administrators only.

    `flows.catalog.placement` is the only code that writes it, and deletes it once the deployment is assigned.
    """

    server = models.ForeignKey(Server, models.CASCADE, related_name="unassigned_deployments")
    prefect_id = models.UUIDField()
    full_name = models.CharField("name", max_length=601, help_text="flow name/deployment name, as Prefect writes it")
    work_pool_name = models.CharField("work pool", max_length=300, blank=True)
    tags = ArrayField(models.CharField(max_length=300), default=list, blank=True)
    # PROTECT as for the deployment that is there.
    environment = models.ForeignKey(
        Environment,
        models.PROTECT,
        null=True,
        related_name="unassigned_deployments",
        help_text="Where it stays until an administrator confirms that it moved; null if it was in none.",
    )
    covered_by = ArrayField(
        models.BigIntegerField(), default=list, help_text="Keys of the environments whose scopes it is in now."
    )
    earlier = ArrayField(
        models.BigIntegerField(),
        default=list,
        help_text="Keys of other environments that it was in, or whose scopes it was in.",
    )
    confirmed = models.ForeignKey(
        Environment,
        models.SET_NULL,
        null=True,
        related_name="+",
        help_text="Where an administrator confirmed that it belongs: the next sync assigns it.",
    )
    found_at = models.DateTimeField(help_text="When a sync first found that it has to be assigned.")
    synced_at = models.DateTimeField()

    class Meta:
        ordering = ["full_name", "pk"]
        verbose_name = "unassigned deployment"
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["server", "prefect_id"], name="unique_unassigned_per_server")]

    def __str__(self) -> str:
        return deployment_name(self.full_name)
