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

from flows import encryption
from portal.admin.actions import reason_of
from portal.admin.requests import allowed_actions, parameter_diff
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import rule_labels
from runs import changes
from runs.access.decisions import Permissions
from runs.errors import Refused
from runs.models import RunRequest
from runs.models.policy import Risk
from runs.requests import visibility

MOST_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class BulkDecision:
    """One of the two ways to answer."""

    action: str
    word: str
    done: str
    question: str
    needs_reason: bool
    act: Callable[..., None]
    door: Callable[[RunRequest, Permissions], allowed_actions.Action]


def approve_seen(run_request: RunRequest, request: HttpRequest, reason: str) -> None:
    """What is signed is what the list showed."""
    seen = request.POST.get(f"seen-{run_request.pk}", "")
    changes.approve(run_request, by=actor_of(request), reason=reason, displayed_digest=seen)


def reject(run_request: RunRequest, request: HttpRequest, reason: str) -> None:
    changes.reject(run_request, by=actor_of(request), reason=reason)


def can_sign(run_request: RunRequest, permissions: Permissions) -> allowed_actions.Action:
    found = allowed_actions.can_decide(run_request, permissions)
    return allowed_actions.can_approve(run_request, permissions) if found.is_open else found


APPROVE = BulkDecision("approve_selected", "Approve", "approved", "A remark?", False, approve_seen, can_sign)
REJECT = BulkDecision(
    "reject_selected", "Reject", "rejected", "Why are they rejected?", True, reject, allowed_actions.can_decide
)


@dataclass(frozen=True, slots=True)
class Row:
    """A request in the list that is answered; `parameters` are None where they are not shown."""

    run_request: RunRequest
    risk: rule_labels.Badge
    approvals: str
    parameters: list[parameter_diff.Row] | None
    why_not: str


@dataclass(frozen=True, slots=True)
class Outcome:
    run_request: RunRequest
    is_done: bool
    sentence: str


def view(
    request: HttpRequest, queryset: QuerySet[RunRequest], answer: BulkDecision, frame: dict[str, Any]
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
            error = "Say in one sentence why they are rejected: their requesters will want to know."
        except Refused as refusal:
            error = str(refusal)
    permissions = permissions_of(request)
    rows = [row(run_request, permissions, answer) for run_request in found]
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


def row(run_request: RunRequest, permissions: Permissions, answer: BulkDecision) -> Row:
    door = answer.door(run_request, permissions)
    parameters = None
    if visibility.can_view_parameters(permissions, run_request):
        against = parameter_diff.columns(run_request.deployment, None, None)
        parameters = parameter_diff.rows(parameter_diff.masked(run_request), run_request.deployment, against)
    return Row(
        run_request,
        rule_labels.risk_badge(run_request.policy.get("risk", Risk.LOW)),
        rule_labels.approvals_label(run_request.policy.get("stages", [])),
        parameters,
        "" if door.is_open else door.why_not or nothing_selected(run_request),
    )


def nothing_selected(run_request: RunRequest) -> str:
    """Why there is no door at all."""
    if run_request.state == RunRequest.State.WAITING:
        return "You asked for it: somebody else must answer it."
    return f"It is “{run_request.state_label}”."


def results(
    request: HttpRequest, found: list[RunRequest], answer: BulkDecision, reason: str, frame: dict[str, Any]
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


def outcome(request: HttpRequest, run_request: RunRequest, answer: BulkDecision, reason: str) -> Outcome:
    try:
        answer.act(run_request, request, reason)
    except (Refused, encryption.DecryptionError) as refusal:
        return Outcome(run_request, False, str(refusal))
    return Outcome(run_request, True, f"{answer.done.capitalize()}.")
