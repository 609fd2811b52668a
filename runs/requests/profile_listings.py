"""The list of resource profiles, as the pages and the API read it."""

from __future__ import annotations

from django.db.models import Q

from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.listing import Filter, Listing
from runs.listings import IN_ENVIRONMENT
from runs.models import ResourceProfile


def sees_profile(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for the profiles of visible environments: they hold no secrets."""
    return Q(environment__in=permissions.environments().values("pk"))


RESOURCE_PROFILES = Listing(
    "resource_profiles",
    ResourceProfile,
    sees_profile,
    ("name", "pk"),
    {
        "environment": IN_ENVIRONMENT,
        "name": Filter("name", str, "Name of the profile."),
        "pool": Filter("pool_name", str, "Name of the work pool that it is for."),
        "type": Filter("pool_type", str, "Type of the work pools that it is for."),
        "active": Filter("removed_at__isnull", bool, "false: only those that were removed."),
    },
    related=("environment",),
)
