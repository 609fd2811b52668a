"""Approves or rejects several requests at once: a list with the risk and parameters of each, then a page of results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from flows import encryption
from portal.admin import result_store
from portal.admin.actions import reason_of
from portal.admin.problem import Problem
from portal.admin.requests import allowed_actions, definition_diff, parameter_diff
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import rule_labels
from portal.ui.profile_settings import ProfileSettings, settings_of
from runs import changes
from runs.access.decisions import Permissions
from runs.errors import Refused
from runs.models import RunRequest
from runs.models.policy import Risk
from runs.requests import visibility

# Every request of the list costs several queries and is decided in a transaction of its own.
MOST_AT_ONCE = 50
STORED_AS = "decided_requests"


@dataclass(frozen=True, slots=True)
class BulkDecision:
    """Approve or reject: its words, and the functions that check and execute it."""

    action: str
    word: str
    done: str
    reason_label: str
    needs_reason: bool
    execute: Callable[..., None]
    check: Callable[[RunRequest, Permissions], allowed_actions.Action]


def approve_displayed(run_request: RunRequest, request: HttpRequest, reason: str) -> None:
    # The digest comes from the list that was displayed: a request that changed meanwhile is refused.
    displayed = request.POST.get(f"seen-{run_request.pk}", "")
    changes.approve(run_request.change, by=actor_of(request), reason=reason, displayed_digest=displayed)


def reject(run_request: RunRequest, request: HttpRequest, reason: str) -> None:
    changes.reject(run_request.change, by=actor_of(request), reason=reason)


def can_approve(run_request: RunRequest, permissions: Permissions) -> allowed_actions.Action:
    found = allowed_actions.can_decide(run_request, permissions)
    return allowed_actions.can_approve(run_request, permissions) if found.is_allowed else found


APPROVE = BulkDecision("approve_selected", "Approve", "approved", "Comment", False, approve_displayed, can_approve)
REJECT = BulkDecision("reject_selected", "Reject", "rejected", "Reason", True, reject, allowed_actions.can_decide)


@dataclass(frozen=True, slots=True)
class Row:
    """A request in the list; `parameters` are None where the user cannot view them."""

    run_request: RunRequest
    risk: rule_labels.Badge
    approvals: str
    definition: definition_diff.DefinitionReview | None
    profile: ProfileSettings | None
    parameters: list[parameter_diff.Row] | None
    why_not: str
    code: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one request: `code` says why it was refused and is empty when it was not."""

    request: int
    sentence: str
    code: str = ""

    @property
    def is_done(self) -> bool:
        return not self.code


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the page of results: the request as it is now, and what became of it."""

    run_request: RunRequest
    result: Result


def view(
    request: HttpRequest, queryset: QuerySet[RunRequest], decision: BulkDecision, frame: Callable[[], dict[str, Any]]
) -> HttpResponse | None:
    """Show the list; when its form comes back with a reason, decide each request and redirect to the results.

    `frame` is called only for the list: it counts what waits in the menu.
    """
    # 1. Limit the number; one more than allowed tells that there are too many without counting them.
    found = list(queryset.prefetch_related("change__approvals").order_by("pk")[: MOST_AT_ONCE + 1])
    if len(found) > MOST_AT_ONCE:
        messages.warning(request, f"Select at most {MOST_AT_ONCE} requests.")
        return None
    # 2. Decide, if the form came back with a reason where one is required.
    error: Problem | Refused | None = None
    if "reason" in request.POST:
        try:
            reason = reason_of(request)
            if reason or not decision.needs_reason:
                return decide(request, found, decision, reason)
            error = Problem("rejection.reason_required", "Give a reason for the rejection. The requesters will see it.")
        except Refused as refusal:
            error = refusal
    # 3. Otherwise show the list, with the requests that can be decided as hidden inputs.
    permissions = permissions_of(request)
    rows = [row(run_request, permissions, decision) for run_request in found]
    context = {
        **frame(),
        "title": f"{decision.word} selected requests",
        "decision": decision,
        "rows": rows,
        "count": sum(not row.why_not for row in rows),
        "error": error,
        "checkbox": ACTION_CHECKBOX_NAME,
    }
    return render(request, "portal/request/decide_selected.html", context)


def row(run_request: RunRequest, permissions: Permissions, decision: BulkDecision) -> Row:
    action = decision.check(run_request, permissions)
    parameters = None
    if visibility.can_view_parameters(permissions, run_request):
        # Only with the defaults: comparing with the last run would cost one more query per row.
        against = parameter_diff.columns(run_request.deployment, None, None)
        parameters = parameter_diff.rows(parameter_diff.masked(run_request), run_request.deployment, against)
    return Row(
        run_request,
        rule_labels.risk_badge(run_request.change.policy.get("risk", Risk.LOW)),
        rule_labels.approvals_label(run_request.change.policy.get("stages", [])),
        definition_diff.review(run_request),
        settings_of(run_request.spec.profile),
        parameters,
        *explain_missing(run_request, action),
    )


def explain_missing(run_request: RunRequest, action: allowed_actions.Action) -> tuple[str, str]:
    """The sentence why the action is not possible, and its code; both empty when it is.

    On the page of a request a missing button needs no explanation; in a list that was selected each row does.
    """
    if action.is_allowed:
        return "", ""
    if action.why_not:
        return action.why_not, action.code
    if run_request.state == RunRequest.State.HELD:
        return "You cannot approve or reject your own request.", "approval.own"
    return f"State: {run_request.state_label}", "state.illegal"


def decide(request: HttpRequest, found: list[RunRequest], decision: BulkDecision, reason: str) -> HttpResponse:
    """Decide each request in a transaction of its own, so that a refused one does not stop the others."""
    results = [attempt(request, run_request, decision, reason) for run_request in found]
    key = result_store.store(request, STORED_AS, decision.done, results)
    # A page of its own: a reload must not send the decisions again.
    return HttpResponseRedirect(reverse("admin:runs_runrequest_results", args=[key]))


def attempt(request: HttpRequest, run_request: RunRequest, decision: BulkDecision, reason: str) -> Result:
    try:
        decision.execute(run_request, request, reason)
    except (Refused, encryption.DecryptionError) as refusal:
        return Result(run_request.pk, str(refusal), getattr(refusal, "code", "key.unreadable"))
    return Result(run_request.pk, f"{decision.done.capitalize()}.")


def results_context(request: HttpRequest, key: UUID, visible: QuerySet[RunRequest]) -> dict[str, Any]:
    """Return what the page of results shows; 404 for results of another session, or that are no longer stored.

    `visible` are the requests that the reader sees: what became invisible since is left out.
    """
    done, stored = result_store.load(request, STORED_AS, key)
    results = [Result(**each) for each in stored]
    rows = visible.in_bulk([each.request for each in results])
    return {
        "title": f"{sum(each.is_done for each in results)} of {len(results)} {done}",
        "lines": [Line(rows[each.request], each) for each in results if each.request in rows],
        "hidden": sum(each.request not in rows for each in results),
        "topics": "list=requests",
    }
