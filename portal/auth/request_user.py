"""The user of a request: their permissions for pages, and the actor for services. Must not import admin modules."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest

from flows.models import Deployment
from runs.access.decisions import Permissions, Target
from runs.actors import Actor, Channel
from runs.models import Run, RunRequest
from runs.requests import visibility

# Any of these lets a user see all grants: an auditor needs them to explain who was allowed what.
READERS_OF_GRANTS = ("runs.view_grant", "runs.view_auditentry")


def portal_address(request: HttpRequest) -> str:
    """Return the address of the portal as others are given it, without a slash at the end."""
    return (settings.PUBLIC_URL or request.build_absolute_uri("/")).rstrip("/")


def permissions_of(request: HttpRequest, *, afresh: bool = False) -> Permissions:
    """Return the reader's permissions, loaded once per request unless `afresh`. Services load them before they act."""
    found: Permissions | None = None if afresh else getattr(request, "_permissions", None)
    if found is None:
        found = Permissions.of_person(request.user)
        request._permissions = found  # type: ignore[attr-defined]  # lives as long as the request
    return found


def actor_of(request: HttpRequest, channel: Channel = Channel.ADMIN) -> Actor:
    """Return the signed-in user as the actor of a service call, with address and user agent for the audit trail."""
    # Not `PermissionDenied`: it is a fault of the view, and must not look like a missing grant.
    if not request.user.is_authenticated:
        raise TypeError("No user is signed in: the view must require a login.")
    return Actor.person(
        request.user,
        channel=channel,
        address=request.META.get("REMOTE_ADDR", ""),
        user_agent=request.META.get("HTTP_USER_AGENT", ""),
    )


def can_view_parameters(request: HttpRequest, subject: Deployment | Target | Run | RunRequest) -> bool:
    """Whether the page may show parameter values. Pass the request or its run if there is one: its requester may."""
    return visibility.can_view_parameters(permissions_of(request), subject)


def can_view_logs(request: HttpRequest, run: Run) -> bool:
    """Whether the page may show logs, artifacts and state messages of a run."""
    return visibility.can_view_logs(permissions_of(request), run)


def can_view_grants(request: HttpRequest) -> bool:
    """Whether the reader sees all grants; others see those they created or that affect what they manage."""
    return any(request.user.has_perm(permission) for permission in READERS_OF_GRANTS)
