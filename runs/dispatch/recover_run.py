"""Put stalled runs back to Scheduled, mark them as failed, or retry failed ones, in Prefect."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from flows.prefect_api import connect
from flows.prefect_api.client import PrefectClient
from runs import actions, changes, definitions, mirror, requests
from runs.access.decisions import Permissions
from runs.dispatch.launch import RELATED, check_again, require_same_server
from runs.dispatch.put_back import require_claimer_gone
from runs.models import Action, Run, RunRequest
from runs.models.action import Kind, State


def recover_run(action: Action) -> None:
    """Recover or retry a run once: ask Prefect afresh, and set the state only if the run has not moved."""
    # 1. Read the run again. The answer to an earlier attempt may have been lost: then its state is there.
    run = action.target_run
    stall = mirror.read_stall(run)
    if action.sent_at and is_done(action, run):
        return
    before = action.before
    if str(run.state_id) != before["state_id"] or stall != before["stalled"] or run.deleted_upstream_at:
        actions.settle(action, to=State.OVERTAKEN, message=f"The run moved first: {run.state_label}.")
        return
    # 2. A run that is put back or retried starts at once, so everything must hold that must hold at a launch.
    if require := REQUIRED.get(Kind(action.kind)):
        require(action, run)
    # 3. Set the state. Prefect compares nothing: in the milliseconds since it was read the run can move.
    if not actions.note_sending(action):
        return
    SEND[Kind(action.kind)](connect.client_for(run.environment.server), run.prefect_id, action.mark)
    actions.move(action, to=State.SENT)
    # 4. Prefect's answer is not proof: only the states read afterwards count.
    mirror.refresh(run.environment, [run.prefect_id])
    run.refresh_from_db()
    if not is_done(action, run):
        message = f"Prefect did not accept it. The run is {run.state_label}."
        actions.settle(action, to=State.FAILED, message=message)


def require_startable(action: Action, run: Run) -> None:
    """Refuse to put back what could not be launched now."""
    if action.is_automatic:
        requests.require_automatic(run)
        require_claimer_gone(run)
    requests.require_window(run)
    run_request = RunRequest.objects.select_related(*RELATED).filter(run=run).first()
    if run_request:
        changes.require_evidence(run_request)
        check_again(run_request)
        require_same_server(run_request)
        definitions.require_unchanged(run_request)


def require_retry_allowed(action: Action, run: Run) -> None:
    """Refuse a retry that the person could not request now."""
    run_request = requests.require_retryable(run, requests.request_of(run))
    changes.require_evidence(run_request)
    permissions = Permissions.of_person(action.requested_by or AnonymousUser())
    requirements = requests.require_retry_allowed(run, run_request, permissions)
    requests.require_start_now(run_request)
    changes.require_retry_approved(action, run_request, requirements)
    require_same_server(run_request)
    # An approval of its own is for the deployment as it was then, otherwise for the one of the request.
    change = action.change or run_request.change
    spec = change.specs.select_related("deployment__environment").get() if action.change else run_request.spec
    definitions.require_unchanged_since(change, spec, run_request.environment)


# Kind -> what must hold just before it is sent, and the call that sends it.
REQUIRED: dict[Kind, Callable[[Action, Run], None]] = {
    Kind.PUT_BACK: require_startable,
    Kind.RETRY: require_retry_allowed,
}
SEND: dict[Kind, Callable[[PrefectClient, UUID, str], None]] = {
    Kind.PUT_BACK: lambda client, run, mark: client.reschedule(run, timezone.now(), mark),
    Kind.FAIL: lambda client, run, mark: client.set_failed(run, mark),
    Kind.RETRY: lambda client, run, mark: client.retry(run, timezone.now(), mark),
}


def is_done(action: Action, run: Run) -> bool:
    """Settle an action whose state Prefect has, and return True; warn if the run had moved just before it."""
    changes = list(run.state_changes.order_by("at"))
    place = next((index for index, change in enumerate(changes) if change.message == action.mark), None)
    if place is None:
        return False
    before = changes[place - 1] if place else None
    moved = before is not None and str(before.prefect_id) != action.before["state_id"]
    warning = (
        f"The run had moved to {before.state_label} just before. Check that it does not run twice."
        if moved and before
        else ""
    )
    actions.settle(action, to=State.DONE, message=warning)
    return True
