"""Refuse to store the catalog of a server that another environment has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import connection

from flows import server_identity
from flows.models import Environment
from flows.prefect_api.records import PrefectError

# Key of the advisory lock; any constant that nothing else uses.
CATALOG_LOCK = 0x636174616C6F67


class SameServer(PrefectError):
    """The server of these environments has deployments of other active ones, which are the `others`."""

    def __init__(self, environments: Sequence[Environment], others: list[Environment]) -> None:
        names = ", ".join(map(str, others))
        mine = " and ".join(map(str, environments))
        verb = "is" if len(environments) == 1 else "are"
        super().__init__(
            f"{mine} {verb} the same Prefect server as {names}: their deployments have the same ids. Disable one, or "
            "enter the same URL for each and give each a scope of the server.",
            code="environment.same_server",
        )
        self.environments = environments
        self.others = others


def require_own_server(environments: Sequence[Environment], prefect_ids: Iterable[UUID]) -> None:
    """Raise `SameServer` unless no other active environment than these has one of these deployments.

    Call it in the transaction that inserts them.
    """
    # One catalog at a time: two new environments that are synced at once would not see each other's rows.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CATALOG_LOCK])
    others = server_identity.with_deployments(environments, prefect_ids)
    if others:
        raise SameServer(environments, others)
