"""Bypasses as an actor sees them."""

from __future__ import annotations

from typing import Literal

from django.db.models import Q

from runs import list_filters
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.listing import Filter, Listing
from runs.models import Bypass, Verb

State = Literal["open", "gone"]


def sees_bypass(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for ways about a deployment that the actor sees.

    One that is about none can start any, so it needs the view of the whole environment.
    """
    of_deployment = Q(deployment__isnull=False) & permissions.q(Verb.SEE, deployment="deployment__")
    return of_deployment | (Q(deployment=None) & permissions.whole_environments(Verb.SEE))


def in_state(state: str) -> Q:
    return {"open": Q(gone_at=None), "gone": Q(gone_at__isnull=False)}.get(state, Q())


BYPASSES = Listing(
    "bypasses",
    Bypass,
    sees_bypass,
    ("-found_at", "-pk"),
    {
        "environment": Filter(list_filters.in_environment, str, "Name of the environment."),
        "kind": Filter("kind__in", list[Bypass.Kind], "Kinds; several match any."),
        "deployment": Filter("deployment__full_name", str, "Full name of the deployment."),
        "state": Filter(in_state, State, "open: still there. gone: no longer."),
    },
    related=("environment__server__health", "deployment"),
)
