"""The list of failure groups, as the pages and the API read it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Literal

from django.db.models import Q
from django.utils import timezone

from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.listing import Filter, Listing
from runs.listings import IN_ENVIRONMENT
from runs.models import FailureGroup, Verb
from runs.models.failure import in_states

# The states, and all that are neither muted nor resolved.
ListedState = Literal["new", "known", "muted", "resolved", "regressed", "open"]
DEPLOYMENT = "access_deployment__"


def sees_failure(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for the groups of deployments that the actor sees."""
    return permissions.q(Verb.SEE, deployment=DEPLOYMENT)


def in_shown_states(states: Collection[str]) -> Q:
    return in_states(states, timezone.now())


def search_messages(text: str) -> Q:
    return Q(pattern__icontains=text) | Q(exception__icontains=text)


FAILURES = Listing(
    "failures",
    FailureGroup,
    sees_failure,
    ("-last_seen_at", "-pk"),
    {
        "environment": IN_ENVIRONMENT,
        "deployment": Filter("what", str, "Full name of the deployment, or the name of the flow without one."),
        "state": Filter(in_shown_states, list[ListedState], "States; open is new, known or regressed. Any may match."),
        "owner": Filter("owner__username", str, "User name of the owner."),
        "task": Filter("task_name", str, "The task that failed."),
        "search": Filter(
            search_messages,
            str,
            "A part of the exception or the message. On failures whose log the token can view.",
            needs=Verb.SEE_LOGS,
            shortest=3,
        ),
        "since": Filter("last_seen_at__gte", datetime, "Last seen not before this time."),
        "until": Filter("last_seen_at__lt", datetime, "Last seen before this time."),
    },
    deployment=DEPLOYMENT,
    related=("environment", "access_deployment__environment", "owner"),
    only=(
        *("environment__slug", "environment__is_protected", "access_deployment__full_name", "owner__username"),
        *("access_deployment__flow_name", "access_deployment__tags", "access_deployment__environment__slug"),
        *("access_deployment__environment__is_protected", "flow_name", "what", "task_name"),
        *("exception", "pattern", "message", "state", "state_at", "state_by_name", "reason", "muted_until", "number"),
        *("first_seen_at", "last_seen_at"),
    ),
)
