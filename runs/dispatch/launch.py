"""Making the flow run of an approved request, exactly once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.formats import date_format

from flows import canonical
from flows.catalog import health
from flows.models import Deployment
from flows.prefect_api import connect
from flows.prefect_api.records import FlowRunRecord, NotFound, PrefectError, Rejected, Uncertain
from runs import changes, requests
from runs.access.decisions import Target, require
from runs.dispatch.leases import LEASE, backoff
from runs.errors import Refused
from runs.governance import windows
from runs.governance.requirements import requirements_for
from runs.models import BreakGlass, RunRequest, Verb
from runs.models.request import State

# How long before its time a planned run is handed over, so that a worker has it by then.
AHEAD = timedelta(seconds=30)
# How often what waits for a window is looked at, for windows and freezes may change.
LOOK_AGAIN = timedelta(minutes=1)


def launch(run_request: RunRequest) -> None:
    """Make the flow run of an approved request, exactly once.

    The same idempotency key is sent however often this is called; a claim keeps two workers from sending at once.
    """
    came_from = claim(run_request)
    if came_from is None:
        return
    attempt = run_request.attempts
    values = requests.values_of(run_request)
    try:
        record = connect.client_for(run_request.environment).create_flow_run(
            run_request.deployment_prefect_id,
            parameters=values,
            idempotency_key=run_request.idempotency_key,
            name=run_request.run_name or None,
            tags=[*run_request.tags, f"portal-request:{run_request.pk}", *marks(run_request)],
            scheduled_for=run_request.scheduled_for,
        )
    except (NotFound, Rejected) as error:
        changes.refuse(run_request, "prefect.rejected", str(error), attempt=attempt)
    except Uncertain as error:
        wait(run_request, error, to=State.LAUNCHING, attempt=attempt)
    except PrefectError as error:
        health.record_error(run_request.environment, error)
        # That nothing was sent now says nothing of an attempt before, whose answer is unknown still.
        wait(run_request, error, to=came_from, attempt=attempt)
    else:
        difference = differs(run_request, record, values)
        if difference:
            changes.refuse(run_request, "run.differs", difference, attempt=attempt)
        else:
            changes.launched(run_request, record.id)


def claim(run_request: RunRequest) -> State | None:
    """Ask every gate again under a row lock and take the lease. The state it was in; None if there is nothing to do."""
    now = timezone.now()
    with transaction.atomic():
        due = Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)
        taken = (
            RunRequest.objects.select_for_update(of=["self"])
            .filter(due, pk=run_request.pk, state__in=[State.APPROVED, State.LAUNCHING])
            .first()
        )
        if taken is None:
            return None
        if taken.state == State.APPROVED:
            try:
                check_again(taken)
                wait_until = start_time(taken)
            except Refused as refusal:
                changes.refuse(run_request, refusal.code, refusal.message)
                return None
            if wait_until:
                changes.hold(run_request, wait_until[1], at=wait_until[0])
                return None
        changes.move(
            run_request, to=State.LAUNCHING, message="", attempts=F("attempts") + 1, next_attempt_at=now + LEASE
        )
    return State(taken.state)


def marks(run_request: RunRequest) -> list[str]:
    """What Prefect's own pages should say of a run that went around the rules."""
    broke_glass = BreakGlass.objects.filter(run_request=run_request).exists()
    return [*(["break-glass"] if broke_glass else []), *(["window-override"] if run_request.overridden_at else [])]


def check_again(run_request: RunRequest) -> None:
    """Everything that had to be true when it was asked for must still be true; else `Refused`."""
    deployment = Deployment.objects.select_related("environment").get(pk=run_request.deployment_id)
    run_request.deployment = deployment
    if run_request.requested_by:
        require(run_request.requested_by, Verb(run_request.verb), deployment, requests.values_of(run_request))
    requests.require_submittable(deployment, scheduled_for=None)
    if requests.digest(run_request) != run_request.digest:
        raise Refused(
            "request.changed",
            "It does not match what was requested: it was changed in the database. Submit a new request.",
        )
    if deployment.schema_fingerprint != run_request.schema_fingerprint:
        raise Refused(
            "schema.changed", f"The parameters of {deployment} changed after the request. Submit a new request."
        )
    if run_request.needs_approval and deployment.version != run_request.deployment_version:
        raise Refused("definition.changed", f"{deployment} was redeployed after the approval. Submit a new request.")
    glass = BreakGlass.objects.filter(run_request=run_request).first()
    if glass is None:
        changes.require_approved(run_request)
    elif glass.until <= timezone.now():
        raise Refused(
            "override.expired",
            f"The emergency override ended at {glass.until:%H:%M} UTC. Submit a new request.",
            until=glass.until.isoformat(),
        )


def start_time(run_request: RunRequest) -> tuple[datetime, str] | None:
    """When to look again and why, for a request whose time has not come; else None.

    One that is planned for later stays here until then: what Prefect holds already, no freeze could hold back.
    """
    now = timezone.now()
    planned = run_request.scheduled_for
    if planned and planned - AHEAD > now:
        return (
            planned - AHEAD,
            f"It will be sent to Prefect at {date_format(timezone.localtime(planned), 'j M Y, H:i e')}.",
        )
    if run_request.overridden_at:
        return None
    target = Target.of(run_request.deployment)
    standing = windows.standing(target, max(planned or now, now))
    if standing:
        return None
    if requirements_for(target).refuse_outside_window:
        raise Refused("window.closed", f"{standing.sentence} Submit a new request for a permitted time.")
    return min(standing.opens_at or now + LOOK_AGAIN, now + LOOK_AGAIN), standing.sentence


def differs(run_request: RunRequest, record: FlowRunRecord, values: dict[str, Any]) -> str:
    """Why what Prefect answered is not what was asked for, or an empty string.

    A key that was used before gives the earlier run back, whatever was asked this time.
    """
    if record.deployment_id != run_request.deployment_prefect_id:
        return "Prefect answered with a run of another deployment for this request's key. Ask for it again."
    if not all(canonical.same(record.parameters.get(name), value) for name, value in values.items()):
        return (
            "Prefect answered with a run that has other parameters than this request. Look at it before asking again."
        )
    return ""


def wait(run_request: RunRequest, error: PrefectError, *, to: State, attempt: int) -> None:
    at = timezone.now() + backoff(attempt)
    changes.requeue(run_request, f"{error} It will be sent again by itself.", to=to, at=at, attempt=attempt)
