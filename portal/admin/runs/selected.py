"""Act on several selected runs at once: a list that says for which it is possible, then the results as messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from flows.wording import plural
from portal.admin.actions import reason_of, ticket_of
from portal.admin.base import attempt
from portal.admin.runs import actions
from portal.auth.request_user import actor_of, permissions_of
from runs import requests
from runs.access.decisions import Permissions, Target
from runs.governance.requirements import requirements_for
from runs.models import Run, Verb
from runs.models.action import Kind

# Each run is a transaction of its own, in one web request.
MOST_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class BulkAction:
    """An action of the list: its words, what explains for a run why it is not possible, and the service of one run.

    `button` has a place for the number of runs.
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


CANCEL = BulkAction(
    name="cancel_selected",
    title="Cancel selected runs",
    possible="can be cancelled",
    button="Cancel {}",
    done="cancellation requested.",
    reason_label="Reason",
    help="Prefect stops the processes. Work already done is not undone. The reason is recorded in the audit trail.",
    explain=lambda run, permissions: actions.explain_no_cancel(
        run, permissions.decide(Verb.CANCEL, Target.of_run(run))
    ),
    execute=requests.cancel,
)
PUT_BACK = BulkAction(
    name="put_back_selected",
    title="Put selected runs back",
    possible="can be put back",
    button="Put {} back",
    done="will be put back.",
    reason_label=actions.REASON,
    help=actions.PUT_BACK_HELP,
    explain=lambda run, permissions: actions.explain_no_recovery(run, permissions, Kind.PUT_BACK),
    execute=requests.put_back,
    always_needs_reason=True,
)
FAIL = BulkAction(
    name="mark_failed_selected",
    title="Mark selected runs as failed",
    possible="can be marked as failed",
    button="Mark {} as failed",
    done="will be marked as failed.",
    reason_label=actions.REASON,
    help=actions.FAIL_HELP,
    explain=lambda run, permissions: actions.explain_no_recovery(run, permissions, Kind.FAIL),
    execute=requests.mark_failed,
    always_needs_reason=True,
)
RETRY = BulkAction(
    name="retry_selected",
    title="Retry selected runs",
    possible="can be retried",
    button="Retry {}",
    done="will be retried.",
    reason_label="Reason",
    help=actions.RETRY_HELP,
    explain=actions.explain_no_retry,
    execute=requests.retry,
    is_danger=False,
)


def view(request: HttpRequest, queryset: QuerySet[Run], bulk: BulkAction, frame: dict[str, Any]) -> HttpResponse | None:
    """Ask for a reason; when that form comes back, act on each run."""
    if queryset.count() > MOST_AT_ONCE:
        messages.warning(request, f"Select at most {MOST_AT_ONCE} runs.")
        return None
    runs = list(queryset)
    # The form posts to the list again, with the same action and the selection as hidden inputs.
    if "reason" not in request.POST:
        return ask_for_reason(request, runs, bulk, frame)
    for run in runs:
        attempt(request, run, partial(act_on, request, run, bulk), bulk.done)
    return None


def act_on(request: HttpRequest, run: Run, bulk: BulkAction) -> object:
    return bulk.execute(run, by=actor_of(request), reason=reason_of(request), ticket=ticket_of(request))


def ask_for_reason(request: HttpRequest, runs: list[Run], bulk: BulkAction, frame: dict[str, Any]) -> HttpResponse:
    """Show the selected runs, why it is not possible for some, and a form for the reason."""
    permissions = permissions_of(request)
    # Requirements are read once per deployment, not once per run.
    targets = {(run.environment_id, run.access_deployment_id, run.flow_name): Target.of_run(run) for run in runs}
    requirements = [requirements_for(target) for target in targets.values()]
    rows = [(run, *bulk.explain(run, permissions)) for run in runs]
    count = sum(not why_not for _, why_not, _ in rows)
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
            "needs_reason": bulk.always_needs_reason or any(each.needs_reason for each in requirements),
            "asks_ticket": any(each.needs_ticket or each.ticket_patterns for each in requirements),
            "needs_ticket": any(each.needs_ticket for each in requirements),
            "checkbox": ACTION_CHECKBOX_NAME,
        },
    )
