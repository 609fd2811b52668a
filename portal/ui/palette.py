"""What the command palette finds: pages, deployments, requests and runs, as far as the reader may see them."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from unfold.dataclasses import SearchResult

from portal.auth.request_user import permissions_of
from portal.ui import menu
from runs.models import Run, RunRequest, Verb

FEW = 10
LONGEST = 100
# A number with more is no number of a row.
DIGITS = 18
# Names of runs and tickets have no index: what is older is found by its id or number, or in the lists.
RECENT = timedelta(days=30)


def find(request: HttpRequest, term: str) -> list[SearchResult]:
    # Postgres takes no NUL in a text, and nothing has one in its name.
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
            title=deployment.full_name,
            description=f"Deployment in {deployment.environment}",
            link=reverse("admin:flows_deployment_change", args=[deployment.pk]),
            icon="rocket_launch",
        )
        for deployment in found
    ]


def requests(request: HttpRequest, words: str) -> list[SearchResult]:
    visible = permissions_of(request).q(Verb.SEE, deployment="deployment__")
    found = RunRequest.objects.filter(visible, asked_under(words)).select_related("environment").order_by("-pk")[:FEW]
    return [
        SearchResult(
            title=f"Request {run_request.pk}",
            description=f"{run_request.state_label}: {run_request.deployment_name} in {run_request.environment}",
            link=reverse("admin:runs_runrequest_change", args=[run_request.pk]),
            icon="assignment",
        )
        for run_request in found
    ]


def asked_under(words: str) -> Q:
    """By its number or its ticket."""
    ticket = Q(ticket__iexact=words.strip(), requested_at__gt=timezone.now() - RECENT)
    number = words.lower().removeprefix("request").strip()
    return ticket | Q(pk=int(number)) if number.isdecimal() and len(number) <= DIGITS else ticket


def runs(request: HttpRequest, words: str) -> list[SearchResult]:
    visible = permissions_of(request).q(Verb.SEE, deployment="deployment__")
    found = Run.objects.filter(visible, named(words)).select_related("environment")[:FEW]
    return [
        SearchResult(
            title=run.name,
            description=f"{run.state_label} run of {run.deployment_name or run.flow_name} in {run.environment}",
            link=reverse("admin:runs_run_change", args=[run.pk]),
            icon="play_circle",
        )
        for run in found
    ]


def named(words: str) -> Q:
    try:
        return Q(prefect_id=UUID(words))
    except ValueError:
        return Q(name__icontains=words, created_upstream_at__gt=timezone.now() - RECENT)
