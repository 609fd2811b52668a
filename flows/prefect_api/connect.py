"""The client of an environment. The setting PREFECT_CLIENT lets tests use a fake."""

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
    """Return the process's client for this environment; raise `DecryptionError` if its credential cannot be read."""
    # Looked up at each call and not at import: tests change the setting.
    create_client = cast(ClientFactory, import_string(settings.PREFECT_CLIENT))
    return create_client(
        environment.api_url, Credential(cast(CredentialKind, environment.credential_kind), environment.credential)
    )
