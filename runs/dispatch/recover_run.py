"""Put stalled runs back to Scheduled, or mark them as failed, in Prefect."""

from __future__ import annotations

from django.utils import timezone

from flows.prefect_api import connect
from flows.prefect_api.records import NotFound, PrefectError, Rejected
from runs import audit, changes, definitions, mirror, requests
from runs.actors import Actor
from runs.change_feed import publish
from runs.dispatch.launch import check_again, require_same_server
from runs.dispatch.leases import backoff, record_attempt, take_lease
from runs.dispatch.put_back import require_claimer_gone
from runs.errors import Refused
from runs.models import Recovery, Run, RunRequest

State = Recovery.State
# Result -> the verb of its audit entry.
RESULTS = {
    State.DONE: "run.recovered",
    State.OVERTAKEN: "run.outran_recovery",
    State.FAILED: "run.recovery_failed",
}


def recover_run(recovery: Recovery) -> None:
    """Carry out a recovery once, if the run is still stalled; then read the run and settle by what Prefect has."""
    if not take_lease(Recovery.objects.filter(pk=recovery.pk, state=State.WANTED)):
        return
    recovery.refresh_from_db()
    try:
        carry_out(recovery)
    except Refused as refusal:
        settle(recovery, State.FAILED, refusal.message)
    except (NotFound, Rejected) as error:
        settle(recovery, State.FAILED, str(error))
    except PrefectError as error:
        at = timezone.now() + backoff(recovery.attempts)
        record_attempt(recovery, f"{error} Retrying automatically.", at=at)


def carry_out(recovery: Recovery) -> None:
    """Ask Prefect afresh, and set the state only if the run has not moved. Raises `PrefectError` or `Refused`."""
    # 1. Read the run again. The answer to an earlier attempt may have been lost: then its state is there.
    run = recovery.run
    stall = mirror.read_stall(run)
    if recovery.sent_at and is_done(recovery, run):
        return
    if run.state_id != recovery.state_id or stall != recovery.stalled_kind or run.is_over:
        settle(recovery, State.OVERTAKEN, f"The run moved first: {run.state_label}.")
        return
    # 2. A run that is put back starts at once, so everything must hold that must hold at a launch.
    if recovery.kind == Recovery.Kind.PUT_BACK:
        require_startable(recovery, run)
    # 3. Set the state. Prefect compares nothing: in the milliseconds since it was read the run can move.
    now = timezone.now()
    Recovery.objects.filter(pk=recovery.pk).update(sent_at=now)
    client = connect.client_for(run.environment.server)
    if recovery.kind == Recovery.Kind.PUT_BACK:
        client.reschedule(run.prefect_id, now, recovery.mark)
    else:
        client.set_failed(run.prefect_id, recovery.mark)
    # 4. Prefect's answer is not proof: only the states read afterwards count.
    mirror.refresh(run.environment, [run.prefect_id])
    run.refresh_from_db()
    if not is_done(recovery, run):
        settle(recovery, State.FAILED, f"Prefect did not accept it. The run is {run.state_label}.")


def require_startable(recovery: Recovery, run: Run) -> None:
    """Refuse to put back what could not be launched now."""
    if recovery.is_automatic:
        requests.require_automatic(run)
        require_claimer_gone(run)
    requests.require_window(run)
    run_request = RunRequest.objects.select_related("environment", "deployment").filter(run=run).first()
    if run_request:
        changes.require_evidence(run_request)
        check_again(run_request)
        require_same_server(run_request)
        definitions.require_unchanged(run_request)


def is_done(recovery: Recovery, run: Run) -> bool:
    """Settle a recovery whose state Prefect has, and return True; warn if the run had moved just before it."""
    changes = list(run.state_changes.order_by("at"))
    place = next((index for index, change in enumerate(changes) if change.message == recovery.mark), None)
    if place is None:
        return False
    before = changes[place - 1] if place else None
    moved = before is not None and before.prefect_id != recovery.state_id
    warning = (
        f"The run had moved to {before.state_label} just before. Check that it does not run twice."
        if moved and before
        else ""
    )
    settle(recovery, State.DONE, warning)
    return True


def settle(recovery: Recovery, to: Recovery.State, message: str) -> None:
    """Record the result, once."""
    with audit.act(RESULTS[to], recovery.run, by=Actor.system()) as act:
        settled = Recovery.objects.filter(pk=recovery.pk, state=State.WANTED).update(
            state=to, message=message, settled_at=timezone.now(), next_attempt_at=None
        )
        act.is_repeat = not settled
        act.refusal = message if settled and to == State.FAILED else ""
        act.after = {"recovery": recovery.pk, "kind": recovery.kind, "state": recovery.run.state_type}
        if message:
            act.after["message"] = message
        publish("run", [recovery.run_id])
