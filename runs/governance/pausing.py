"""Request that deployments are paused or resumed."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, Subquery

from flows.models import Deployment
from runs import actions, audit
from runs.access.decisions import Target, require
from runs.actors import Actor
from runs.errors import Refused
from runs.governance.in_scope import require_in_scope
from runs.governance.requirements import requirements_for
from runs.models import Action, Freeze, Verb
from runs.models.action import OPEN, PAUSES, Kind, State

# Kind -> the verb of its audit entry.
VERBS = {Kind.PAUSE: "deployment.pause", Kind.RESUME: "deployment.resume"}


def pause(deployment: Deployment, *, by: Actor, reason: str = "", ticket: str = "") -> Action:
    """Request that the schedules of a deployment are paused."""
    return request(deployment, Kind.PAUSE, by=by, reason=reason, ticket=ticket)


def resume(deployment: Deployment, *, by: Actor, reason: str = "", ticket: str = "") -> Action:
    """Request that the schedules of a deployment are resumed."""
    return request(deployment, Kind.RESUME, by=by, reason=reason, ticket=ticket)


def request(deployment: Deployment, kind: Kind, *, by: Actor, reason: str, ticket: str) -> Action:
    """Check permission and requirements, and create the action; raises `Forbidden` or `Refused`."""
    with audit.act(VERBS[kind], deployment, by=by, reason=reason, ticket=ticket) as act:
        require(by, Verb.PAUSE, deployment)
        if deployment.deleted_upstream_at:
            raise Refused("deployment.gone", f"{deployment} is no longer deployed in {deployment.environment}.")
        require_in_scope(deployment)
        pauses = kind == Kind.PAUSE
        if deployment.is_paused == pauses:
            raise Refused("deployment.unchanged", f"{deployment} is already {'paused' if pauses else 'active'}.")
        requirements_for(Target.of(deployment)).require_reason_and_ticket(kind.value, reason=reason, ticket=ticket)
        # The mirrored state; Prefect's own is read after the action was sent.
        act.before, act.after = {"is_paused": deployment.is_paused}, {"is_paused": pauses}
        return actions.create(
            kind,
            deployment,
            before={"is_paused": deployment.is_paused},
            by=by,
            by_name=by.name,
            reason=reason,
            ticket=ticket,
        )


def pause_for_freeze(freeze: Freeze) -> int:
    """Pause the deployments with active schedules in a frozen environment; return how many.

    Prefect starts the runs of its schedules without asking the portal. Pausing also deletes the runs it has planned.
    """
    pending = Action.objects.filter(deployment=OuterRef("pk"), kind__in=PAUSES, state__in=OPEN)
    # Runs every minute while frozen, so it skips deployments for which something is requested already.
    unpaused = Deployment.objects.filter(
        ~Exists(pending),
        environment=freeze.environment_id,
        deleted_upstream_at=None,
        is_paused=False,
        schedules__contains=[{"is_active": True}],
    )
    made = [pause_or_resume(each, freeze, Kind.PAUSE, by_name=freeze.begun_by_name) for each in unpaused]
    return len(made)


def resume_after_freeze(freeze: Freeze, *, by_name: str) -> int:
    """Resume the schedules that a freeze paused, except those that a person paused or resumed since.

    Returns how many.
    """
    pauses = freeze.actions.filter(kind=Kind.PAUSE)
    # 1. Those not settled must not pause anything any more. Locked before anything is read: one that is about to be
    # sent is sent either before, which shows, or not at all.
    unsettled = list(pauses.filter(state__in=OPEN).select_for_update(of=["self"]).order_by("pk"))
    # 2. Only where the freeze's action is the last one: a later one is a person's decision. One that was sent may have
    # reached Prefect although its result is unknown: resume it too.
    latest = Action.objects.filter(deployment=OuterRef("deployment"), kind__in=PAUSES).order_by("-pk")
    was_sent = Q(state=State.DONE) | Q(state__in=OPEN, sent_at__isnull=False)
    # One that left its scope stays paused: it may belong where schedules must not run.
    sent = pauses.filter(was_sent, deployment__left_scope_at=None)
    held = list(sent.filter(pk=Subquery(latest.values("pk")[:1])).select_related("deployment"))
    for each in unsettled:
        actions.move(each, to=State.FAILED, message="The freeze ended before this was sent.")
    # 3. In Prefect, and for the freeze.
    for each in held:
        pause_or_resume(each.target_deployment, freeze, Kind.RESUME, by_name=by_name)
    return len(held)


def pause_or_resume(deployment: Deployment, freeze: Freeze, kind: Kind, *, by_name: str) -> Action:
    """Create the action of a freeze; it has no audit entry of its own, the freeze has one."""
    return actions.create(
        kind,
        deployment,
        before={"is_paused": deployment.is_paused},
        by_name=by_name,
        reason=freeze.reason,
        ticket=freeze.ticket,
        is_automatic=True,
        freeze=freeze,
    )
