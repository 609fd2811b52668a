"""The page "Access matrix": who may do what where, for administrators and auditors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from flows.models import Environment
from portal.auth.request_user import can_view_grants
from portal.ui.text import number
from runs.access import access_matrix
from runs.access.access_matrix import Cells, Held, Reach
from runs.actors import is_administrator
from runs.models import Verb

PEOPLE, GROUPS = "people", "groups"
ON_A_PAGE = 50


@dataclass(frozen=True, slots=True)
class Line:
    """Verbs of one cell that are held alike."""

    key: str
    label: str
    verbs: str


@dataclass(frozen=True, slots=True)
class MatrixRow:
    name: str
    note: str
    url: str
    cells: list[tuple[Environment, list[Line]]]


# How verbs are held -> how a cell says it, in its order; blank for what is held without limits.
LABELS = {
    "all": "",
    "all-values": "some values",
    "some": "some deployments",
    "some-values": "some deployments and values",
    "denied": "denied",
}


def view(request: HttpRequest, frame: dict[str, Any]) -> HttpResponse:
    if not can_view_grants(request):
        raise PermissionDenied("Only administrators and auditors can view the access matrix.")
    # 1. Who, where and what.
    kind = GROUPS if request.GET.get("of") == GROUPS else PEOPLE
    words = request.GET.get("q", "").replace("\0", "").strip()[:200]
    verb = request.GET.get("verb", "")
    verbs = [Verb(verb)] if verb in Verb.values else list(Verb)
    environments = list(Environment.objects.filter(is_active=True))
    page = Paginator(rows_of(kind, words), ON_A_PAGE).get_page(number(request.GET.get("page"), otherwise=1))
    # 2. What each of them holds there.
    listed: list[Any] = list(page.object_list)
    found = (
        access_matrix.of_groups(listed, environments)
        if kind == GROUPS
        else access_matrix.of_people(listed, environments)
    )
    # Auditors can open no pages of accounts.
    has_links = is_administrator(request.user)
    query = request.GET.copy()
    query.pop("page", None)
    context = {
        **frame,
        "title": "Access matrix",
        "kind": kind,
        "words": words,
        "verb": verb,
        "verb_choices": Verb.choices,
        "environments": environments,
        "rows": [
            row_of(each, cells, environments, verbs, has_links=has_links)
            for each, cells in zip(listed, found, strict=True)
        ],
        "page": page,
        "query": query.urlencode(),
    }
    return render(request, "portal/grant/matrix.html", context)


def rows_of(kind: str, words: str) -> Any:
    if kind == GROUPS:
        return Group.objects.filter(name__icontains=words).order_by("name")
    return User.objects.filter(is_active=True, username__icontains=words).order_by("username")


def row_of(
    subject: User | Group, cells: Cells, environments: Sequence[Environment], verbs: Iterable[Verb], *, has_links: bool
) -> MatrixRow:
    kind = "user" if isinstance(subject, User) else "group"
    note = "administrator" if isinstance(subject, User) and is_administrator(subject) else ""
    url = reverse(f"admin:auth_{kind}_change", args=[subject.pk]) if has_links else ""
    places = [(place, lines_of({verb: cells[place.pk][verb] for verb in verbs})) for place in environments]
    return MatrixRow(str(subject), note, url, places)


def lines_of(cell: dict[Verb, Held]) -> list[Line]:
    by_key: dict[str, list[str]] = {}
    for verb, held in cell.items():
        if key := key_of(held):
            by_key.setdefault(key, []).append(str(verb.label))
    return [Line(key, label, ", ".join(by_key[key])) for key, label in LABELS.items() if key in by_key]


def key_of(held: Held) -> str:
    """Return how a verb is held, a key of `LABELS`; empty for one that is not held at all."""
    if held.reach == Reach.NONE:
        return "denied" if held.is_denied else ""
    return f"{held.reach}-values" if held.has_condition else str(held.reach)
