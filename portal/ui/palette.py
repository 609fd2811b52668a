"""The command palette: what it offers before a search, and the pages, deployments, requests and runs that match one.

Everything in it is what the reader may see now, also what they visited before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from unfold.dataclasses import SearchResult

from flows.models import Deployment
from flows.wording import deployment_name
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import manual, menu
from runs import pins
from runs.models import Run, RunRequest, Verb

# Results of each kind; the lists have their own search for more.
FEW = 10
LONGEST = 100
# A longer number may not fit into a bigint key.
DIGITS = 18
# Run names and tickets are not indexed. Older rows are found by their ID or number, or in the lists.
RECENT = timedelta(days=30)
# Pages that a browser says were visited.
MOST_VISITED = 8
DEPLOYMENT, RUN = "deployment", "run"


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the palette, with its place among all of them: the arrow keys count."""

    place: int
    result: SearchResult


@dataclass(frozen=True, slots=True)
class Group:
    """Lines under a heading."""

    title: str
    items: list[Item]


def grouped(found: dict[str, list[SearchResult]]) -> list[Group]:
    """Number the lines through all groups, and leave out those without any."""
    groups, place = [], 0
    for title, results in found.items():
        if results:
            groups.append(Group(title, [Item(place + number, each) for number, each in enumerate(results, 1)]))
            place += len(results)
    return groups


def start(request: HttpRequest) -> list[Group]:
    """Return what is offered before anything is typed: pinned deployments, and what the reader visited last."""
    on_top = pinned(request)
    # Each once.
    links = {each.link for each in on_top}
    return grouped({"Pinned": on_top, "Recently visited": [row for row in visited(request) if row.link not in links]})


def pinned(request: HttpRequest) -> list[SearchResult]:
    found = pins.PINS.rows(actor_of(request), permissions=permissions_of(request))
    return [result_of_deployment(row) for row in found.order_by("full_name", "environment__position", "pk")]


def visited(request: HttpRequest) -> list[SearchResult]:
    """Return the deployments and runs whose keys the browser has kept, the last one first, as far as they are visible.

    The browser keeps nothing else, so that a name that is hidden now is not displayed from its storage.
    """
    wanted = [key.partition("-") for key in request.GET.get("visited", "").split(",")[:MOST_VISITED]]
    keys = [(kind, int(pk)) for kind, _, pk in wanted if pk.isdecimal() and len(pk) <= DIGITS]
    permissions = permissions_of(request)
    found: dict[tuple[str, int], SearchResult] = {}
    if pks := [pk for kind, pk in keys if kind == DEPLOYMENT]:
        found |= {
            (DEPLOYMENT, row.pk): result_of_deployment(row) for row in permissions.deployments().filter(pk__in=pks)
        }
    if pks := [pk for kind, pk in keys if kind == RUN]:
        visible = permissions.q(Verb.SEE, deployment="access_deployment__")
        rows = Run.objects.filter(visible, pk__in=pks).select_related("environment")
        found |= {(RUN, row.pk): result_of_run(row) for row in rows}
    return [found[key] for key in dict.fromkeys(keys) if key in found]


def find(request: HttpRequest, term: str) -> list[Group]:
    """Return what matches a search term, at most `FEW` of each kind."""
    # Postgres refuses NUL in a text parameter, which would make the search a 500.
    words = term.replace("\0", "")[:LONGEST]
    return grouped(
        {
            "Pages": pages(request, words),
            "Deployments": deployments(request, words),
            "Requests": requests(request, words),
            "Runs": runs(request, words),
            "Help": help_pages(words),
        }
    )


def pages(request: HttpRequest, words: str) -> list[SearchResult]:
    return [
        SearchResult(title=item["title"], description=group["title"] or "Page", link=item["link"], icon=item["icon"])
        for group in menu.navigation(request)
        for item in group["items"]
        if words.lower() in item["title"].lower()
    ]


def deployments(request: HttpRequest, words: str) -> list[SearchResult]:
    found = permissions_of(request).deployments().filter(full_name__icontains=words, deleted_upstream_at=None)
    by_pin = found.annotate(is_pinned=pins.is_pinned_by(request.user)).order_by("-is_pinned", "full_name", "pk")
    return [result_of_deployment(deployment) for deployment in by_pin[:FEW]]


def result_of_deployment(deployment: Deployment) -> SearchResult:
    return SearchResult(
        title=str(deployment),
        description=f"Deployment in {deployment.environment}",
        link=reverse("admin:flows_deployment_change", args=[deployment.pk]),
        icon="rocket_launch",
    )


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
    return [result_of_run(run) for run in found]


def result_of_run(run: Run) -> SearchResult:
    return SearchResult(
        title=str(run),
        description=f"{run.state_label} run of {deployment_name(run.what)} in {run.environment}",
        link=reverse("admin:runs_run_change", args=[run.pk]),
        icon="play_circle",
    )


def matches_id_or_name(words: str) -> Q:
    """Return the condition for runs of this Prefect ID, or with these words in their name."""
    try:
        return Q(prefect_id=UUID(words))
    except ValueError:
        return Q(name__icontains=words, sort_at__gt=timezone.now() - RECENT)


def help_pages(words: str) -> list[SearchResult]:
    return [
        SearchResult(title=each.title, description="Help", link=reverse("help_page", args=[each.slug]), icon="help")
        for each in manual.pages()
        if words.lower() in each.title.lower()
    ][:FEW]
