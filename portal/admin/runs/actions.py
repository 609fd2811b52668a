"""Context of the buttons that cancel, force-cancel, recover, retry and re-run a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils import timezone

from portal.admin.run_form import rerun, tickets
from portal.ui import times
from runs import requests, stalls
from runs.access.decisions import Decision, Permissions, Target
from runs.errors import Refused
from runs.governance.requirements import Requirements, requirements_for
from runs.models import Action, Run, RunRequest, Verb
from runs.models.action import CANCELS, OPEN, RECOVERIES, Kind

RECOVERY_VERBS = {Kind.PUT_BACK: Verb.PUT_BACK, Kind.FAIL: Verb.FORCE_CANCEL}
REASON = "How do you know that no process is working on it?"
PUT_BACK_HELP = (
    "Sets the run to Scheduled in Prefect, and another worker starts it. If the worker that picked it up is still "
    "alive, the run can run twice."
)
FAIL_HELP = (
    "Marks the run as failed in Prefect. A process that is still running is not stopped and may change data that the "
    "next run reads."
)
RETRY_HELP = (
    "Prefect starts the same run again with the same parameters. A task whose result was stored is not repeated. The "
    "reason is recorded in the audit trail."
)


def cancelling(run: Run, permissions: Permissions, run_actions: Iterable[Action]) -> dict[str, Any]:
    """Decide whether the run can be cancelled, or force-cancelled after a cancellation that did not work.

    Also returns what a cancellation must come with: `cancel_rules`, and a hint for the ticket field.
    """
    if run.is_over:
        return {"may_cancel": False, "may_force": False}
    target = Target.of_run(run)
    pending = next((each for each in run_actions if each.kind in CANCELS and each.state in OPEN), None)
    may_cancel = pending is None and permissions.decide(Verb.CANCEL, target).allowed
    # Force only what has been cancelled before: Prefect overwrites a forced state if the process is still running.
    may_force = (
        pending is not None and pending.kind != Kind.FORCE and permissions.decide(Verb.FORCE_CANCEL, target).allowed
    )
    requirements = requirements_for(target) if may_cancel or may_force else None
    return {
        "may_cancel": may_cancel,
        "may_force": may_force,
        "wait_to_force": remaining_wait(pending) if pending and may_force else "",
        "cancel_rules": requirements,
        "ticket_hint": tickets.describe(requirements.ticket_patterns) if requirements else "",
    }


def remaining_wait(cancellation: Action) -> str:
    """Return how long a cancellation must still be waited for before it can be forced, or an empty string."""
    left = (cancellation.requested_at + requests.PATIENCE - timezone.now()).total_seconds()
    # Rounded up: at "0 s" the service would still refuse.
    return times.span(left + 1) if left > 0 else ""


def explain_no_cancel(run: Run, decision: Decision) -> tuple[str, str]:
    """Return the sentence why the run cannot be cancelled, and its code; both empty if it can."""
    if run.is_terminal:
        return f"Already finished: {run.state_label}.", "run.finished"
    if decision.allowed or run.deleted_upstream_at:
        return "", ""
    return decision.sentence, decision.code


def recovering(run: Run, permissions: Permissions, run_actions: Iterable[Action]) -> dict[str, Any]:
    """Decide whether a stalled run can be put back or marked as failed, and what that must come with."""
    is_pending = any(each.kind in RECOVERIES and each.state in OPEN for each in run_actions)
    may = {kind: not is_pending and explain_no_recovery(run, permissions, kind)[0] == "" for kind in RECOVERIES}
    requirements = requirements_for(Target.of_run(run)) if any(may.values()) else None
    return {
        "may_put_back": may[Kind.PUT_BACK],
        "may_mark_failed": may[Kind.FAIL],
        "recover_rules": requirements,
        "recover_reason": REASON,
        "put_back_help": PUT_BACK_HELP,
        "fail_help": FAIL_HELP,
    }


def explain_no_recovery(run: Run, permissions: Permissions, kind: Kind) -> tuple[str, str]:
    """Return the sentence why this cannot be done about the run, and its code; both empty if it can."""
    if run.is_terminal:
        return f"Already finished: {run.state_label}.", "run.finished"
    if kind not in stalls.recovery_kinds(run):
        return "Not stalled in a way for which this helps.", "run.not_stalled"
    decision = permissions.decide(RECOVERY_VERBS[kind], Target.of_run(run))
    return ("", "") if decision.allowed else (decision.sentence, decision.code)


def retrying(run: Run, permissions: Permissions, run_actions: Iterable[Action]) -> dict[str, Any]:
    """Decide whether a failed run can be retried in place, and what that must come with."""
    is_pending = any(each.kind == Kind.RETRY and each.state in OPEN for each in run_actions)
    may_retry = run.is_terminal and not is_pending and explain_no_retry(run, permissions)[0] == ""
    return {
        "may_retry": may_retry,
        "retry_rules": requirements_for(Target.of_run(run)) if may_retry else None,
        "retry_help": retry_help(run) if may_retry else "",
    }


def retry_help(run: Run) -> str:
    """Return what a retry does here, and whether others must approve it."""
    run_request = requests.request_of(run)
    if run_request is None or not requests.needs_new_approval(run_request, requirements_for(Target.of_run(run))):
        return RETRY_HELP
    left = requests.retries_left(run_request)
    if left > 0:
        return f"{RETRY_HELP} It was approved with the request: {left} of {run_request.spec.retries} retries left."
    return f"{RETRY_HELP} It needs approval by someone else first."


def foresee_retry(run: Run, requirements: Requirements) -> str:
    """Return what a retry of this run would do, for a list of several."""
    run_request: RunRequest | None = getattr(run, "run_request", None)
    if run_request is None or not requests.needs_new_approval(run_request, requirements):
        return "Starts at once"
    left = requests.retries_left(run_request)
    return (
        f"Starts at once: {left} of {run_request.spec.retries} approved retries left"
        if left > 0
        else "Waits for approval"
    )


def explain_no_retry(run: Run, permissions: Permissions) -> tuple[str, str]:
    """Return the sentence why the run cannot be retried, and its code; both empty if it can.

    Values, change windows and what is on offer are checked when it is requested.
    """
    try:
        run_request = requests.require_retryable(run, getattr(run, "run_request", None))
        permissions.require(requests.verb_for(permissions, run, run_request), Target.of_run(run))
        if run.deployment:
            requests.require_submittable(run.deployment, scheduled_for=None)
    except Refused as refusal:
        return refusal.message, refusal.code
    return "", ""


def rerun_url(run: Run, run_request: RunRequest | None, permissions: Permissions) -> str:
    """Return the URL of the prefilled run form, or an empty string without permission."""
    if run_request and run.deployment:
        return rerun.form_url(run_request, run.deployment, permissions)
    return rerun.form_url_like(run, permissions)
