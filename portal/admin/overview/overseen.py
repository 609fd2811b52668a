"""Who oversees every environment, and the open bypasses and unassigned deployments of environments."""

from __future__ import annotations

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from flows.models import Environment, UnassignedDeployment
from portal.auth.request_user import actor_of, permissions_of
from runs.governance import rule_changes
from runs.models import Bypass


def with_alarms(environments: QuerySet[Environment]) -> QuerySet[Environment]:
    """Add `ways`, the bypasses that are open, and `unassigned`, the unassigned deployments of the server.

    Environments can share a server.
    """
    open_ways = Bypass.objects.filter(environment=OuterRef("pk"), gone_at=None).order_by().values("environment")
    open_ways = open_ways.annotate(number=Count("pk"))
    unassigned = UnassignedDeployment.objects.filter(server=OuterRef("server")).order_by().values("server")
    unassigned = unassigned.annotate(number=Count("pk"))
    return environments.annotate(
        ways=Coalesce(Subquery(open_ways.values("number")), 0),
        unassigned=Coalesce(Subquery(unassigned.values("number")), 0),
    )


def is_overseer(request: HttpRequest) -> bool:
    """Return whether the reader oversees every environment: administrators and auditors, whichever they see."""
    return permissions_of(request).is_administrator or rule_changes.oversees(actor_of(request))
