"""Which event rules an event is for: one indexed key a rule, and the rest compared in memory. Pure: no database.

A rule has the narrowest key of its selector, an event has the key of each selector that could match it. So the rules of
a batch of events are found by one query, whatever number of rules there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from runs.access.decisions import matches
from runs.automation.happenings import Happening
from runs.models import EventRule

Trigger = EventRule.Trigger


def key_of(rule: EventRule) -> str:
    """Return the key under which a rule is stored."""
    match rule.trigger:
        case Trigger.ARTIFACT:
            return f"artifact {rule.artifact_key}"
        case Trigger.DELIVERY:
            return f"hook {rule.hook_id}"
        case Trigger.EVENT:
            return f"event {rule.event_name}"
    if rule.full_name:
        return f"run of {rule.full_name}"
    if rule.flow_name:
        return f"run of flow {rule.flow_name}"
    if rule.tag:
        return f"run tagged {rule.tag}"
    return f"run in {rule.environment_id or 'any environment'}"


def keys_of(happening: Happening) -> Iterator[str]:
    """Yield the keys of all rules that could be for a happening."""
    match happening.trigger:
        case Trigger.ARTIFACT:
            yield f"artifact {happening.name}"
        case Trigger.DELIVERY:
            yield f"hook {happening.hook_id}"
        case Trigger.EVENT:
            yield f"event {happening.name}"
        case Trigger.RUN:
            target = happening.target
            yield from (f"run of {target.full_name}", f"run of flow {target.flow_name}")
            yield from (f"run tagged {tag}" for tag in target.tags)
            yield from (f"run in {target.environment.pk}", "run in any environment")


def is_for(rule: EventRule, happening: Happening) -> bool:
    """Return whether a happening is one that the rule waits for, before its conditions."""
    if rule.trigger != happening.trigger:
        return False
    match rule.trigger:
        case Trigger.DELIVERY:
            # Where the message came from is the hook.
            return rule.hook_id == happening.hook_id
        case Trigger.ARTIFACT:
            is_named = rule.artifact_key == happening.name
        case Trigger.EVENT:
            is_named = rule.event_name == happening.name
        case _:
            is_named = happening.state in rule.states
    return is_named and matches(rule, happening.target)


def by_key(rules: Iterable[EventRule]) -> Mapping[str, Sequence[EventRule]]:
    found: dict[str, list[EventRule]] = {}
    for rule in rules:
        found.setdefault(rule.match_key, []).append(rule)
    return found


def rules_for(happening: Happening, rules: Mapping[str, Sequence[EventRule]]) -> Iterator[EventRule]:
    """Yield the rules that a happening is for, of those by key."""
    for key in dict.fromkeys(keys_of(happening)):
        yield from (rule for rule in rules.get(key, ()) if is_for(rule, happening))
