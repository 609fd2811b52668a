"""Pausing and resuming deployments: the only maker of a `Switch`."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, Subquery

from flows.access import Refused, Target, demand
from flows.fitting import storable
from flows.models import Deployment, Verb
from runs import audit, queue
from runs.actors import Actor
from runs.models import Freeze, Switch
from runs.rules import rules_for


def pause(deployment: Deployment, *, by: Actor, reason: str = "", ticket: str = "") -> Switch:
    """Ask for a deployment's schedules to stop."""
    return want(deployment, pause=True, by=by, reason=reason, ticket=ticket)


def resume(deployment: Deployment, *, by: Actor, reason: str = "", ticket: str = "") -> Switch:
    """Ask for a deployment's schedules to go on."""
    return want(deployment, pause=False, by=by, reason=reason, ticket=ticket)


def want(deployment: Deployment, *, pause: bool, by: Actor, reason: str, ticket: str) -> Switch:
    with audit.act(
        "deployment.pause" if pause else "deployment.resume", deployment, by=by, reason=reason, ticket=ticket
    ) as act:
        demand(by.user, Verb.PAUSE, deployment)
        if deployment.gone_at:
            raise Refused(f"{deployment} is no longer deployed in {deployment.environment}.")
        if deployment.is_paused == pause:
            raise Refused(f"{deployment} is {'paused' if pause else 'not paused'} already.")
        what = "pause" if pause else "resume"
        rules_for(Target.of(deployment)).must_be_said(what, reason=reason, ticket=ticket)
        act.before, act.after = {"is_paused": deployment.is_paused}, {"is_paused": pause}
        switch = Switch.objects.create(
            deployment=deployment,
            pause=pause,
            reason=storable(reason),
            ticket=storable(ticket)[:100],
            asked_by_name=by.name,
        )
        queue.later("runs.tasks.switch", switch.pk)
        return switch


def hold(freeze: Freeze) -> int:
    """Pause what its own schedules would start in a frozen environment; returns how many that are.

    Prefect starts the runs of its schedules by itself: no gate of ours would be asked. What it has planned is dropped.
    """
    wanted = Switch.objects.filter(deployment=OuterRef("pk"), state=Switch.State.WANTED)
    going = Deployment.objects.filter(
        ~Exists(wanted),
        environment=freeze.environment_id,
        gone_at=None,
        is_paused=False,
        schedules__contains=[{"is_active": True}],
    )
    return sum(bool(turn(deployment, freeze, pause=True)) for deployment in going)


def release(freeze: Freeze) -> int:
    """Let the schedules go on that a freeze held back, but for those that somebody switched since."""
    latest = Switch.objects.filter(deployment=OuterRef("deployment")).order_by("-pk").values("pk")[:1]
    may_be_sent = Q(state=Switch.State.DONE) | Q(state=Switch.State.WANTED, attempts__gt=0)
    held = list(freeze.switches.filter(may_be_sent, pk=Subquery(latest), pause=True).select_related("deployment"))
    freeze.switches.filter(pause=True, state=Switch.State.WANTED).update(
        state=Switch.State.FAILED, message="The freeze was lifted before it was sent."
    )
    return sum(bool(turn(each.deployment, freeze, pause=False)) for each in held)


def turn(deployment: Deployment, freeze: Freeze, *, pause: bool) -> Switch:
    """A switch that is part of a freeze, whose entry in the trail stands for it."""
    switch = Switch.objects.create(
        deployment=deployment,
        pause=pause,
        freeze=freeze,
        reason=freeze.reason,
        ticket=freeze.ticket,
        asked_by_name=freeze.begun_by_name,
    )
    queue.later("runs.tasks.switch", switch.pk)
    return switch
