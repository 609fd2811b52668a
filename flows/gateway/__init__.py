"""One Prefect environment over HTTP: the only code that speaks to Prefect."""

from flows.gateway.client import Gateway, for_environment
from flows.records import Credential

__all__ = ["Credential", "Gateway", "for_environment"]
