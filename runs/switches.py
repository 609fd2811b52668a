"""Pausing and resuming deployments: the only maker of a `Switch`."""

from __future__ import annotations

from flows.access import Refused, Target, demand
from flows.fitting import storable
from flows.models import Deployment, Verb
from runs import audit, queue
from runs.actors import Actor
from runs.models import Switch
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
