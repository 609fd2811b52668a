"""Re-runs of several selected runs: for which it is possible, what happens, and the request of each."""

from __future__ import annotations

import uuid

from flows import deployments, encryption
from portal.admin.run_form import rerun as single_rerun
from runs import requests
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.errors import Refused
from runs.governance.requirements import Requirements
from runs.models import Run, RunRequest


def rerun(
    run: Run, *, by: Actor, reason: str = "", ticket: str = "", submission_key: uuid.UUID | None = None
) -> RunRequest:
    """Request a run with the values of an earlier one. Raises `Forbidden` or `Refused`."""
    return requests.rerun(require_request(run), by=by, reason=reason, ticket=ticket, submission_key=submission_key)


def require_request(run: Run) -> RunRequest:
    run_request: RunRequest | None = getattr(run, "run_request", None)
    if run_request is None:
        raise Refused(
            "rerun.external",
            f"{run} was started outside the portal. Run it again from its own page.",
        )
    return run_request


def explain_no_rerun(run: Run, permissions: Permissions) -> tuple[str, str]:
    """Return the sentence why the run cannot be requested again from a list, and its code; both empty if it can.

    Values, change windows and what is on offer are checked when it is requested.
    """
    try:
        run_request = require_request(run)
        # Joined to each row of the list, unlike that of the request.
        known = run.deployment or run_request.deployment
        deployment = deployments.current(known) or known
        requests.require_submittable(deployment, scheduled_for=None)
        decision = single_rerun.can_rerun(run_request, deployment, permissions)
        if not decision:
            return decision.sentence, decision.code
        if requests.is_destructive(deployment, requests.values_of(run_request)):
            return "It deletes data: run it again from its own page.", "destructive.unconfirmed"
    except (Refused, encryption.DecryptionError) as refusal:
        return str(refusal), getattr(refusal, "code", "key.unreadable")
    return "", ""


def foresee(run: Run, requirements: Requirements) -> str:
    return "Waits for approval" if requirements.stages else "Starts at once, if its window is open"
