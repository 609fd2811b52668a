"""Deployments that have to be assigned, as an actor sees them."""

from __future__ import annotations

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Q

from flows.models import Environment, UnassignedDeployment
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.governance import rule_changes
from runs.listing import Filter, Listing


def sees_unassigned(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for what belongs to no environment: only who oversees all of them sees it."""
    return Q() if rule_changes.reads_trail(by) else Q(pk__in=[])


UNASSIGNED = Listing(
    "unassigned deployments",
    UnassignedDeployment,
    sees_unassigned,
    ("full_name", "pk"),
    {
        "environment": Filter("environment__slug", str, "Name of the environment that it stays in."),
        "search": Filter("full_name__icontains", str, "Part of the full name."),
        "tag": Filter("tags__contains", list[str], "Has all these tags."),
    },
    related=("server", "environment", "confirmed"),
    annotations={
        "places": ArraySubquery(
            Environment.objects.filter(pk__any_of=OuterRef("covered_by")).order_by("slug").values("slug")
        )
    },
)
