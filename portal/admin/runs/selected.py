"""Act on several selected runs at once: a list that says for which it is possible, then a page of the results."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from flows.wording import plural
from portal.admin.actions import reason_of, ticket_of
from portal.admin.problem import Problem
from portal.admin.run_form.page import key_of
from portal.admin.runs import actions, bulk_results, selected_reruns
from portal.auth.request_user import actor_of, permissions_of
from runs import requests
from runs.access.decisions import Permissions, Target
from runs.errors import Refused
from runs.governance.requirements import Requirements, requirements_for
from runs.models import Run, Verb
from runs.models.action import Kind

# Each run is a transaction of its own, in one web request.
MOST_AT_ONCE = 200
# Proxies end a request after 60 s: 200 re-runs took 55 s on two cores with seven times their load. What is not reached
# by then is left alone and says so.
LONGEST = 25.0


@dataclass(frozen=True, slots=True)
class BulkAction:
    """An action of the list: its words, what explains for a run why it is not possible, and the service of one run.

    `button` has a place for the number of runs. `foresee` says what would happen to a run for which it is possible.
    `starts_runs` asks what a run form would ask for: a typed name where the environment wants one.
    """

    name: str
    title: str
    possible: str
    button: str
    done: str
    reason_label: str
    help: str
    explain: Callable[[Run, Permissions], tuple[str, str]]
    execute: Callable[..., object]
    always_needs_reason: bool = False
    is_danger: bool = True
    foresee: Callable[[Run, Requirements], str] = lambda run, requirements: ""
    starts_runs: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One selected run before the act: why it is not possible, or what would happen."""

    run: Run
    why_not: str
    code: str
    what_happens: str
    # Of a new request: sent twice, it is one.
    key: uuid.UUID


CANCEL = BulkAction(
    name="cancel_selected",
    title="Cancel selected runs",
    possible="can be cancelled",
    button="Cancel {}",
    done="Prefect is asked to cancel it.",
    reason_label="Reason",
    help="Prefect stops the processes. Work already done is not undone. The reason is recorded in the audit trail.",
    explain=lambda run, permissions: actions.explain_no_cancel(
        run, permissions.decide(Verb.CANCEL, Target.of_run(run))
    ),
    execute=requests.cancel,
    foresee=lambda run, requirements: "Its process is asked to stop" if run.started_at else "Does not start",
)
PUT_BACK = BulkAction(
    name="put_back_selected",
    title="Put selected runs back",
    possible="can be put back",
    button="Put {} back",
    done="It will be put back.",
    reason_label=actions.REASON,
    help=actions.PUT_BACK_HELP,
    explain=lambda run, permissions: actions.explain_no_recovery(run, permissions, Kind.PUT_BACK),
    execute=requests.put_back,
    always_needs_reason=True,
    foresee=lambda run, requirements: "Another worker starts it",
)
FAIL = BulkAction(
    name="mark_failed_selected",
    title="Mark selected runs as failed",
    possible="can be marked as failed",
    button="Mark {} as failed",
    done="It will be marked as failed.",
    reason_label=actions.REASON,
    help=actions.FAIL_HELP,
    explain=lambda run, permissions: actions.explain_no_recovery(run, permissions, Kind.FAIL),
    execute=requests.mark_failed,
    always_needs_reason=True,
    foresee=lambda run, requirements: "Becomes Failed; a process that is alive goes on",
)
RETRY = BulkAction(
    name="retry_selected",
    title="Retry selected runs",
    possible="can be retried",
    button="Retry {}",
    done="It will be retried.",
    reason_label="Reason",
    help=actions.RETRY_HELP,
    explain=actions.explain_no_retry,
    execute=requests.retry,
    is_danger=False,
    foresee=actions.foresee_retry,
)
RERUN = BulkAction(
    name="rerun_selected",
    title="Re-run selected runs",
    possible="can be run again",
    button="Re-run {}",
    done="A new run was requested.",
    reason_label="Reason",
    help="Requests a new run of each with the same parameters, secrets included. The earlier runs stay as they are.",
    explain=selected_reruns.explain_no_rerun,
    execute=selected_reruns.rerun,
    is_danger=False,
    foresee=selected_reruns.foresee,
    starts_runs=True,
)


