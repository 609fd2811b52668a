"""What becomes of a wish: the only mover of a run request, and the only maker and settler of a cancellation."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from flows import parameters as schemas
from flows import vault
from flows.access import Forbidden, Refused, Target, decide, demand
from flows.fitting import storable
from flows.models import Deployment, Verb
from runs import audit, queue
from runs.actors import Actor
from runs.models import Approval, AuditEntry, Cancellation, Run, RunRequest
from runs.models.request import State
from runs.nudges import nudge

# The legal moves: to -> from. Anything else is refused.
COMES_FROM: dict[State, frozenset[State]] = {
    State.APPROVED: frozenset({State.WAITING, State.LAUNCHING}),
    State.LAUNCHING: frozenset({State.APPROVED, State.LAUNCHING}),
    State.LAUNCHED: frozenset({State.LAUNCHING, State.COMPLETED, State.FAILED, State.CANCELLED}),
    State.COMPLETED: frozenset({State.LAUNCHED}),
    State.FAILED: frozenset({State.LAUNCHED}),
    State.CANCELLED: frozenset({State.LAUNCHED}),
    State.REJECTED: frozenset({State.WAITING}),
    State.WITHDRAWN: frozenset({State.WAITING, State.APPROVED}),
    State.EXPIRED: frozenset({State.WAITING, State.APPROVED}),
    State.REFUSED: frozenset({State.APPROVED, State.LAUNCHING}),
}
# What a run's last state makes of its request.
SETTLES: dict[str, State] = {
    "COMPLETED": State.COMPLETED,
    "FAILED": State.FAILED,
    "CRASHED": State.FAILED,
    "CANCELLED": State.CANCELLED,
}
FROZEN = [
    "environment_name",
    "flow_name",
    "deployment_name",
    "deployment_prefect_id",
    "deployment_version",
    "schema_fingerprint",
    "parameters",
    "scheduled_for",
    "tags",
    "run_name",
    "reason",
    "asked_by_name",
]
FURTHEST = timedelta(days=366)
MOST_TAGS = 50


def move(run_request: RunRequest, *, to: State, message: str = "", **columns: Any) -> None:
    """Compare and swap the state; `Refused` when somebody else moved it first."""
    moved = RunRequest.objects.filter(pk=run_request.pk, state__in=COMES_FROM[to]).update(
        state=to, message=storable(message), changed_at=timezone.now(), **columns
    )
    run_request.refresh_from_db()
    if not moved:
        raise Refused(
            f"Request {run_request.pk} is “{run_request.get_state_display()}”: "
            f"it cannot become “{to.label}” any more. Reload the page to see what happened."
        )
    nudge("request", [run_request.pk])


def submit(
    deployment: Deployment,
    parameters: Mapping[str, Any],
    *,
    by: Actor,
    scheduled_for: datetime | None = None,
    tags: Sequence[str] = (),
    run_name: str = "",
    reason: str = "",
    submission_key: uuid.UUID | None = None,
    seen_fingerprint: str = "",
) -> RunRequest:
    """Ask for a run.

    The same `submission_key` again gives the same request. `seen_fingerprint` is the schema the asker saw.
    Raises `Forbidden`, `Refused`, or `flows.parameters.Invalid` with every error at once.
    """
    key = submission_key or uuid.uuid4()
    with audit.act("request.submit", deployment, by=by, reason=reason) as act:
        deployment = Deployment.objects.select_related("environment").get(pk=deployment.pk)
        decision = demand(by.user, Verb.TRIGGER, deployment, parameters)
        must_be_askable(deployment, reason=reason, scheduled_for=scheduled_for)
        if seen_fingerprint and seen_fingerprint != deployment.schema_fingerprint:
            raise Refused(
                f"The parameters of {deployment} changed while the form was open. Check the values and send it again."
            )
        must_be_plain(run_name, reason, tags)
        values = schemas.validate(deployment.parameter_schema, dict(parameters), defaults=deployment.parameter_defaults)
        public, secret = schemas.split(deployment.parameter_schema, values)
        environment = deployment.environment
        wish = RunRequest(
            submission_key=key,
            environment=environment,
            deployment=deployment,
            environment_name=environment.slug,
            flow_name=deployment.flow_name,
            deployment_name=deployment.full_name,
            deployment_prefect_id=deployment.prefect_id,
            deployment_version=deployment.version,
            schema_fingerprint=deployment.schema_fingerprint,
            parameters=public,
            sealed_parameters=vault.seal(json.dumps(secret)) if secret else b"",
            scheduled_for=scheduled_for,
            tags=sorted({tag.strip() for tag in tags if tag.strip()}),
            run_name=run_name.strip(),
            reason=reason.strip(),
            asked_by=by.user,
            asked_by_name=by.name,
            channel=by.channel,
            needs_approval=environment.needs_approval,
            state=State.WAITING if environment.needs_approval else State.APPROVED,
        )
        wish.digest = digest(wish)
        if environment.needs_approval:
            wish.expires_at = timezone.now() + timedelta(minutes=environment.approval_minutes)
        run_request, is_new = keep_once(wish)
        act.subject = run_request
        if not is_new:
            if run_request.digest != wish.digest or not by.is_same_person_as(run_request.asked_by_id):
                raise Refused("This form was sent before with other values. Open it again to ask for another run.")
            act.is_repeat = True
            return run_request
        act.after = {
            "deployment": deployment.full_name,
            "parameters": schemas.mask(deployment.parameter_schema, values),
            "scheduled_for": scheduled_for,
            "state": run_request.state,
            "digest": run_request.digest,
            "grants": [grant.pk for grant in decision.grants],
        }
        if run_request.state == State.APPROVED:
            queue.later("runs.tasks.launch", run_request.pk)
        nudge("request", [run_request.pk])
        return run_request


def must_be_plain(run_name: str, reason: str, tags: Sequence[str]) -> None:
    """Texts that neither Postgres nor Prefect would take are refused before either is asked."""
    limits = [("run name", run_name, 200), ("reason", reason, 1000), *(("tag", tag, 300) for tag in tags)]
    for what, text, longest in limits:
        if text != storable(text):
            raise Refused(f"The {what} holds a character that cannot be stored. Type it again instead of pasting it.")
        if len(text) > longest:
            raise Refused(f"A {what} may have {longest} characters; this one has {len(text)}.")
    if len(tags) > MOST_TAGS:
        raise Refused(f"A run may have {MOST_TAGS} tags; these are {len(tags)}.")


def must_be_allowed(deployment: Deployment, *, by: Actor) -> None:
    """For a door that turns people away before it looks at what they sent: the refusal is recorded all the same."""
    decision = decide(by.user, Verb.TRIGGER, deployment)
    if not decision:
        with audit.act("request.submit", deployment, by=by):
            raise Forbidden(decision)


def must_be_askable(deployment: Deployment, *, reason: str, scheduled_for: datetime | None) -> None:
    """The gates that do not depend on who asks; asked again at launch."""
    environment = deployment.environment
    if not environment.is_active:
        raise Refused(f"{environment} is switched off in the portal: nothing can be asked for there.")
    if deployment.gone_at:
        raise Refused(f"{deployment} is no longer deployed in {environment}. Deploy it again, or pick another one.")
    if environment.needs_reason and not reason.strip():
        raise Refused(f"{environment} wants a reason with every run. Say in one sentence why it is needed.")
    if scheduled_for and scheduled_for > timezone.now() + FURTHEST:
        raise Refused("A run can be asked for at most a year ahead.")


def keep_once(wish: RunRequest) -> tuple[RunRequest, bool]:
    """Store a wish, or find the one that the same form made a moment ago."""
    try:
        with transaction.atomic():
            wish.save(force_insert=True)
    except IntegrityError:
        return RunRequest.objects.get(submission_key=wish.submission_key), False
    return wish, True


def digest(run_request: RunRequest) -> str:
    """SHA-256, in hexadecimal, over everything frozen; secret values count by a keyed hash."""
    frozen = {name: getattr(run_request, name) for name in FROZEN}
    # Postgres gives some numbers back in another form than they came in.
    frozen["parameters"] = schemas.canonical(run_request.parameters)
    secret = vault.unseal(run_request.sealed_parameters) if run_request.sealed_parameters else ""
    frozen["secret"] = salted_hmac("runs.lifecycle.digest", secret, algorithm="sha256").hexdigest()
    text = json.dumps(frozen, sort_keys=True, separators=(",", ":"), cls=DjangoJSONEncoder)
    return hashlib.sha256(text.encode()).hexdigest()


def approve(run_request: RunRequest, *, by: Actor, reason: str = "") -> None:
    """Let a waiting request go to Prefect."""
    answer(run_request, State.APPROVED, by=by, reason=reason)


def reject(run_request: RunRequest, *, by: Actor, reason: str = "") -> None:
    """Close a waiting request."""
    answer(run_request, State.REJECTED, by=by, reason=reason)


def answer(run_request: RunRequest, to: State, *, by: Actor, reason: str) -> None:
    approved = to == State.APPROVED
    with audit.act("request.approve" if approved else "request.reject", run_request, by=by, reason=reason) as act:
        if by.is_same_person_as(run_request.asked_by_id):
            raise Refused("You cannot answer your own request: somebody else must look at it.")
        demand(by.user, Verb.APPROVE, run_request.deployment, run_request.parameters)
        if run_request.expires_at and run_request.expires_at <= timezone.now():
            raise Refused(f"Request {run_request.pk} expired before it was answered. It has to be asked for again.")
        act.before = {"state": run_request.state}
        move(run_request, to=to, message=reason)
        act.after = {"state": to, "digest": run_request.digest}
        Approval.objects.create(
            run_request=run_request,
            approved=approved,
            by=by.user,
            by_name=by.name,
            digest=run_request.digest,
            reason=storable(reason),
        )
        if approved:
            queue.later("runs.tasks.launch", run_request.pk)


def withdraw(run_request: RunRequest, *, by: Actor, reason: str = "") -> None:
    """Take a request back before it is sent; its asker, or whoever may cancel."""
    with audit.act("request.withdraw", run_request, by=by, reason=reason) as act:
        if not by.is_same_person_as(run_request.asked_by_id):
            demand(by.user, Verb.CANCEL, run_request.deployment)
        act.before = {"state": run_request.state}
        move(run_request, to=State.WITHDRAWN, message=reason)
        act.after = {"state": State.WITHDRAWN}


def expire(run_request: RunRequest) -> None:
    """Close a request that nobody answered in time."""
    with audit.act("request.expire", run_request, by=Actor.system()):
        move(run_request, to=State.EXPIRED, message="Nobody answered in time. It has to be asked for again.")


def launched(run_request: RunRequest, flow_run_id: uuid.UUID) -> None:
    """Note the flow run that Prefect made for it. Called by `runs.dispatch`."""
    with audit.act("request.launch", run_request, by=Actor.system()) as act:
        act.after = {"flow_run_id": str(flow_run_id), "attempts": run_request.attempts}
        move(run_request, to=State.LAUNCHED, flow_run_id=flow_run_id, launched_at=timezone.now(), next_attempt_at=None)
        queue.later("runs.tasks.follow_up", run_request.pk)


def refuse(run_request: RunRequest, why: str) -> None:
    """Close a request that a gate or Prefect turned down at launch. Called by `runs.dispatch`."""
    with audit.act("request.launch", run_request, by=Actor.system()) as act:
        move(run_request, to=State.REFUSED, message=why, next_attempt_at=None)
        act.refusal = why


def put_back(run_request: RunRequest, why: str, *, to: State, at: datetime) -> None:
    """Let it wait for another attempt at `at`: queued when nothing was sent, launching when that is unknown."""
    move(run_request, to=to, message=why, next_attempt_at=at)


def cancel(run: Run, *, by: Actor, reason: str = "") -> Cancellation:
    """Ask for a run to be stopped."""
    with audit.act("run.cancel", run, by=by, reason=reason) as act:
        run = Run.objects.select_for_update(of=["self"]).select_related("environment", "deployment").get(pk=run.pk)
        demand(by.user, Verb.CANCEL, target_of(run))
        if run.is_terminal:
            raise Refused(f"{run} has ended already: {run.state_label}.")
        if run.gone_at:
            raise Refused(f"{run} is no longer in Prefect: there is nothing left to cancel.")
        if run.environment.needs_reason and not reason.strip():
            raise Refused(f"{run.environment} wants a reason with every cancel. Say in one sentence why.")
        earlier = run.cancellations.filter(state__in=Cancellation.OPEN).first()
        if earlier:
            raise Refused(f"{earlier.asked_by_name} asked for this already; Prefect has not confirmed it yet.")
        cancellation = Cancellation.objects.create(
            run=run, reason=storable(reason), asked_by=by.user, asked_by_name=by.name
        )
        act.before = {"state": run.state_type}
        act.after = {"cancellation": cancellation.pk}
        queue.later("runs.tasks.stop", cancellation.pk)
        nudge("run", [run.pk])
        return cancellation


def target_of(run: Run) -> Target:
    """What grants are held against for a run: its deployment, or its flow when it has none."""
    return Target.of(run.deployment) if run.deployment else Target(run.environment, run.flow_name)


def settle(runs: Sequence[Run]) -> None:
    """Carry the facts of these runs' states to the requests and cancellations that wait for them.

    Called by `runs.mirror`. Rows first, the trail last: whoever holds its end must not wait for a row.
    """
    for run in runs:
        settle_request(run)
    acts = [act for run in runs if run.is_terminal for act in settle_cancellations(run)]
    for act in acts:
        audit.record(act, AuditEntry.Outcome.DONE)


def settle_request(run: Run) -> None:
    RunRequest.objects.filter(flow_run_id=run.prefect_id, environment=run.environment_id, run=None).update(run=run)
    run_request = RunRequest.objects.filter(run=run).first()
    if run_request:
        to = SETTLES.get(run.state_type, State.LAUNCHED)
        if run_request.state in COMES_FROM[to]:
            move(run_request, to=to, message=run.state_message[:2000])


def settle_cancellations(run: Run) -> Iterator[audit.Act]:
    for cancellation in run.cancellations.filter(state__in=Cancellation.OPEN):
        confirmed = run.state_type == "CANCELLED"
        Cancellation.objects.filter(pk=cancellation.pk).update(
            state=Cancellation.State.CONFIRMED if confirmed else Cancellation.State.OVERTAKEN,
            settled_at=timezone.now(),
            message="" if confirmed else f"It ended as {run.state_label} before the cancel reached it.",
        )
        yield audit.Act(
            "run.cancelled" if confirmed else "run.outran_cancel",
            run,
            Actor.system(),
            after={"state": run.state_type, "cancellation": cancellation.pk},
        )
