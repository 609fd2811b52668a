"""The results of acting on several runs, one for each, and the page of them."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse

from flows import encryption
from portal.admin import result_store
from portal.auth.request_user import actor_of, permissions_of
from runs import listings
from runs.errors import Refused
from runs.models import Action, ChangeRequest, Run, RunRequest, RunSpec, Verb

STORED_AS = "bulk_results"
REQUESTED, WAITS, REFUSED, NOT_REACHED = "requested", "needs approval", "refused", "not reached"
TONES = {REQUESTED: "green", WAITS: "amber", REFUSED: "amber", NOT_REACHED: "amber"}


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one run: `code` says why it was refused, `made` and `key` name the row that was made."""

    run: int
    word: str
    sentence: str
    code: str = ""
    made: str = ""
    key: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the page: the result, and where its run and what was made stand now."""

    result: Result
    run: Run
    now: str = ""
    link: str = ""
    link_text: str = ""

    @property
    def tone(self) -> str:
        return TONES[self.result.word]


def attempt(run: Run, act: Callable[[Run], object], done: str) -> Result:
    """Act on one run, in a transaction of its own; a refusal is its result and does not stop the others."""
    try:
        made = act(run)
    except (Refused, encryption.DecryptionError) as refusal:
        return Result(run.pk, REFUSED, str(refusal), getattr(refusal, "code", "key.unreadable"))
    kind, key = (type(made).__name__, made.pk) if isinstance(made, Model) else ("", 0)
    if is_waiting(made):
        return Result(run.pk, WAITS, "Someone else has to approve it first.", "", kind, key)
    return Result(run.pk, REQUESTED, done, "", kind, key)


def not_reached(run: Run) -> Result:
    """Return the result of a run for which there was no time left."""
    return Result(run.pk, NOT_REACHED, "There was no time left for it, and nothing was done. Select it again.")


def is_waiting(made: object) -> bool:
    change = made.change if isinstance(made, RunRequest) else made
    return isinstance(change, ChangeRequest) and change.state == ChangeRequest.State.WAITING


def store(request: HttpRequest, title: str, results: Sequence[Result]) -> uuid.UUID:
    """Store the results for their page."""
    return result_store.store(request, STORED_AS, title, results)


def context(request: HttpRequest, key: uuid.UUID, runs: QuerySet[Run]) -> dict[str, Any]:
    """Return what the page shows; 404 for results of another session, or that are no longer kept.

    `runs` are those that the reader sees: what became invisible since is left out.
    """
    title, stored = result_store.load(request, STORED_AS, key)
    results = [Result(**each) for each in stored]
    visible = runs.in_bulk([each.run for each in results])
    made = rows_made(request, results)
    shown = [each for each in results if each.run in visible]
    lines = [line(each, visible[each.run], made.get((each.made, each.key))) for each in shown]
    return {
        "title": title,
        "lines": lines,
        "summary": summary(lines),
        "hidden": len(results) - len(lines),
        # Pages subscribe to the list: a topic for each of 200 runs would be more than a stream takes.
        "topics": "list=runs",
    }


def rows_made(request: HttpRequest, results: Sequence[Result]) -> dict[tuple[str, int], Any]:
    """Return what the acts made, as it is now, as far as the reader sees it; one query for each kind."""
    specs = RunSpec.objects.filter(permissions_of(request).q(Verb.SEE, deployment="deployment__", base="deployment__"))
    sources: Mapping[str, QuerySet[Any]] = {
        "Action": Action.objects.filter(run__in=[each.run for each in results]),
        "RunRequest": listings.REQUESTS.rows(actor_of(request)),
        # That of a retry has no run request of its own.
        "ChangeRequest": ChangeRequest.objects.filter(pk__in=specs.values("change")),
    }
    found: dict[tuple[str, int], Any] = {}
    for kind, rows in sources.items():
        if keys := [each.key for each in results if each.made == kind]:
            found |= {(kind, pk): row for pk, row in rows.in_bulk(keys).items()}
    return found


def line(result: Result, run: Run, made: Any) -> Line:
    if isinstance(made, RunRequest):
        link = reverse("admin:runs_runrequest_change", args=[made.pk])
        return Line(result, run, made.state_label, link, f"Request {made.pk}")
    if isinstance(made, ChangeRequest):
        link = reverse("admin:runs_changerequest_change", args=[made.pk])
        return Line(result, run, made.get_state_display(), link, f"Change request {made.pk}")
    return Line(result, run, made.state_label if made else "")


def summary(lines: Sequence[Line]) -> str:
    """Return the counts in words, such as “5 requested, 1 needs approval, 2 refused”."""
    counts = Counter(line.result.word for line in lines)
    return ", ".join(f"{counts[word]} {word}" for word in TONES if counts[word])
