"""Decide who can view the parameters and the log of a run; seeing the run itself is not enough for either."""

from __future__ import annotations

from flows import encryption
from flows.models import Deployment
from runs.access.decisions import Permissions, Target
from runs.models import ChangeRequest, Run, RunRequest, RunSpec, Verb
from runs.requests import spec_values

HIDDEN = "Hidden: requires permission to view logs."


def can_view_parameters(permissions: Permissions, subject: Deployment | Target | Run | RunRequest) -> bool:
    """Return whether a person can view parameter values: by a grant, as the requester, or as an approver.

    For a deployment only grants count.
    """
    if isinstance(subject, Run):
        run_request: RunRequest | None = getattr(subject, "run_request", None)
        return (
            can_view_as_requester(permissions, run_request)
            or permissions.decide(Verb.SEE_INPUTS, Target.of_run(subject)).allowed
        )
    if isinstance(subject, RunRequest):
        return (
            can_view_as_requester(permissions, subject)
            or permissions.decide(Verb.SEE_INPUTS, subject.deployment).allowed
            or can_decide(permissions, subject)
        )
    return permissions.decide(Verb.SEE_INPUTS, subject).allowed


def can_view_logs(permissions: Permissions, run: Run) -> bool:
    """Return whether a person can view the log of a run, and the messages of its states, which quote it."""
    return permissions.decide(Verb.SEE_LOGS, Target.of_run(run)).allowed


def muted(run: Run, permissions: Permissions) -> Run:
    """Return the row for display, its message hidden from people who cannot view logs. Never save it."""
    if run.state_message and not can_view_logs(permissions, run):
        run.state_message = HIDDEN
    return run


def can_view_as_requester(permissions: Permissions, run_request: RunRequest | None) -> bool:
    """Return whether a person can view the parameters because they requested the run."""
    return (
        run_request is not None
        and run_request.change.requested_by_id is not None
        and run_request.change.requested_by_id == permissions.user.pk
        # Otherwise re-running a request would be a way to view its values.
        and not run_request.spec.is_blind
    )


def can_decide(permissions: Permissions, run_request: RunRequest) -> bool:
    """Return whether a person can approve a waiting request: they must see the parameters they approve."""
    return can_decide_about(permissions, run_request.change, run_request.spec)


def can_decide_about(permissions: Permissions, change: ChangeRequest, spec: RunSpec) -> bool:
    """Return the same for what would run: a step of a chain has no run request before it starts."""
    if change.state != ChangeRequest.State.WAITING or permissions.user.pk in (
        change.requested_by_id,
        change.on_behalf_of_id,
    ):
        return False
    # Without values first: most readers have no such grant, and the values need decrypting.
    if not permissions.decide(Verb.APPROVE, spec.deployment):
        return False
    try:
        return permissions.decide(Verb.APPROVE, spec.deployment, spec_values(spec)).allowed
    except encryption.DecryptionError:
        # Without the key the request cannot be approved either.
        return False
