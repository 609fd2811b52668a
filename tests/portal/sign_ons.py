"""Single sign-on in tests: a provider on this machine, and the steps that a browser takes to it and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from django.test import Client
from django.urls import reverse
from oidc_provider_mock import run_server_in_thread

NAME = "Example ID"


def settings_of(issuer: str) -> dict[str, str]:
    """What an operator sets to use the provider."""
    return {
        "SSO_ISSUER": issuer,
        "SSO_NAME": NAME,
        "SSO_CLIENT_ID": "portal",
        "SSO_CLIENT_SECRET": "secret-of-the-portal",
    }


def use(settings: Any, issuer: str) -> None:
    for name, value in settings_of(issuer).items():
        setattr(settings, name, value)


@contextmanager
def provider() -> Iterator[str]:
    """Run a provider on a free port for as long as the block; yields its issuer."""
    with run_server_in_thread(require_nonce=True) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def someone(issuer: str, subject: str, **claims: Any) -> None:
    """Make an identity of the provider, or change it."""
    httpx.put(f"{issuer}/users/{subject}", json=claims).raise_for_status()


def leave(client: Client, **query: Any) -> str:
    """Return the address at the provider to which the portal sends the browser."""
    answer = client.get(reverse("sign_on"), query)
    assert answer.status_code == 302, answer.content.decode()
    return str(answer["Location"])


def consent(address: str, subject: str) -> str:
    """Sign in at the provider, and return the address to which it sends the browser."""
    answer = httpx.post(address, data={"sub": subject})
    return str(answer.headers["Location"])


def come_back(client: Client, address: str) -> Any:
    parts = urlsplit(address)
    assert parts.path == reverse("sign_on_return")
    return client.get(f"{parts.path}?{parts.query}")


def query_of(address: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
