"""The search of the command palette: pages, deployments, requests and runs that the reader may see."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from unfold.dataclasses import SearchResult

from flows.wording import deployment_name
from portal.auth.request_user import permissions_of
from portal.ui import menu
from runs.models import Run, RunRequest, Verb

# Results of each kind; the lists have their own search for more.
FEW = 10
LONGEST = 100
# A longer number may not fit into a bigint key.
DIGITS = 18
# Run names and tickets are not indexed. Older rows are found by their ID or number, or in the lists.
RECENT = timedelta(days=30)


def find(request: HttpRequest, term: str) -> list[SearchResult]:
    """Return what matches a search term, at most `FEW` of each kind."""
    # Postgres refuses NUL in a text parameter, which would make the search a 500.
    words = term.replace("\0", "")[:LONGEST]
    return [*pages(request, words), *deployments(request, words), *requests(request, words), *runs(request, words)]


def pages(request: HttpRequest, words: str) -> list[SearchResult]:
    return [
        SearchResult(title=item["title"], description=group["title"] or "Page", link=item["link"], icon=item["icon"])
        for group in menu.navigation(request)
        for item in group["items"]
        if words.lower() in item["title"].lower()
    ]


def deployments(request: HttpRequest, words: str) -> list[SearchResult]:
    found = permissions_of(request).deployments().filter(full_name__icontains=words, deleted_upstream_at=None)[:FEW]
    return [
        SearchResult(
            title=str(deployment),
            description=f"Deployment in {deployment.environment}",
            link=reverse("admin:flows_deployment_change", args=[deployment.pk]),
            icon="rocket_launch",
        )
        for deployment in found
    ]


def requests(request: HttpRequest, words: str) -> list[SearchResult]:
    visible = permissions_of(request).q(Verb.SEE, deployment="deployment__")
    found = (
        RunRequest.objects.filter(visible, matches_number_or_ticket(words))
        .select_related("environment", "spec")
        .order_by("-pk")[:FEW]
    )
    return [
        SearchResult(
            title=f"Request {run_request.pk}",
            description=(
                f"{run_request.state_label}: {deployment_name(run_request.spec.deployment_name)} in "
                f"{run_request.environment}"
            ),
            link=reverse("admin:runs_runrequest_change", args=[run_request.pk]),
            icon="assignment",
        )
        for run_request in found
    ]


def matches_number_or_ticket(words: str) -> Q:
    """Return the condition for requests of this number or ticket; “Request 12” is a number too."""
    ticket = Q(change__ticket__iexact=words.strip(), sort_at__gt=timezone.now() - RECENT)
    number = words.lower().removeprefix("request").strip()
    return ticket | Q(pk=int(number)) if number.isdecimal() and len(number) <= DIGITS else ticket


def runs(request: HttpRequest, words: str) -> list[SearchResult]:
    visible = permissions_of(request).q(Verb.SEE, deployment="access_deployment__")
    found = Run.objects.filter(visible, matches_id_or_name(words)).select_related("environment")[:FEW]
    return [
        SearchResult(
            title=str(run),
            description=f"{run.state_label} run of {deployment_name(run.what)} in {run.environment}",
            link=reverse("admin:runs_run_change", args=[run.pk]),
            icon="play_circle",
        )
        for run in found
    ]


def matches_id_or_name(words: str) -> Q:
    """Return the condition for runs of this Prefect ID, or with these words in their name."""
    try:
        return Q(prefect_id=UUID(words))
    except ValueError:
        return Q(name__icontains=words, sort_at__gt=timezone.now() - RECENT)
