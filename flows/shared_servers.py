"""Which environments share the readings of a Prefect server: one, or all that have a scope of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from hashlib import sha256

from flows import canonical
from flows.models import Environment
from flows.scopes import Kind
from flows.server_identity import connection_of


def read_together(environment: Environment) -> list[Environment]:
    """Return the environments into which the server of this one is read at once, by their keys; it is one of them."""
    others = Environment.objects.filter(server=environment.server_id, is_active=True).exclude(pk=environment.pk)
    if not environment.is_scoped:
        # Saving refuses both at once. Should they be there all the same, a deployment is in two scopes, and in neither
        # environment.
        others = others.exclude(scope_kind=Kind.SERVER)
    return sorted([environment, *others.select_related("server")], key=lambda each: each.pk)


def reading_of(environments: Iterable[Environment]) -> str:
    """Return a digest that changes with how a server is reached, and with what of it belongs to which environment.

    After any of these has changed, what was read before says nothing.
    """
    environments = list(environments)
    connection = connection_of(environments[0].server)
    scoped = [[each.pk, str(each.scope_kind), sorted(each.scope_values)] for each in environments if each.is_scoped]
    return sha256(f"{connection} {canonical.digest(scoped)}".encode()).hexdigest() if scoped else connection


def keys_of(environments: Collection[Environment]) -> list[int]:
    return [each.pk for each in environments]
