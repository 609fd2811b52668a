"""Who sees a run of a chain: people who see every deployment of it, because its graph names all of them."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q

from runs.access.decisions import Permissions
from runs.models import ChangeRequest, RunSpec, Verb


def sees_whole_chain(permissions: Permissions) -> Q:
    """Return the condition for the change requests that are runs of chains of which every deployment is visible."""
    seen = permissions.q(Verb.SEE, deployment="deployment__", base="deployment__")
    specs = RunSpec.objects.filter(change=OuterRef("pk"))
    hidden = specs.filter(~Exists(RunSpec.objects.filter(seen, pk=OuterRef("pk"))))
    # The kind first: Postgres evaluates these in their order, and few change requests are chains.
    return Q(kind=ChangeRequest.Kind.CHAIN) & Q(Exists(specs)) & ~Q(Exists(hidden))
