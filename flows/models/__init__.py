"""What can be run: environments, and the deployments mirrored from them."""

from flows.models.deployment import Alias, Deployment
from flows.models.environment import Environment, Health, WorkPool

__all__ = ["Alias", "Deployment", "Environment", "Health", "WorkPool"]
