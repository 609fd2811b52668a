"""Create the flow run of an approved request in Prefect, exactly once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.formats import date_format

from flows import canonical, server_identity
from flows.catalog import health
from flows.prefect_api import connect
from flows.prefect_api.records import FlowRunRecord, NewFlowRun, NotFound, PrefectError, Rejected, Uncertain
from runs import changes, definitions, requests
from runs.access.decisions import Permissions, Target
from runs.dispatch.leases import LEASE, backoff
from runs.errors import Refused
from runs.governance import agents, windows
from runs.governance.requirements import requirements_for
from runs.models import ChangeRequest, RunRequest, Verb
from runs.models.request import State

# How long before its start time a scheduled run is sent, so that a worker has picked it up by then.
AHEAD = timedelta(seconds=30)
# How often a request that waits for a window is checked: windows and freezes can change meanwhile.
RECHECK_AFTER = timedelta(minutes=1)
# What a launch needs of other tables, read with the request in one query.
RELATED = (
    "environment__server",
    "deployment__environment",
    "change__requested_by",
    "change__agent",
    "change__break_glass",
    "spec",
)


def launch(run_request: RunRequest) -> None:
    """Create the flow run of an approved request, exactly once.

    Every attempt sends the same idempotency key, so Prefect returns the run of an earlier one; the lease keeps two
    workers from sending at the same time.
    """
    # 1. Check everything again and take the lease, in a transaction that ends before the call: a call can take seconds.
    came_from = claim(run_request)
    if came_from is not None:
        send(run_request, came_from)


def send(run_request: RunRequest, came_from: State) -> None:
    """Send a claimed request, and record the result."""
    # 1. Send what was approved, to its server. The attempt number tells a late result from the current one.
    attempt = run_request.attempts
    values = requests.values_of(run_request)
    try:
        require_same_server(run_request)
        # Prefect may have the run of an earlier attempt already: that one is checked when it starts.
        if came_from == State.APPROVED or not run_request.sent_at:
            definitions.require_unchanged(run_request)
            changes.note_sent(run_request)
        wanted = flow_run_for(run_request, values)
        client = connect.client_for(run_request.environment.server)
        record = client.create_flow_run(
            run_request.spec.deployment_prefect_id,
            parameters=wanted.parameters,
            idempotency_key=wanted.idempotency_key,
            name=wanted.name,
            tags=wanted.tags,
            scheduled_for=wanted.scheduled_for,
            job_variables=wanted.job_variables,
            work_queue_name=wanted.work_queue_name,
        )
    # 2. Record the result: closed, unknown, not sent, or launched.
    except Refused as refusal:
        changes.refuse(run_request, refusal.code, refusal.message, attempt=attempt)
    except (NotFound, Rejected) as error:
        changes.refuse(run_request, "prefect.rejected", str(error), attempt=attempt)
    except Uncertain as error:
        # Prefect may have created the run: it stays at launching, where it cannot be withdrawn.
        wait(run_request, error, to=State.LAUNCHING, attempt=attempt)
    except PrefectError as error:
        health.record_error(run_request.environment.server, error)
        # Nothing was sent now, but the result of an earlier attempt may still be unknown: keep the state it had.
        wait(run_request, error, to=came_from, attempt=attempt)
    else:
        difference = differs(run_request, record, values)
        if difference:
            changes.refuse(run_request, "run.differs", difference, attempt=attempt)
        else:
            changes.launched(run_request, record.id)


def flow_run_for(run_request: RunRequest, values: dict[str, Any]) -> NewFlowRun:
    """Return what is sent to Prefect: the same at every attempt, singly or with others."""
    return NewFlowRun(
        parameters=values,
        idempotency_key=run_request.idempotency_key,
        name=run_request.spec.run_name or None,
        tags=(*run_request.spec.tags, f"portal-request:{run_request.pk}", *marks(run_request)),
        scheduled_for=run_request.scheduled_for,
        job_variables=run_request.spec.profile.get("job_variables", {}),
        work_queue_name=run_request.spec.profile.get("work_queue", ""),
    )


def claim(run_request: RunRequest) -> State | None:
    """Check the request again under its row lock and take the lease.

    Returns the state it was in, or None when there is nothing to send: not due, another worker has it, refused or held.
    """
    now = timezone.now()
    with transaction.atomic():
        due = Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)
        rows = RunRequest.objects.select_for_update(of=["self"]).select_related(*RELATED)
        try:
            run_request.refresh_from_db(from_queryset=rows.filter(due, state__in=[State.APPROVED, State.LAUNCHING]))
        except RunRequest.DoesNotExist:
            return None
        came_from = State(run_request.state)
        try:
            wait_until = check_launch(run_request, came_from)
        except Refused as refusal:
            changes.refuse(run_request, refusal.code, refusal.message)
            return None
        if wait_until:
            changes.hold(run_request, wait_until[1], at=wait_until[0])
            return None
        changes.move(run_request, to=State.LAUNCHING, attempts=run_request.attempts + 1, next_attempt_at=now + LEASE)
    return came_from


def check_launch(run_request: RunRequest, came_from: State) -> tuple[datetime, str] | None:
    """Refuse a launch that must not be; return when to check again and why, None if it can start now."""
    changes.require_evidence(run_request)
    # A request that is launching passed the other checks before, and Prefect may already have its run.
    if came_from != State.APPROVED:
        return None
    check_again(run_request)
    return start_time(run_request)


def marks(run_request: RunRequest) -> list[str]:
    """Return tags that mark an override on Prefect's own pages."""
    overrides = {
        "break-glass": changes.emergency_override(run_request.change),
        "window-override": run_request.overridden_at,
    }
    return [mark for mark, override in overrides.items() if override]


