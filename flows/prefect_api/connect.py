"""The client of an environment; a setting lets tests use their fake."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from django.conf import settings
from django.utils.module_loading import import_string

from flows.models import Environment
from flows.prefect_api.client import PrefectClient
from flows.prefect_api.records import Credential, CredentialKind

ClientFactory = Callable[[str, Credential], PrefectClient]


def client_for(environment: Environment) -> PrefectClient:
    """The process's one client for this environment."""
    connect = cast(ClientFactory, import_string(settings.PREFECT_CLIENT))
    return connect(
        environment.api_url, Credential(cast(CredentialKind, environment.credential_kind), environment.credential)
    )
