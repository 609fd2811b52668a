"""The lists of service levels and their breaches, as the pages and the API read them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import JSONObject

from flows.models import Deployment
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.listing import Filter, Listing
from runs.listings import IN_ENVIRONMENT
from runs.models import Breach, ServiceLevel, Verb

# Of each level, on the page of a deployment.
LAST_BREACHES = 3


def sees_level(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for the levels of visible environments; one that names a deployment needs to see that."""
    named = Deployment.objects.filter(
        permissions.q(Verb.SEE), environment=OuterRef("environment"), full_name=OuterRef("full_name")
    )
    in_environment = Q(environment__in=permissions.environments().values("pk"))
    return in_environment & (Q(full_name="") | Q(Exists(named)))


def sees_breach(by: Actor, permissions: Permissions) -> Q:
    return permissions.q(Verb.SEE, deployment="deployment__", base="deployment__")


def open_breaches(permissions: Permissions) -> QuerySet[Breach]:
    """Return the open breaches of the deployments that a person sees."""
    visible = permissions.q(Verb.SEE, deployment="deployment__", base="deployment__")
    return Breach.objects.filter(visible, cleared_at=None)


def breached_levels(permissions: Permissions) -> QuerySet[ServiceLevel]:
    """Return the levels that a deployment which a person sees does not meet."""
    return ServiceLevel.objects.filter(Exists(open_breaches(permissions).filter(level=OuterRef("pk"))))


@dataclass(frozen=True, slots=True)
class Covering:
    """A level that a deployment has to meet, with its last breaches there as pairs of times, an open one first."""

    level: ServiceLevel
    breaches: list[tuple[datetime, datetime | None]]

    @property
    def is_breached(self) -> bool:
        return bool(self.breaches) and self.breaches[0][1] is None


def covering(deployment: Deployment, namesakes: Collection[int]) -> list[Covering]:
    """Return the levels that a deployment has to meet, in one query. Who sees the deployment sees them.

    `namesakes` are the keys of the deployments of its name, whose breaches count.
    """
    about = Q(full_name__in=["", deployment.full_name], tag__in=["", *deployment.tags])
    breaches = Breach.objects.filter(level=OuterRef("pk"), deployment__in=namesakes)
    last = breaches.order_by(F("cleared_at").desc(nulls_first=True), "-opened_at", "-pk")[:LAST_BREACHES]
    levels = ServiceLevel.objects.filter(about, environment=deployment.environment_id, removed_at=None)
    rows = levels.select_related("owner").order_by("kind", "pk")
    times = JSONObject(opened="opened_at", cleared="cleared_at")
    found = rows.annotate(last=ArraySubquery(last.values(times=times)))
    return [Covering(row, [read_times(each) for each in row.last]) for row in found]


def read_times(found: Mapping[str, str | None]) -> tuple[datetime, datetime | None]:
    opened, cleared = found["opened"], found["cleared"]
    return datetime.fromisoformat(opened or ""), datetime.fromisoformat(cleared) if cleared else None


LEVELS = Listing(
    "levels",
    ServiceLevel,
    sees_level,
    ("-pk",),
    {
        "environment": IN_ENVIRONMENT,
        "deployment": Filter("full_name", str, "Full name of the deployment that it names."),
        "tag": Filter("tag", str, "The tag that it names."),
        "kind": Filter("kind", str, "late, long, unusual, silent or failing."),
        "active": Filter("removed_at__isnull", bool, "false: only those that were removed."),
    },
    related=("environment", "owner"),
)
BREACHES = Listing(
    "breaches",
    Breach,
    sees_breach,
    ("-opened_at", "-pk"),
    {
        "environment": Filter("deployment__environment__slug", str, IN_ENVIRONMENT.description),
        "deployment": Filter("deployment__full_name", str, "Full name of the deployment."),
        "level": Filter("level", int, "Number of the service level."),
        "open": Filter("cleared_at__isnull", bool, "Whether it is still open."),
    },
    related=("level", "deployment__environment"),
)
