"""Who may see what a run is given and what it says: seeing that it is there is not enough for either."""

from __future__ import annotations

from flows import encryption
from flows.models import Deployment
from runs.access.decisions import Permissions, Target
from runs.models import Run, RunRequest, Verb
from runs.models.request import State
from runs.requests import values_of

HIDDEN = "What it said is for those who may see its logs."


def can_view_parameters(permissions: Permissions, subject: Deployment | Target | Run | RunRequest) -> bool:
    """Whether somebody may see parameter values: by their grants, as their requester, or because they are to answer.

    For a request and its run the reader's own part counts; for a deployment only grants do.
    """
    if isinstance(subject, Run):
        run_request: RunRequest | None = getattr(subject, "run_request", None)
        return (
            is_requester(permissions, run_request)
            or permissions.decide(Verb.SEE_INPUTS, Target.of_run(subject)).allowed
        )
    if isinstance(subject, RunRequest):
        return (
            is_requester(permissions, subject)
            or permissions.decide(Verb.SEE_INPUTS, subject.deployment).allowed
            or can_decide(permissions, subject)
        )
    return permissions.decide(Verb.SEE_INPUTS, subject).allowed


def can_view_logs(permissions: Permissions, run: Run) -> bool:
    """Whether somebody may read what a run wrote: its log, and the messages of its states, which quote it."""
    return permissions.decide(Verb.SEE_LOGS, Target.of_run(run)).allowed


def muted(run: Run, permissions: Permissions) -> Run:
    """The row for a page, without what it said where the reader may not know that. Never save it."""
    if run.state_message and not can_view_logs(permissions, run):
        run.state_message = HIDDEN
    return run


def is_requester(permissions: Permissions, run_request: RunRequest | None) -> bool:
    return (
        run_request is not None
        and run_request.requested_by_id is not None
        and run_request.requested_by_id == permissions.user.pk
    )


def can_decide(permissions: Permissions, run_request: RunRequest) -> bool:
    """Approvers see the parameters of what they are asked to approve while it is waiting."""
    if run_request.state != State.WAITING or permissions.user.pk in (
        run_request.requested_by_id,
        run_request.on_behalf_of_id,
    ):
        return False
    if not permissions.decide(Verb.APPROVE, run_request.deployment):
        return False
    try:
        return permissions.decide(Verb.APPROVE, run_request.deployment, values_of(run_request)).allowed
    except encryption.DecryptionError:
        # Without the key nobody can approve it either.
        return False