def view(request: HttpRequest, queryset: QuerySet[Run], bulk: BulkAction, frame: dict[str, Any]) -> HttpResponse | None:
    """Ask for a reason; when that form comes back, act on each run and redirect to the results."""
    # One more than allowed tells that there are too many without counting them.
    runs = list(queryset[: MOST_AT_ONCE + 1])
    if len(runs) > MOST_AT_ONCE:
        messages.warning(request, f"Select at most {MOST_AT_ONCE} runs.")
        return None
    # Read once per deployment, not once per run.
    requirements = {target_key(run): requirements_for(Target.of_run(run)) for run in first_of_each(runs)}
    # The form posts to the list again, with the same action and the selection as hidden inputs.
    if "reason" not in request.POST:
        return ask(request, runs, bulk, frame, requirements)
    if problem := problem_of(request, bulk, requirements):
        return ask(request, runs, bulk, frame, requirements, problem)
    deadline = time.monotonic() + LONGEST
    results = [
        bulk_results.attempt(run, lambda run: act_on(request, run, bulk), bulk.done)
        if time.monotonic() < deadline
        else bulk_results.not_reached(run)
        for run in runs
    ]
    key = bulk_results.store(request, bulk.title, results)
    return HttpResponseRedirect(reverse("admin:runs_run_results", args=[key]))


def act_on(request: HttpRequest, run: Run, bulk: BulkAction) -> object:
    given: dict[str, Any] = {"reason": reason_of(request), "ticket": ticket_of(request)}
    if bulk.starts_runs:
        given["submission_key"] = key_of(request, f"submission_key-{run.pk}")
    return bulk.execute(run, by=actor_of(request), **given)


def problem_of(
    request: HttpRequest, bulk: BulkAction, requirements: Mapping[object, Requirements]
) -> Problem | Refused | None:
    """Return what is wrong with the form as a whole; what is wrong with one run is its own result."""
    try:
        reason = reason_of(request)
        ticket_of(request)
    except Refused as refusal:
        return refusal
    if needs_reason(bulk, requirements) and not reason:
        return Problem("reason.required", "Give a reason.")
    mismatch = [place for place in names_to_type(bulk, requirements) if typed(request, place) != place]
    return Problem("confirmation.mismatch", f"Type {', '.join(mismatch)} to confirm.") if mismatch else None


def ask(
    request: HttpRequest,
    runs: list[Run],
    bulk: BulkAction,
    frame: dict[str, Any],
    requirements: Mapping[object, Requirements],
    error: Problem | Refused | None = None,
) -> HttpResponse:
    """Show the selected runs, why it is not possible for some, what happens to the others, and a form."""
    permissions = permissions_of(request)
    rows = [row(run, bulk, permissions, requirements[target_key(run)]) for run in runs]
    count = sum(not each.why_not for each in rows)
    return render(
        request,
        "portal/run/selected.html",
        {
            **frame,
            "title": bulk.title,
            "bulk": bulk,
            "rows": rows,
            "count": count,
            "button": bulk.button.format(plural(count, "run")),
            "needs_reason": needs_reason(bulk, requirements),
            "asks_ticket": any(each.needs_ticket or each.ticket_patterns for each in requirements.values()),
            "needs_ticket": any(each.needs_ticket for each in requirements.values()),
            "names_to_type": names_to_type(bulk, requirements),
            "reason": request.POST.get("reason", ""),
            "ticket": request.POST.get("ticket", ""),
            "error": error,
            "checkbox": ACTION_CHECKBOX_NAME,
        },
    )


def row(run: Run, bulk: BulkAction, permissions: Permissions, requirements: Requirements) -> Row:
    why_not, code = bulk.explain(run, permissions)
    return Row(run, why_not, code, "" if why_not else bulk.foresee(run, requirements), uuid.uuid4())


def target_key(run: Run) -> object:
    return run.environment_id, run.access_deployment_id, run.flow_name


def first_of_each(runs: list[Run]) -> list[Run]:
    """Return one run of each deployment."""
    return list({target_key(run): run for run in reversed(runs)}.values())


def needs_reason(bulk: BulkAction, requirements: Mapping[object, Requirements]) -> bool:
    return bulk.always_needs_reason or any(each.needs_reason for each in requirements.values())


def names_to_type(bulk: BulkAction, requirements: Mapping[object, Requirements]) -> list[str]:
    """Return the environments whose name confirms that runs start there."""
    if not bulk.starts_runs:
        return []
    return sorted({each.place for each in requirements.values() if each.needs_confirmation})


def typed(request: HttpRequest, place: str) -> str:
    return request.POST.get(f"confirmation-{place}", "").strip()
