"""The identity of a Prefect server: what the rules of one environment forbid could be run through another on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from hashlib import sha256
from urllib.parse import urlsplit
from uuid import UUID

from flows.models import Deployment, Environment, Server

DEFAULT_PORTS = {"http": 80, "https": 443}


def with_address(environment: Environment) -> list[Environment]:
    """Return the other active environments whose API URL names the same host, port and path."""
    others = Environment.objects.filter(is_active=True).exclude(pk=environment.pk).select_related("server")
    address = normalize(environment.server.api_url)
    return [other for other in others if normalize(other.server.api_url) == address]


def with_deployments(environments: Collection[Environment], prefect_ids: Iterable[UUID]) -> list[Environment]:
    """Return the active environments other than these that have one of these deployments.

    Ids are random, so they prove what an address cannot: one server has many names.
    """
    found = Deployment.objects.filter(
        prefect_id__in=list(prefect_ids), deleted_upstream_at=None, environment__is_active=True
    ).exclude(environment__in=[each.pk for each in environments])
    return list(Environment.objects.filter(pk__in=found.values("environment")))


def is_same_address(one: str, other: str) -> bool:
    """Return whether two API URLs differ by a trailing slash at most: in Prefect Cloud all workspaces share a host."""
    return one.rstrip("/") == other.rstrip("/")


def connection_of(server: Server) -> str:
    """Return a digest that changes with the address and the credential: another key can open another workspace."""
    credential = bytes(server.sealed_credential).hex()
    return sha256(f"{server.api_url} {server.credential_kind} {credential}".encode()).hexdigest()


def normalize(api_url: str) -> tuple[str, str, int | None, str]:
    """Return scheme, host, port and path of a URL, so that two spellings of one address are equal."""
    parts = urlsplit(api_url)
    # A host name can end in the dot of the DNS root.
    host = (parts.hostname or "").rstrip(".")
    return parts.scheme, host, parts.port or DEFAULT_PORTS.get(parts.scheme), parts.path.rstrip("/")
