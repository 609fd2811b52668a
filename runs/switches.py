"""Pausing and resuming deployments: the only maker of a `Switch`."""

from __future__ import annotations

from flows.access import Refused, demand
from flows.fitting import storable
from flows.models import Deployment, Verb
from runs import audit, queue
from runs.actors import Actor
from runs.models import Switch


def pause(deployment: Deployment, *, by: Actor, reason: str = "") -> Switch:
    """Ask for a deployment's schedules to stop."""
    return want(deployment, pause=True, by=by, reason=reason)


def resume(deployment: Deployment, *, by: Actor, reason: str = "") -> Switch:
    """Ask for a deployment's schedules to go on."""
    return want(deployment, pause=False, by=by, reason=reason)


def want(deployment: Deployment, *, pause: bool, by: Actor, reason: str) -> Switch:
    with audit.act("deployment.pause" if pause else "deployment.resume", deployment, by=by, reason=reason) as act:
        demand(by.user, Verb.MANAGE, deployment)
        if deployment.gone_at:
            raise Refused(f"{deployment} is no longer deployed in {deployment.environment}.")
        if deployment.is_paused == pause:
            raise Refused(f"{deployment} is {'paused' if pause else 'not paused'} already.")
        if deployment.environment.needs_reason and not reason.strip():
            raise Refused(f"{deployment.environment} wants a reason. Say in one sentence why.")
        act.before, act.after = {"is_paused": deployment.is_paused}, {"is_paused": pause}
        switch = Switch.objects.create(
            deployment=deployment, pause=pause, reason=storable(reason), asked_by_name=by.name
        )
        queue.later("runs.tasks.switch", switch.pk)
        return switch
