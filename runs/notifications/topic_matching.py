"""Which notification rules something is for: one indexed key a rule, the rest compared in memory. Pure: no database.

A rule has the narrowest key of its selector, a target has the key of each selector that could match it. So the rules of
a batch of events are found by one query, whatever number of rules there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from runs.access.decisions import Target, matches
from runs.models import NotificationRule
from runs.models.notification import Topic

# Key and topic -> rules.
type Rules = Mapping[tuple[str, str], Sequence[NotificationRule]]
ANYWHERE = "anywhere"


def key_of(rule: NotificationRule) -> str:
    """Return the key under which a rule is stored."""
    if rule.full_name:
        return f"deployment {rule.full_name}"
    if rule.flow_name:
        return f"flow {rule.flow_name}"
    if rule.tag:
        return f"tag {rule.tag}"
    return f"environment {rule.environment_id}" if rule.environment_id else ANYWHERE


def keys_of(target: Target) -> Iterator[str]:
    """Yield the keys of all rules that could be for a target."""
    if target.full_name:
        yield f"deployment {target.full_name}"
    if target.flow_name:
        yield f"flow {target.flow_name}"
    yield from (f"tag {tag}" for tag in target.tags)
    yield from (f"environment {target.environment.pk}", ANYWHERE)


def by_key(rules: Iterable[NotificationRule]) -> Rules:
    found: dict[tuple[str, str], list[NotificationRule]] = {}
    for rule in rules:
        for topic in rule.topics:
            found.setdefault((rule.match_key, topic), []).append(rule)
    return found


def rules_for(topic: Topic, target: Target, rules: Rules) -> Iterator[NotificationRule]:
    """Yield the rules for a topic about a target, of those by key and topic."""
    if not rules:
        return
    for key in dict.fromkeys(keys_of(target)):
        yield from (rule for rule in rules.get((key, topic.value), ()) if matches(rule, target))
