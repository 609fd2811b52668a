"""Request that deployments are paused or resumed."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, Subquery

from flows.models import Deployment, UnassignedDeployment
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
        if deployment.is_paused == pauses and not (pauses and is_paused_for_now(deployment)):
            raise Refused("deployment.unchanged", f"{deployment} is already {'paused' if pauses else 'active'}.")
        requirements_for(Target.of(deployment)).require_reason_and_ticket(kind.value, reason=reason, ticket=ticket)
        # The mirrored state; Prefect's own is read after the action was sent.
        act.before, act.after = {"is_paused": deployment.is_paused}, {"is_paused": pauses}
        if pauses:
            withdraw_resume(deployment, by)
        return actions.create(
            kind,
            deployment,
            before={"is_paused": deployment.is_paused},
            by=by,
            by_name=by.name,
            reason=reason,
            ticket=ticket,
        )


def is_paused_for_now(deployment: Deployment) -> bool:
    """Return whether a paused deployment is to be resumed later, unless a person pauses it.

    A freeze that ends resumes what it paused, and a resumption that was requested during it waits for that.
    """
    rows = Action.objects.filter(deployment=deployment, kind__in=PAUSES).select_related("freeze")
    latest = rows.order_by("-pk").first()
    if latest is None:
        return False
    if latest.kind == Kind.RESUME:
        return latest.state in OPEN
    return latest.freeze is not None and latest.freeze.lifted_at is None


def withdraw_resume(deployment: Deployment, by: Actor) -> None:
    """Withdraw a resumption that waits, such as for the end of a freeze: it must not undo the pause."""
    waiting = Action.objects.filter(deployment=deployment, kind=Kind.RESUME, state__in=OPEN)
    # Locked: one that is about to be sent is sent either before, or not at all.
    for each in waiting.select_for_update(of=["self"]).order_by("pk"):
        actions.move(each, to=State.OVERTAKEN, message=f"{by.name} requested a pause.")


def pause_for_freeze(freeze: Freeze) -> int:
    """Pause the deployments with active schedules that a freeze holds; return how many.

    Prefect starts the runs of its schedules without asking the portal. Pausing also deletes the runs it has planned.
    Of a deployment that left its scope the schedules are not known any more, so it is paused whatever it had.
    """
    pending = Action.objects.filter(deployment=OuterRef("pk"), kind=Kind.PAUSE, state__in=OPEN)
    may_start = Q(schedules__contains=[{"is_active": True}]) | Q(left_scope_at__isnull=False)
    # Runs every minute while frozen, so it skips deployments whose pause is requested already.
    unpaused = Deployment.objects.filter(
        ~Exists(pending), may_start, held_by(freeze), deleted_upstream_at=None, is_paused=False
    )
    made = [pause_or_resume(each, freeze, Kind.PAUSE, by_name=freeze.begun_by_name) for each in unpaused]
    return len(made)


def held_by(freeze: Freeze) -> Q:
    """Return the condition for the deployments of a frozen environment, and those that are in its scope by now.

    One that left the scope of another environment stays there until an administrator confirms where it belongs. Until
    then nothing that either environment forbids may start.
    """
    coming = UnassignedDeployment.objects.filter(
        environment=OuterRef("environment"),
        prefect_id=OuterRef("prefect_id"),
        covered_by__contains=[freeze.environment_id],
    )
    return Q(environment=freeze.environment_id) | Q(Exists(coming), left_scope_at__isnull=False)


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
    held = list(sent.filter(pk=Subquery(latest.values("pk")[:1])).select_related("deployment__environment"))
    for each in unsettled:
        actions.move(each, to=State.FAILED, message="The freeze ended before this was sent.")
    # 3. In Prefect, and for the freeze.
    resumed = 0
    for each in held:
        if (deployment := present(each, freeze)) is None:
            continue
        if other := Freeze.objects.filter(environment=deployment.environment_id, lifted_at=None).first():
            # Paused for that one from now on, whose end resumes it.
            pause_or_resume(deployment, other, Kind.PAUSE, by_name=other.begun_by_name)
            continue
        pause_or_resume(deployment, freeze, Kind.RESUME, by_name=by_name)
        resumed += 1
    return resumed


def present(pause: Action, freeze: Freeze) -> Deployment | None:
    """Return the deployment that a freeze paused as it is now; None if it is not to be resumed.

    One that was on its way into the frozen environment, and was assigned to it since, is another row there.
    """
    deployment = pause.target_deployment
    if deployment.deleted_upstream_at is None:
        return deployment
    rows = Deployment.objects.filter(environment=freeze.environment_id, prefect_id=deployment.prefect_id)
    found = rows.filter(deleted_upstream_at=None, left_scope_at=None).select_related("environment").first()
    is_decided = found and Action.objects.filter(deployment=found, kind__in=PAUSES, pk__gt=pause.pk).exists()
    return None if is_decided else found


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
