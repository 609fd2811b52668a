"""Global concurrency limits as an actor sees them."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q

from flows.models import GlobalLimit
from runs import list_filters
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.listing import Filter, Listing
from runs.models import Verb


def sees_limit(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for the limits in Prefect that a visible deployment shares, or of whole environments."""
    return Q(deleted_upstream_at=None) & sees_row(permissions)


def sees_row(permissions: Permissions) -> Q:
    """Return the same for all limits, also deleted ones and those that Prefect is to have: for their actions."""
    sharing = permissions.deployments().filter(
        environment=OuterRef("environment"), shared_limit=OuterRef("name"), deleted_upstream_at=None
    )
    whole = permissions.whole_environments(Verb.SEE)
    return Q(Exists(sharing.order_by())) | whole


GLOBAL_LIMITS = Listing(
    "concurrency_limits",
    GlobalLimit,
    sees_limit,
    ("name", "pk"),
    {
        "environment": Filter(list_filters.in_environment, str, "Name of the environment."),
        "name": Filter("name", str, "Name of the limit; that of a tag begins with “tag:”."),
        "active": Filter("is_active", bool, "Whether it limits anything."),
    },
    related=("environment__server",),
)
