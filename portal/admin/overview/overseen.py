"""The environments that administrators and auditors oversee, with their open bypasses and unassigned deployments."""

from __future__ import annotations

from collections.abc import Iterable

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


def overseen(request: HttpRequest, visible: Iterable[Environment]) -> list[Environment]:
    """Return the environments that the reader oversees, `with_alarms`: none but for administrators and auditors."""
    # An administrator sees all; an auditor reads the audit trail of every environment, whichever they see.
    if permissions_of(request).is_administrator:
        return list(visible)
    return list(with_alarms(Environment.objects.all())) if rule_changes.oversees(actor_of(request)) else []
