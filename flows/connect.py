"""The gateway of an environment; tests put their fake here by a setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from django.conf import settings
from django.utils.module_loading import import_string

from flows.gateway import Gateway
from flows.models import Environment
from flows.records import Credential, CredentialKind

Connect = Callable[[str, Credential], Gateway]


def to(environment: Environment) -> Gateway:
    """The process's one client for this environment."""
    connect = cast(Connect, import_string(settings.GATEWAY))
    return connect(
        environment.api_url, Credential(cast(CredentialKind, environment.credential_kind), environment.credential)
    )
