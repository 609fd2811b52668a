"""What can be run: servers, the rules over them, and the deployments mirrored from them."""

from flows.models.automation import Automation
from flows.models.deployment import Alias, Deployment
from flows.models.environment import Environment
from flows.models.flow import Flow
from flows.models.global_limit import GlobalLimit
from flows.models.server import Health, Server
from flows.models.unassigned_deployment import UnassignedDeployment
from flows.models.work_pool import WorkPool, WorkQueue

__all__ = [
    "Alias",
    "Automation",
    "Deployment",
    "Environment",
    "Flow",
    "GlobalLimit",
    "Health",
    "Server",
    "UnassignedDeployment",
    "WorkPool",
    "WorkQueue",
]
