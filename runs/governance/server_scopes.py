"""Several environments on one Prefect server: which of them can be saved, and what that loosens beside them."""

from __future__ import annotations

from collections.abc import Iterator

from flows import scopes, server_identity
from flows.models import Deployment, Environment, Server
from runs.errors import Refused
from runs.governance.loosening import Loosening, is_guarded


def require_own_server(environment: Environment) -> None:
    """Refuse a second active environment on one server, unless both have scopes of it that can stand together.

    The rules of one would not hold for the other.
    """
    if mistake := scopes.mistake(environment.scope):
        raise Refused("scope.values", mistake)
    if not environment.is_active:
        return
    beside = server_identity.with_address(environment)
    deployments = Deployment.objects.filter(environment_id=environment.pk, deleted_upstream_at=None)
    others = [
        *(each for each in beside if not (each.is_scoped and environment.is_scoped)),
        *server_identity.with_deployments([environment, *beside], deployments.values_list("prefect_id", flat=True)),
    ]
    if others:
        raise Refused(
            "environment.same_server",
            f"{others[0]} is on the same Prefect server. Disable it first, enter the URL of another server, or give "
            "both a scope of the server.",
            other=others[0].slug,
        )
    for other in beside:
        if why := scopes.overlap(environment.scope, other.scope):
            raise Refused(
                "scope.overlap",
                f"The scopes of {environment} and {other} can overlap: {why}. A deployment must belong to one of them.",
                other=other.slug,
            )


def scope_loosenings(stored: Environment | None, environment: Environment, row: Server | None) -> Iterator[Loosening]:
    """Yield a loosening for each protected environment on a server, if a scope beside it is added or changed.

    What was in none of the scopes could be run by it, and what is in two can be run in neither.
    """
    columns = ("scope_kind", "scope_values", "is_active")
    is_moved = stored is None or row is None or stored.server_id != row.pk
    is_changed = stored is None or any(getattr(stored, name) != getattr(environment, name) for name in columns)
    has_scope = environment.is_scoped or (stored is not None and stored.is_scoped)
    if has_scope and (is_moved or is_changed):
        servers = [each for each in (row and row.pk, stored and stored.server_id) if each]
        beside = Environment.objects.filter(server__in=servers).exclude(pk=environment.pk).order_by("slug")
        for each in filter(is_guarded, beside):
            yield Loosening("environment.scope_beside", each.slug, f"scope of {environment} on the same server changed")
