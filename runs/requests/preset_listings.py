"""The list of presets: one's own, and those that others share of deployments whose parameters one can view."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db.models import CharField, F, Func, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce

from flows.models import Deployment
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.listing import Filter, Listing
from runs.listings import IN_ENVIRONMENT
from runs.models import Preset, Verb

NAMED = Deployment.objects.filter(environment=OuterRef("environment"), full_name=OuterRef("full_name"))
TAGS: ArrayField[list[str], list[str]] = ArrayField(CharField())


def sees_preset(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for the presets that the actor sees.

    The values of others need the permission to view parameters, as those of a run do.
    """
    others = Q(is_shared=True) & permissions.q(Verb.SEE_INPUTS)
    return permissions.q(Verb.SEE) & (Q(owner=by.user) | others)


def with_deployments(rows: list[Preset], permissions: Permissions | None = None) -> list[Preset]:
    """Set `deployed` on each: the deployment as it is now, whose schema says what is secret. One query for all."""
    keys = {row.deployment_id for row in rows}  # type: ignore[attr-defined]  # annotated by the listing
    found = Deployment.objects.in_bulk([key for key in keys if key is not None])
    for row in rows:
        row.deployed = found.get(row.deployment_id)  # type: ignore[attr-defined]  # for these rows
    return rows


PRESETS = Listing(
    "presets",
    Preset,
    sees_preset,
    ("full_name", "name", "pk"),
    {
        "environment": IN_ENVIRONMENT,
        "deployment": Filter("full_name", str, "Full name of the deployment."),
        "name": Filter("name", str, "Name of the preset."),
        "owner": Filter("owner__username", str, "User name of the owner."),
        "shared": Filter("is_shared", bool, "Whether it is shared."),
    },
    related=("environment", "owner"),
    # What grants are matched by. The tags are those of the last known deployment, deleted or not: a grant by tag must
    # not end with a redeploy.
    annotations={
        "flow_name": Func(F("full_name"), Value("/"), Value(1), function="SPLIT_PART", output_field=CharField()),
        "tags": Coalesce(Subquery(NAMED.order_by("-synced_at").values("tags")[:1]), Value([], output_field=TAGS)),
        "deployment_id": Subquery(NAMED.filter(deleted_upstream_at=None).order_by("-pk").values("pk")[:1]),
    },
    keep=with_deployments,
)
