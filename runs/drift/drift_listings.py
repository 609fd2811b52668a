"""Differences between environments as an actor sees them."""

from __future__ import annotations

from django.db.models import OuterRef, Q, QuerySet

from flows.models import Deployment
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.listing import Filter, Listing
from runs.models import Drift, Verb


def sees_both(permissions: Permissions) -> Q:
    """Return the condition for pairs of which the actor sees both deployments."""
    return permissions.q(Verb.SEE, deployment="left__", base="left_") & permissions.q(
        Verb.SEE, deployment="right__", base="right_"
    )


def sees_difference(by: Actor, permissions: Permissions) -> Q:
    return ~Q(kinds=[]) & sees_both(permissions)


def in_either(environment: str) -> Q:
    return Q(left_environment__slug=environment) | Q(right_environment__slug=environment)


def between(pair: str) -> Q:
    """Return the condition for two environments in any order, named as “dev,prod”."""
    one, _, other = pair.partition(",")
    return in_either(one.strip()) & in_either(other.strip())


def named(full_name: str) -> Q:
    return Q(left_name=full_name) | Q(right_name=full_name)


def matches(text: str) -> Q:
    return Q(left_name__icontains=text) | Q(right_name__icontains=text)


DRIFT = Listing(
    "drift",
    Drift,
    sees_difference,
    ("-changed_at", "-pk"),
    {
        "environment": Filter(in_either, str, "Name of an environment that is one of the two."),
        "between": Filter(between, str, "Names of both environments: “dev,prod”."),
        "kind": Filter("kinds__overlap", list[Drift.Kind], "What differs; several match any."),
        "deployment": Filter(named, str, "Full name of the deployment."),
        "search": Filter(matches, str, "Part of the full name."),
    },
    related=("left_environment", "right_environment"),
)


def pairs_of(deployment: Deployment, permissions: Permissions) -> QuerySet[Drift]:
    """Return the pairs of a deployment, also those that do not differ."""
    return about(Q(left=deployment) | Q(right=deployment), permissions)


def pairs_of_row(permissions: Permissions) -> QuerySet[Drift]:
    """Return the same for the deployment of an outer query."""
    return about(Q(left=OuterRef("pk")) | Q(right=OuterRef("pk")), permissions)


def about(condition: Q, permissions: Permissions) -> QuerySet[Drift]:
    return Drift.objects.filter(condition, sees_both(permissions))
