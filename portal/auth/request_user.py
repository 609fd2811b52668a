"""Who is looking: their grants for pages, and the actor that verbs want. Imports no admin, which imports it."""

from __future__ import annotations

from django.http import HttpRequest

from flows.models import Deployment
from runs.access.decisions import Permissions, Target
from runs.actors import Actor, Channel
from runs.models import Run, RunRequest
from runs.requests import visibility

# People who may view or change grants, or read the audit trail, see all grants.
READERS_OF_GRANTS = ("runs.view_grant", "runs.add_grant", "runs.change_grant", "runs.view_auditentry")


def permissions_of(request: HttpRequest) -> Permissions:
    """The reader's grants, read once a page; acts read them afresh."""
    found: Permissions | None = getattr(request, "_permissions", None)
    if found is None:
        found = Permissions.of(request.user)
        request._permissions = found  # type: ignore[attr-defined]  # lives as long as the request
    return found


def actor_of(request: HttpRequest, channel: Channel = Channel.ADMIN) -> Actor:
    """The signed-in person, as verbs want to know them."""
    if not request.user.is_authenticated:
        raise TypeError("Nobody is signed in: the view lacks its guard.")
    return Actor.person(
        request.user,
        channel=channel,
        address=request.META.get("REMOTE_ADDR", ""),
        user_agent=request.META.get("HTTP_USER_AGENT", ""),
    )


def can_view_parameters(request: HttpRequest, subject: Deployment | Target | Run | RunRequest) -> bool:
    """Whether the page may show parameter values. Give the request or its run where there is one: its requester may."""
    return visibility.can_view_parameters(permissions_of(request), subject)


def can_view_logs(request: HttpRequest, run: Run) -> bool:
    """Whether the page may show what a run wrote."""
    return visibility.can_view_logs(permissions_of(request), run)


def can_view_grants(request: HttpRequest) -> bool:
    """Whether the reader sees every grant; others see those they gave or that bear on what they manage."""
    return any(request.user.has_perm(permission) for permission in READERS_OF_GRANTS)
