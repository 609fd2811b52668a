"""What an event rule would have done with the events of the last day: nothing is stored, nothing is requested."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

from django.utils import timezone

from flows import deployments
from flows.models import Environment
from flows.parameters import Invalid
from runs import requests
from runs.actors import Actor
from runs.automation import event_rules, rule_firing, rule_matching
from runs.automation.happenings import TRIGGERS, Happening, happenings_of
from runs.automation.rule_judgement import Readers, parameters_for, require_fitting, require_no_loop
from runs.errors import Refused
from runs.models import Artifact, EventRule, RunEvent
from runs.models.run import TERMINAL
from runs.shared_reads import shared_reads

SPAN = timedelta(hours=24)
# Events that a dry run reads, the newest first: enough for a day of most environments, and a page of text.
MOST_EVENTS = 1_000


class Result(StrEnum):
    """What an event would have done."""

    REQUEST = "request"
    SKIP = "skip"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Item:
    """One event: what it would have done, and why not more. `parameters` have secrets masked."""

    event_id: int
    at: datetime
    source: str
    result: Result
    code: str = ""
    why: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DryRun:
    """`items` are the newest first; `is_cut` if there were more events than are read. `since` is the first moment."""

    items: Sequence[Item]
    since: datetime
    needs_approval: bool
    is_cut: bool

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(item.result for item in self.items)
        return {result.value: found[result] for result in Result}


def dry_run(rule: EventRule, *, within: Actor | None = None) -> DryRun:
    """Return what a rule, saved or not, would do with the events of the last day, as of what it may now.

    `within` is the actor of the token that asks, whose scope limits what it returns. Whether it is enabled and
    how long it is valid is left out. Debounce and limit count by the times of the events.
    """
    now = timezone.now()
    since = now - SPAN
    events, is_cut = events_for(rule, since)
    target = deployments.current(rule.deployment) or rule.deployment
    with shared_reads():
        preview = requests.Preview(target, by=event_rules.actor_of(rule, target))
        found = [each for each in happenings_of(events) if rule_matching.is_for(rule, each)]
        readers = Readers([rule], within=within)
        items = [*limited(rule, debounced(rule, judged(rule, found, preview, readers), now))]
    return DryRun(items[::-1], since, preview.needs_approval, is_cut)


def events_for(rule: EventRule, since: datetime) -> tuple[list[RunEvent], bool]:
    """Return the events that the rule could be for, the oldest first, and whether some are left out."""
    kinds = [kind for kind, trigger in TRIGGERS.items() if trigger == rule.trigger]
    # Named, so that an index is read from that time on, and not the whole table.
    places = [rule.environment_id] if rule.environment_id else list(Environment.objects.values_list("pk", flat=True))
    rows = RunEvent.objects.filter(environment_id__in=places, observed_at__gte=since, kind__in=kinds, is_history=False)
    match rule.trigger:
        case EventRule.Trigger.RUN:
            rows = rows.filter(data__state__in=sorted(set(rule.states) & TERMINAL))
        case EventRule.Trigger.ARTIFACT:
            named = Artifact.objects.filter(environment__in=places, key=rule.artifact_key)
            recent = named.filter(updated_upstream_at__gte=since - SPAN).order_by("-pk").values_list("pk", flat=True)
            rows = rows.filter(data__artifact__in=list(recent[:MOST_EVENTS]))
        case EventRule.Trigger.DELIVERY:
            rows = rows.filter(data__hook=rule.hook_id)
        case EventRule.Trigger.EVENT:
            rows = rows.filter(data__name=rule.event_name)
    found = list(rows.order_by("-pk")[: MOST_EVENTS + 1])
    return found[:MOST_EVENTS][::-1], len(found) > MOST_EVENTS


def judged(
    rule: EventRule, happenings: Iterable[Happening], preview: requests.Preview, readers: Readers
) -> Iterator[Item]:
    """Yield what each happening that the owner can see would do by itself."""
    chosen = list(happenings)
    causes = rule_firing.causes_of(chosen)
    for each in chosen:
        facts = readers.facts_for(rule, each)
        if facts is None:
            continue
        item = Item(each.event.pk, each.event.occurred_at, each.source, Result.REQUEST)
        try:
            require_no_loop(rule, rule_firing.ancestors_of(each, causes))
            require_fitting(rule, facts)
        except Refused as refusal:
            yield replace(item, result=Result.SKIP, code=refusal.code, why=str(refusal))
            continue
        try:
            values = preview.check(parameters_for(rule, facts), reason=f"Rule {rule.name}: {each.source}"[:1000])
            yield replace(item, parameters=values)
        except (Refused, Invalid) as refusal:
            yield replace(item, result=Result.REFUSE, code=refusal.code, why=str(refusal))


def debounced(rule: EventRule, items: Iterable[Item], now: datetime) -> Iterator[Item]:
    """Yield the items, those skipped that a later one follows within the debounce."""
    wait = timedelta(seconds=rule.debounce_seconds)
    if not wait:
        yield from items
        return
    found = list(items)
    # From the last one: what follows each, and since when events have come without a pause.
    waiting = [place for place, item in enumerate(found) if item.result != Result.SKIP]
    first = found[waiting[0]].at if waiting else now
    for place, following in pairwise(waiting):
        item, later = found[place], found[following]
        is_followed = later.at - item.at < wait and later.at - first < wait * rule_firing.MOST_DEBOUNCES
        if is_followed:
            why = f"A later event came within {rule.debounce_seconds} s: {later.source}."
            found[place] = replace(item, result=Result.SKIP, code="event_rule.debounced", why=why, parameters={})
        else:
            first = later.at
    yield from found


def limited(rule: EventRule, items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, those skipped that are more than the rule may request in an hour."""
    counted: deque[datetime] = deque()
    for item in items:
        if item.result == Result.SKIP:
            yield item
            continue
        while counted and counted[0] <= item.at - rule_firing.HOUR:
            counted.popleft()
        if len(counted) < rule.per_hour:
            counted.append(item.at)
            yield item
        else:
            over = rule_firing.over_rate(rule)
            yield replace(item, result=Result.SKIP, code=over.code, why=str(over), parameters={})
