"""Flows, as their deployments name them."""

from __future__ import annotations

from flows.models.deployment import Deployment


class Flow(Deployment):
    """One deployment of a flow, in place of the flow: the portal keeps nothing of a flow that has no deployment.

    A flow is the same in all environments in which deployments name it. Lists have one row for each name.
    """

    class Meta:
        proxy = True
        ordering = ["flow_name"]
        default_permissions = ()
        verbose_name = "flow"

    def __str__(self) -> str:
        return self.flow_name
