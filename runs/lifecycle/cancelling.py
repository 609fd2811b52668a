"""Asking for a run to be stopped."""

from __future__ import annotations

from flows.access import Refused, Target, demand
from flows.fitting import storable
from flows.models import Verb
from runs import audit, queue
from runs.actors import Actor
from runs.models import Cancellation, Run
from runs.nudges import nudge


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
