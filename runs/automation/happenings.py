"""What events mean to rules: where each came from, what can be read of it, and which rules led to it.

Read for a batch of events, with the same few queries whatever its size. What a rule reads of a happening is what its
owner may see of it: `facts_for`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from flows import parameters as schemas
from flows.models import Environment
from runs import artifact_facts
from runs.access.decisions import Permissions, Target
from runs.models import Artifact, EventRule, Hook, HookDelivery, Run, RunEvent, RunRequest, Verb
from runs.models.run import TERMINAL

Kind, Trigger = RunEvent.Kind, EventRule.Trigger
# Kind of event -> what it triggers.
TRIGGERS: dict[str, EventRule.Trigger] = {
    Kind.RUN_APPEARED: Trigger.RUN,
    Kind.RUN_MOVED: Trigger.RUN,
    Kind.ARTIFACT_STORED: Trigger.ARTIFACT,
    Kind.HOOK_DELIVERED: Trigger.DELIVERY,
    Kind.EVENT_POSTED: Trigger.EVENT,
}
# Levels of subflows that are followed up to the run of a request.
MOST_LEVELS = 20
# What decides about a run is small; these columns of its deployment are not.
LARGE = [
    f"access_deployment__{name}"
    for name in ("parameter_schema", "parameter_defaults", "schedules", "job_variables", "definition")
]
# The tag of each run that the portal launches: `runs.dispatch.launch`.
REQUEST_TAG = re.compile(r"portal-request:([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Happening:
    """An event that a rule can be for. `target` is what the selector of a rule is matched against.

    `name` is the key of the artifact, or the name of the posted event; `state` the state of the run at that time.
    """

    event: RunEvent
    trigger: EventRule.Trigger
    target: Target
    name: str = ""
    state: str = ""
    run: Run | None = None
    artifact: Artifact | None = None
    hook_id: int | None = None
    delivery: HookDelivery | None = None
    # The request because of which it happened, by a run or what that run posted.
    request_id: int | None = None

    @property
    def source(self) -> str:
        """What happened, in words."""
        place = self.target.environment.slug
        match self.trigger:
            case Trigger.ARTIFACT:
                return f"artifact {self.name} of run {self.run} in {place}"
            case Trigger.DELIVERY:
                return f"message {self.delivery.message_id if self.delivery else ''} to a hook in {place}"
            case Trigger.EVENT:
                return f"event {self.name} in {place}"
        return f"run {self.run} in {place}: {self.state.capitalize()}"


# Read -----------------------------------------------------------------------------------------------------------------


def happenings_of(events: Iterable[RunEvent]) -> list[Happening]:
    """Return what of these events a rule can be for, in their order; history and what was deleted since is left out."""
    chosen = [each for each in events if is_readable(each)]
    if not chosen:
        return []
    artifacts = Artifact.objects.in_bulk([each.data["artifact"] for each in chosen if "artifact" in each.data])
    runs = runs_of({each.run_id for each in chosen if each.run_id})
    places = Environment.objects.in_bulk({each.environment_id for each in chosen})
    deliveries = HookDelivery.objects.in_bulk([each.data["delivery"] for each in chosen if "delivery" in each.data])
    requests = requests_of(runs, {each.run_id: each.request_id for each in chosen if each.run_id and each.request_id})
    found = (
        happening(each, places.get(each.environment_id or 0), runs, artifacts, deliveries, requests) for each in chosen
    )
    return [each for each in found if each]


def is_readable(event: RunEvent) -> bool:
    """Return whether an event can trigger anything: of a run's states only those in which it has ended."""
    if event.is_history or event.kind not in TRIGGERS:
        return False
    return TRIGGERS[event.kind] != Trigger.RUN or event.data.get("state") in TERMINAL


def runs_of(wanted: set[int]) -> dict[int, Run]:
    """Return the runs with these keys, and those that they are subflows of, by key."""
    found: dict[int, Run] = {}
    for _ in range(MOST_LEVELS):
        wanted = wanted - found.keys()
        if not wanted:
            break
        rows = Run.objects.select_related("environment", "access_deployment__environment").defer(*LARGE)
        found |= rows.in_bulk(wanted)
        wanted = {parent for pk in wanted if pk in found and (parent := found[pk].parent_id)}
    return found


def requests_of(runs: Mapping[int, Run], named: Mapping[int, int]) -> dict[int, int]:
    """Return run -> the request that it was launched for, also of one that does not know its run yet.

    `named` are those that events name.
    """
    tagged = {pk: number for pk, run in runs.items() if run.created_by_portal and (number := tagged_request(run))}
    rows = RunRequest.objects.filter(Q(run__in=runs) | Q(pk__in={*tagged.values()})) if runs else ()
    linked: dict[int, int] = {}
    known: dict[int, RunRequest] = {}
    for each in rows:
        known[each.pk] = each
        if each.run_id:
            linked[each.run_id] = each.pk
    # A launch can be recorded after its run was read: then the tag says which it is.
    unlinked = {pk: number for pk, number in tagged.items() if number in known and known[number].run_id is None}
    return {**unlinked, **named, **linked}


