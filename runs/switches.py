"""Pausing and resuming deployments: the only maker of a `Switch`."""

from __future__ import annotations

from typing import Any

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
        return make(
            deployment, pause=pause, reason=storable(reason), ticket=storable(ticket)[:100], asked_by_name=by.name
        )


def make(deployment: Deployment, **columns: Any) -> Switch:
    switch = Switch.objects.create(deployment=deployment, **columns)
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
    made = [turn(each, freeze, pause=True, by_name=freeze.begun_by_name) for each in going]
    return len(made)


def release(freeze: Freeze, *, by_name: str) -> int:
    """Let the schedules go on that a freeze held back, but for those that somebody switched since."""
    latest = Switch.objects.filter(deployment=OuterRef("deployment")).order_by("-pk").values("pk")[:1]
    may_be_sent = Q(state=Switch.State.DONE) | Q(state=Switch.State.WANTED, attempts__gt=0)
    held = list(freeze.switches.filter(may_be_sent, pk=Subquery(latest), pause=True).select_related("deployment"))
    freeze.switches.filter(pause=True, state=Switch.State.WANTED).update(
        state=Switch.State.FAILED, message="The freeze was lifted before it was sent."
    )
    for each in held:
        turn(each.deployment, freeze, pause=False, by_name=by_name)
    return len(held)


def turn(deployment: Deployment, freeze: Freeze, *, pause: bool, by_name: str) -> Switch:
    """A switch that is part of a freeze, whose entry in the trail stands for it."""
    return make(
        deployment, pause=pause, freeze=freeze, reason=freeze.reason, ticket=freeze.ticket, asked_by_name=by_name
    )
