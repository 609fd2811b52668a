"""What can be run: environments, the deployments mirrored from them, and who may do what with them."""

from flows.models.deployment import Alias, Deployment
from flows.models.environment import Environment, Health, WorkPool
from flows.models.grant import Grant, Selector, Verb

__all__ = ["Alias", "Deployment", "Environment", "Grant", "Health", "Selector", "Verb", "WorkPool"]