def check_again(run_request: RunRequest) -> None:
    """Refuse a launch unless everything required at request time is still true."""
    # 1. The requester's permission, and that the deployment can be run at all.
    deployment, values = run_request.deployment, requests.values_of(run_request)
    if requester := run_request.change.requested_by:
        permissions = Permissions.of_person(requester)
        permissions.require(Verb(run_request.spec.verb), deployment, values)
        if run_request.change.is_backfill or changes.is_of_backfill(run_request):
            permissions.require(Verb.BACKFILL, deployment, values)
        if run_request.change.is_schedule:
            permissions.require(Verb.SCHEDULE, deployment)
    requests.require_submittable(deployment, scheduled_for=None)
    # 2. The parameters mean what they meant.
    if deployment.schema_fingerprint != run_request.spec.schema_fingerprint:
        raise Refused(
            "schema.changed", f"The parameters of {deployment} changed after the request. Submit a new request."
        )
    # Not before its time: what is on offer can change until then.
    if not run_request.scheduled_for or run_request.scheduled_for - AHEAD <= timezone.now():
        requests.require_still_offered(deployment, values)
    requests.require_profile(run_request)
    # 3. A step of a chain: the chain is enabled, and where a person had to let the step go, one did.
    if run_request.change.kind == ChangeRequest.Kind.CHAIN:
        changes.require_step_released(run_request)
    # 4. An agent was not stopped, and in a protected environment someone else has approved what it asked for.
    if agent := run_request.change.agent:
        agents.require_running(agent)
        changes.require_other_person(run_request.change, deployment)
    # 5. The approvals hold, or an emergency override is in force.
    bypass = changes.emergency_override(run_request.change)
    if bypass is None:
        changes.require_approved(run_request)
    elif bypass.until <= timezone.now():
        raise Refused(
            "override.expired",
            f"The emergency override ended at {bypass.until:%H:%M} UTC. Submit a new request.",
            until=bypass.until.isoformat(),
        )


def require_same_server(run_request: RunRequest) -> None:
    """Refuse to send a request to another address than the one it was made for."""
    environment = run_request.environment
    if not server_identity.is_same_address(environment.server.api_url, run_request.spec.api_url):
        raise Refused(
            "environment.moved",
            f"The API address of {environment} changed after the request. Submit a new request.",
        )


def start_time(run_request: RunRequest) -> tuple[datetime, str] | None:
    """Return when to check again and why, for a request that cannot start yet; None when it can.

    A scheduled run stays here until its time: a freeze could not hold back what Prefect already has.
    """
    now = timezone.now()
    # Read with the row that was locked: what was paused before is not sent.
    if run_request.change.is_held_back:
        kind = run_request.change.get_kind_display().lower()
        return now + RECHECK_AFTER, f"The {kind} is {run_request.change.get_progress_display().lower()}."
    planned = run_request.scheduled_for
    if planned and planned - AHEAD > now:
        return (
            planned - AHEAD,
            f"Scheduled for {date_format(timezone.localtime(planned), 'j M Y, H:i e')}.",
        )
    if run_request.overridden_at:
        return None
    target = Target.of(run_request.deployment)
    standing = windows.standing(target, max(planned or now, now))
    if standing:
        return None
    if requirements_for(target).refuse_outside_window:
        raise Refused("window.closed", f"{standing.sentence} Submit a new request for a permitted time.")
    return min(standing.opens_at or now + RECHECK_AFTER, now + RECHECK_AFTER), standing.sentence


def differs(run_request: RunRequest, record: FlowRunRecord, values: dict[str, Any]) -> str:
    """Return why the run that Prefect returned is not the one requested; empty when it is.

    For a key that was used before, Prefect returns the earlier run and ignores the new parameters.
    """
    if record.deployment_id != run_request.spec.deployment_prefect_id:
        return "Prefect returned a run of another deployment for this request. Submit a new request."
    # Only the values that were sent are compared: Prefect may return more.
    if not all(canonical.same(record.parameters.get(name), value) for name, value in values.items()):
        return "Prefect returned a run with other parameters than requested. Check it before you submit a new request."
    profile = run_request.spec.profile
    queue = profile.get("work_queue") or record.work_queue_name
    if not canonical.same(record.job_variables, profile.get("job_variables", {})) or record.work_queue_name != queue:
        return (
            "Prefect returned a run with other job variables than requested. Check it before you submit a new request."
        )
    return ""


def wait(run_request: RunRequest, error: PrefectError, *, to: State, attempt: int) -> None:
    """Schedule the next attempt after an error."""
    at = timezone.now() + backoff(attempt)
    changes.requeue(run_request, f"{error} Retrying automatically.", to=to, at=at, attempt=attempt)
