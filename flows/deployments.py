"""Deployments by name: one that is deleted and deployed again has another id in Prefect, and is the same to people."""

from __future__ import annotations

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import F, OuterRef, QuerySet

from flows.models import Deployment


def current(deployment: Deployment) -> Deployment | None:
    """Return the deployment that has this name in its environment now; None if Prefect has none."""
    if deployment.deleted_upstream_at is None:
        return deployment
    deployed = of_one_name(deployment).filter(deleted_upstream_at=None)
    # Prefect's names are unique; two rows can be left of a deletion that no sync has seen yet.
    return deployed.select_related("environment").order_by(F("created_upstream_at").desc(nulls_last=True)).first()


def of_one_name(deployment: Deployment) -> QuerySet[Deployment]:
    """Return the deployments that have or had this name in this environment: their runs are one history."""
    return Deployment.objects.filter(environment=deployment.environment_id, full_name=deployment.full_name)


def with_namesakes(deployments: QuerySet[Deployment]) -> QuerySet[Deployment]:
    """Annotate each deployment with the keys of `of_one_name`."""
    alike = Deployment.objects.filter(environment=OuterRef("environment"), full_name=OuterRef("full_name"))
    return deployments.annotate(namesakes=ArraySubquery(alike.order_by().values("pk")))