def request_behind(run: Run) -> int | None:
    """Return the number of the request that a run was launched for, or the run that it is part of."""
    runs = runs_of({run.pk})
    return cause_of(run, runs, requests_of(runs, {}))


def tagged_request(run: Run) -> int | None:
    found = (REQUEST_TAG.fullmatch(tag) for tag in run.tags)
    return next((int(each[1]) for each in found if each), None)


def happening(
    event: RunEvent,
    environment: Environment | None,
    runs: Mapping[int, Run],
    artifacts: Mapping[int, Artifact],
    deliveries: Mapping[int, HookDelivery],
    requests: Mapping[int, int],
) -> Happening | None:
    trigger = TRIGGERS[event.kind]
    if environment is None:
        return None
    if trigger == Trigger.EVENT:
        cause = event.data.get("request")
        return Happening(event, trigger, Target.whole(environment), name=event.data["name"], request_id=cause)
    if trigger == Trigger.DELIVERY:
        delivery = deliveries.get(event.data["delivery"])
        hook = event.data["hook"]
        return Happening(event, trigger, Target.whole(environment), hook_id=hook, delivery=delivery)
    run = runs.get(event.run_id or 0)
    artifact = artifacts.get(event.data.get("artifact", 0))
    if run is None or (trigger == Trigger.ARTIFACT and artifact is None):
        return None
    return Happening(
        event,
        trigger,
        Target.named(run),
        name=artifact.key if artifact else "",
        state=event.data.get("state", ""),
        run=run,
        artifact=artifact,
        request_id=cause_of(run, runs, requests),
    )


def cause_of(run: Run, runs: Mapping[int, Run], requests: Mapping[int, int]) -> int | None:
    """Return the request of a run, or of the run that it is part of."""
    for _ in range(MOST_LEVELS):
        if run.pk in requests:
            return requests[run.pk]
        above = runs.get(run.parent_id or 0)
        if above is None:
            return None
        run = above
    return None


# What a rule reads ----------------------------------------------------------------------------------------------------


def facts_for(happening: Happening, permissions: Permissions, hooks: Mapping[int, Hook]) -> dict[str, Any] | None:
    """Return what a person can read of a happening, as JSON; None if it is invisible to them.

    `hooks` are those whose service accounts the person owns.
    """
    event, run, environment = happening.event, happening.run, happening.target.environment
    facts: dict[str, Any] = {
        "event": {"id": event.pk, "kind": event.kind, "occurred_at": event.occurred_at.isoformat()},
        "environment": environment.slug,
    }
    if happening.trigger == Trigger.EVENT:
        if not permissions.decide(Verb.SEE, happening.target):
            return None
        return {**facts, "name": happening.name, "body": event.data["body"]}
    if happening.trigger == Trigger.DELIVERY:
        hook = hooks.get(happening.hook_id or 0)
        if hook is None:
            return None
        return {**facts, "hook": {"key": hook.key, "name": hook.name}, **delivery_facts(event, happening.delivery)}
    if run is None or not permissions.decide(Verb.SEE, Target.of_run(run)):
        return None
    facts["run"] = run_facts(run, happening, permissions)
    if happening.artifact:
        if not permissions.decide(Verb.SEE_LOGS, Target.of_run(run)):
            return None
        facts["artifact"] = artifact_part(happening.artifact)
    return facts


def run_facts(run: Run, happening: Happening, permissions: Permissions) -> dict[str, Any]:
    found = {
        "id": str(run.prefect_id),
        "name": run.name,
        "flow": run.flow_name,
        "deployment": run.deployment_name,
        "state": happening.state or run.state_type,
        "tags": list(run.tags),
        "attempts": run.run_count,
        "started_at": run.started_at.isoformat() if run.started_at else None,
        "ended_at": run.ended_at.isoformat() if run.ended_at else None,
        "seconds": run.run_seconds,
        "request": happening.request_id,
    }
    if permissions.decide(Verb.SEE_INPUTS, Target.of_run(run)):
        found["parameters"] = without_masked(run.parameters)
    return found


def without_masked(values: Any) -> Any:
    """Return values without what is masked: a rule must not take dots for the value of a secret."""
    if isinstance(values, dict):
        return {name: without_masked(value) for name, value in values.items() if value != schemas.MASK}
    if isinstance(values, list):
        return [None if value == schemas.MASK else without_masked(value) for value in values]
    return values


def artifact_part(artifact: Artifact) -> dict[str, Any]:
    """Return an artifact with its data, and a table of fields and values by field as well."""
    return {
        "key": artifact.key,
        "type": artifact.type,
        "data": artifact.data,
        "fields": artifact_facts.facts(artifact),
    }


def delivery_facts(event: RunEvent, delivery: HookDelivery | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "delivery": {
            "message_id": delivery.message_id if delivery else "",
            "outcome": delivery.outcome if delivery else "",
            "code": delivery.code if delivery else "",
            "request": delivery.run_request_id if delivery else None,
        }
    }
    return found | ({"body": event.data["body"]} if "body" in event.data else {})
