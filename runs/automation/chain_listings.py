"""Lists of chains, for pages and programs: those of which the reader sees every deployment."""

from __future__ import annotations

from django.db.models import Count, Max, OuterRef, Q, Subquery

from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation import chains, renewals
from runs.listing import Filter, Listing
from runs.listings import IN_ENVIRONMENT
from runs.models import Chain, ChainRun, ChainStep


def sees_chain(by: Actor, permissions: Permissions) -> Q:
    return chains.visible(permissions)


STEPS = ChainStep.objects.filter(version__chain=OuterRef("pk"), version__number=OuterRef("number")).order_by()
RUNS = ChainRun.objects.filter(version__chain=OuterRef("pk")).order_by()
CHAINS = Listing(
    "chains",
    Chain,
    sees_chain,
    ("name", "pk"),
    {
        "environment": Filter("environment__slug", str, IN_ENVIRONMENT.description),
        "name": Filter("name", str, "Its name."),
        "enabled": Filter("is_enabled", bool, "Whether it is enabled."),
        "ended": Filter(renewals.is_ended, bool, "Whether its end has passed."),
    },
    related=("environment", "owner"),
    annotations={
        "step_count": Subquery(STEPS.values("version").annotate(number=Count("pk")).values("number")),
        "last_requested_at": Subquery(
            RUNS.values("version__chain").annotate(at=Max("change__requested_at")).values("at")
        ),
    },
)
