"""Answering several requests at once: each with its risk and what it is given, then what became of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from flows import vault
from flows.access import Holding, Refused
from portal import rule_words
from portal.admin import comparing, request_doors
from portal.admin.base import actor, holding
from portal.admin.buttons import reason_of
from runs import lifecycle, looking
from runs.models import RunRequest
from runs.models.policy import Risk

MOST_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the two ways to answer."""

    action: str
    word: str
    done: str
    question: str
    needs_reason: bool
    act: Callable[..., None]
    door: Callable[[RunRequest, Holding], request_doors.Door]


def approve_seen(run_request: RunRequest, request: HttpRequest, reason: str) -> None:
    """What is signed is what the list showed."""
    seen = request.POST.get(f"seen-{run_request.pk}", "")
    lifecycle.approve(run_request, by=actor(request), reason=reason, seen_digest=seen)


def reject(run_request: RunRequest, request: HttpRequest, reason: str) -> None:
    lifecycle.reject(run_request, by=actor(request), reason=reason)


def may_sign(run_request: RunRequest, mine: Holding) -> request_doors.Door:
    found = request_doors.may_answer(run_request, mine)
    return request_doors.may_approve(run_request, mine) if found.is_open else found


APPROVE = Answer("approve_selected", "Approve", "approved", "A remark?", False, approve_seen, may_sign)
REJECT = Answer(
    "reject_selected", "Reject", "rejected", "Why are they rejected?", True, reject, request_doors.may_answer
)


@dataclass(frozen=True, slots=True)
class Row:
    """A request in the list that is answered; `parameters` are None where they are not shown."""

    run_request: RunRequest
    risk: rule_words.Badge
    approvals: str
    parameters: list[comparing.Row] | None
    why_not: str


@dataclass(frozen=True, slots=True)
class Outcome:
    run_request: RunRequest
    is_done: bool
    sentence: str


def view(
    request: HttpRequest, queryset: QuerySet[RunRequest], answer: Answer, frame: dict[str, Any]
) -> HttpResponse | None:
    """The list first; what is sent from there comes here again, with a reason."""
    found = list(queryset.prefetch_related("approvals").order_by("pk")[: MOST_AT_ONCE + 1])
    if len(found) > MOST_AT_ONCE:
        messages.warning(request, f"At most {MOST_AT_ONCE} requests can be answered at once. Select fewer.")
        return None
    error = ""
    if "reason" in request.POST:
        try:
            reason = reason_of(request)
            if reason or not answer.needs_reason:
                return results(request, found, answer, reason, frame)
            error = "Say in one sentence why they are rejected: their askers will want to know."
        except Refused as refusal:
            error = str(refusal)
    mine = holding(request)
    rows = [row(run_request, mine, answer) for run_request in found]
    context = {
        **frame,
        "title": f"{answer.word} selected requests",
        "answer": answer,
        "rows": rows,
        "count": sum(not row.why_not for row in rows),
        "error": error,
        "checkbox": ACTION_CHECKBOX_NAME,
    }
    return render(request, "portal/request/answer_selected.html", context)


def row(run_request: RunRequest, mine: Holding, answer: Answer) -> Row:
    door = answer.door(run_request, mine)
    parameters = None
    if looking.may_see_inputs(mine, run_request):
        against = comparing.columns(run_request.deployment, None, None)
        parameters = comparing.rows(comparing.masked(run_request), run_request.deployment, against)
    return Row(
        run_request,
        rule_words.risk(run_request.policy.get("risk", Risk.LOW)),
        rule_words.approvals(run_request.policy.get("stages", [])),
        parameters,
        "" if door.is_open else door.why_not or nothing_to_answer(run_request),
    )


def nothing_to_answer(run_request: RunRequest) -> str:
    """Why there is no door at all."""
    if run_request.state == RunRequest.State.WAITING:
        return "You asked for it: somebody else must answer it."
    return f"It is “{run_request.state_label}”."


def results(
    request: HttpRequest, found: list[RunRequest], answer: Answer, reason: str, frame: dict[str, Any]
) -> HttpResponse:
    """What became of each; one that is refused keeps no other back."""
    outcomes = [outcome(request, run_request, answer, reason) for run_request in found]
    done = sum(each.is_done for each in outcomes)
    context = {
        **frame,
        "title": f"{done} of {len(outcomes)} {answer.done}",
        "outcomes": outcomes,
    }
    return render(request, "portal/request/answered.html", context)


def outcome(request: HttpRequest, run_request: RunRequest, answer: Answer, reason: str) -> Outcome:
    try:
        answer.act(run_request, request, reason)
    except (Refused, vault.Sealed) as refusal:
        return Outcome(run_request, False, str(refusal))
    return Outcome(run_request, True, f"{answer.done.capitalize()}.")
