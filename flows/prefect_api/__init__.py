"""One Prefect environment over HTTP: the only code that speaks to Prefect."""

from flows.prefect_api.client import PrefectClient, for_environment
from flows.prefect_api.records import Credential

__all__ = ["Credential", "PrefectClient", "for_environment"]
