"""What events do with event rules: the only code that writes `RuleFiring`, but for its retention.

First events are matched, in the transaction that moves the cursor of the consumer: one row for a rule and an event,
which waits or is skipped (`match`). Then each row that is due is acted on in a transaction of its own (`fire`): so a
process that is killed repeats all of it or none, and no request is made while the events of others are held up. The
submission key holds the rule and the event, so that an event is one request however often it is acted on.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from flows import deployments
from flows.db_text import sanitize_json
from flows.parameters import Invalid
from runs import queue, requests
from runs.automation import event_rules, rule_digest, rule_matching
from runs.automation.happenings import Happening, happenings_of
from runs.automation.rule_judgement import CODES_OF_SKIPS, Readers, parameters_for, require_fitting, require_no_loop
from runs.errors import Refused
from runs.events import describe
from runs.models import EventRule, RuleFiring, RunEvent, RunRequest

log = logging.getLogger(__name__)

Outcome = RuleFiring.Outcome
# Namespace of the submission keys that come from a rule and an event.
NAMESPACE = uuid.UUID("0d7f5c1e-3f0b-4b53-9a0f-5d2b7a9a4c31")
FIRED_AT_ONCE = 100
MOST_TRIES = 3
RETRY_AFTER = timedelta(seconds=10)
HOUR = timedelta(hours=1)
# The last event wins a debounce, but a steady stream of events must not put it off for ever.
MOST_DEBOUNCES = 10


# Match ----------------------------------------------------------------------------------------------------------------


def match(events: Sequence[RunEvent]) -> None:
    """Write what these events do with the rules that they are for; queries do not depend on the number of rules."""
    # 1. The events, and the rules that wait for any of them, by their indexed keys.
    found = happenings_of(events)
    keys = {key for each in found for key in rule_matching.keys_of(each)}
    waiting = rule_matching.by_key(waiting_rules(keys)) if keys else {}
    if not waiting:
        return
    # 2. What each does.
    readers = Readers(rule for each in waiting.values() for rule in each)
    causes = causes_of(found)
    rows = [
        row
        for each in found
        for rule in rule_matching.rules_for(each, waiting)
        if (row := judged(rule, each, readers, causes)) is not None
    ]
    # 3. The rows, of which the last one wins a debounce.
    rows = merged(supersede(unknown(rows)))
    RuleFiring.objects.bulk_create([sanitize_json(row) for row in rows])
    if any(row.outcome == Outcome.WAITING and not row.rule.debounce_seconds for row in rows):
        queue.enqueue("runs.tasks.fire_rules")


def match_one(event: RunEvent) -> None:
    match([event])


def waiting_rules(keys: set[str]) -> QuerySet[EventRule]:
    """Return the rules with any of these keys that fire now."""
    found = event_rules.firing().filter(match_key__in=keys).select_related("owner")
    return event_rules.with_token(found).order_by("pk")


def causes_of(happenings: Sequence[Happening]) -> dict[int, RuleFiring]:
    """Return request -> the firing that made it, of the requests that led to these happenings."""
    requests_behind = {each.request_id for each in happenings if each.request_id}
    if not requests_behind:
        return {}
    rows = RuleFiring.objects.filter(run_request__in=requests_behind)
    return {each.run_request_id: each for each in rows if each.run_request_id}


def ancestors_of(happening: Happening, causes: Mapping[int, RuleFiring]) -> list[int]:
    """Return the rules whose requests led to a happening, the first one first."""
    cause = causes.get(happening.request_id or 0)
    return [*cause.ancestors, cause.rule_id] if cause else []


def judged(
    rule: EventRule, happening: Happening, readers: Readers, causes: Mapping[int, RuleFiring]
) -> RuleFiring | None:
    """Return the unsaved row of a rule and a happening; None if the rule cannot see it."""
    facts = readers.facts_for(rule, happening)
    if facts is None:
        return None
    now = timezone.now()
    row = RuleFiring(
        rule=rule,
        event_id=happening.event.pk,
        run_id=happening.run.pk if happening.run else None,
        source=happening.source,
        occurred_at=happening.event.occurred_at,
        ancestors=ancestors_of(happening, causes),
        outcome=Outcome.WAITING,
        waiting_since=now,
        due_at=now + timedelta(seconds=rule.debounce_seconds),
    )
    try:
        rule_digest.require_intact(rule)
        require_no_loop(rule, row.ancestors)
        require_fitting(rule, facts)
    except Refused as refusal:
        settle(row, Outcome.SKIPPED, refusal)
    return row


def unknown(rows: Sequence[RuleFiring]) -> list[RuleFiring]:
    """Return the rows of events that their rules have not seen; the database holds one for an event and a rule."""
    if not rows:
        return []
    known = RuleFiring.objects.filter(event_id__in={row.event_id for row in rows})
    pairs = set(known.values_list("rule_id", "event_id"))
    return [row for row in rows if (row.rule_id, row.event_id) not in pairs]


def supersede(rows: Sequence[RuleFiring]) -> Sequence[RuleFiring]:
    """Skip what waits for the debounce of a rule, in the database and among the new rows, but the last event."""
    debounced = {row.rule_id for row in rows if row.outcome == Outcome.WAITING and row.rule.debounce_seconds}
    if not debounced:
        return rows
    known = RuleFiring.objects.filter(rule__in=debounced, outcome=Outcome.WAITING).select_related("rule")
    # What is being acted on right now is locked: it was due, and this event begins a new wait.
    waiting = list(known.order_by("pk").select_for_update(of=["self"], skip_locked=True))
    last: dict[int, RuleFiring] = {}
    for row in [*waiting, *rows]:
        if row.rule_id not in debounced or row.outcome != Outcome.WAITING:
            continue
        if earlier := last.get(row.rule_id):
            since = min(each for each in (earlier.waiting_since, row.waiting_since) if each)
            latest = since + timedelta(seconds=row.rule.debounce_seconds * MOST_DEBOUNCES)
            row.waiting_since, row.due_at = since, min(each for each in (row.due_at, latest) if each)
            settle(earlier, Outcome.SKIPPED, debounced_by(row))
        last[row.rule_id] = row
    moved = [row for row in waiting if row.outcome == Outcome.SKIPPED]
    RuleFiring.objects.bulk_update(moved, ["outcome", "code", "message", "decided_at"])
    return rows


def merged(rows: Sequence[RuleFiring]) -> list[RuleFiring]:
    """Return the rows, those that a rule skips for one reason as one: a busy rule must not fill the table."""
    found: dict[tuple[int, int, str], RuleFiring] = {}
    for row in rows:
        is_skip = row.outcome == Outcome.SKIPPED
        place = (row.rule_id, 0, row.code) if is_skip else (row.rule_id, row.event_id, "")
        if is_skip and (earlier := found.pop(place, None)):
            row.events = earlier.events + 1
        found[place] = row
    return list(found.values())


def debounced_by(row: RuleFiring) -> Refused:
    return Refused("event_rule.debounced", f"A later event came within {row.rule.debounce_seconds} s: {row.source}.")


def settle(row: RuleFiring, outcome: RuleFiring.Outcome, refusal: Refused | Invalid | None = None) -> None:
    """Set the outcome of a row, which is not saved here."""
    row.outcome, row.decided_at = outcome, timezone.now()
    if refusal:
        row.code, row.message = refusal.code[:60], str(refusal)


# Act ------------------------------------------------------------------------------------------------------------------


def due() -> QuerySet[RuleFiring]:
    return RuleFiring.objects.filter(outcome=Outcome.WAITING, due_at__lte=timezone.now())


def fire_due() -> bool:
    """Act on the rows that are due, each in its transaction; return whether there may be more."""
    pks = list(due().order_by("pk").values_list("pk", flat=True)[:FIRED_AT_ONCE])
    for pk in pks:
        try:
            fire(pk)
        except Exception as error:
            # A fault of the portal, which must not hold up other rules.
            log.error("Firing %d of an event rule failed: %s.", pk, describe(error))
            note_failure(pk, error)
    return len(pks) == FIRED_AT_ONCE


@transaction.atomic
def fire(pk: int) -> None:
    """Request the run of one row that is due, or record why there is none."""
    # Both rows are locked: the first against another process, the second so that requests are counted one at a time.
    row = due().select_for_update(of=["self"], skip_locked=True).filter(pk=pk).first()
    if row is None:
        return
    try:
        row.run_request = act(event_rules.lock(EventRule(pk=row.rule_id)), row)
        settle(row, Outcome.REQUESTED)
    except (Refused, Invalid) as refusal:
        settle(row, Outcome.SKIPPED if refusal.code in CODES_OF_SKIPS else Outcome.REFUSED, refusal)
    row.save(update_fields=["outcome", "code", "message", "decided_at", "run_request"])


def act(rule: EventRule, row: RuleFiring) -> RunRequest:
    """Ask everything again, as of now, and request the run."""
    # 1. The rule: it may have been paused or changed since, and so may its owner.
    require_firing(rule)
    rule_digest.require_intact(rule)
    require_within_rate(rule)
    # 2. The event, as far as the rule can see it now.
    found = happenings_of(RunEvent.objects.filter(pk=row.event_id))
    facts = Readers([rule]).facts_for(rule, found[0]) if found else None
    if facts is None or not rule_matching.is_for(rule, found[0]):
        raise Refused("event_rule.gone", "What happened was deleted since, or is not what the rule waits for any more.")
    require_fitting(rule, facts)
    # 3. The request. Deployed again, it has another row.
    target = deployments.current(rule.deployment) or rule.deployment
    return requests.submit(
        target,
        parameters_for(rule, facts),
        by=event_rules.actor_of(rule, target),
        reason=f"Rule {rule.name}: {row.source}"[:1000],
        submission_key=uuid.uuid5(NAMESPACE, f"{rule.key} {row.event_id}"),
    )


def require_firing(rule: EventRule) -> None:
    if not rule.is_enabled:
        raise Refused("event_rule.paused", "The rule was paused before its request was made.")
    if not rule.owner.is_active:
        raise Refused("event_rule.owner_disabled", f"The account of {rule.owner} is disabled, and so are its rules.")
    if rule.valid_until <= timezone.now():
        raise Refused("event_rule.expired", "The rule has ended.")
    event_rules.require_token_valid(rule)


def require_within_rate(rule: EventRule) -> None:
    """Refuse more requests than the rule may make in an hour; what was refused counts too."""
    counted = RuleFiring.objects.filter(
        rule=rule, outcome__in=[Outcome.REQUESTED, Outcome.REFUSED], decided_at__gt=timezone.now() - HOUR
    )
    if counted.count() >= rule.per_hour:
        raise over_rate(rule)


def over_rate(rule: EventRule) -> Refused:
    return Refused("event_rule.rate", f"The rule made {rule.per_hour} requests in an hour, which is its limit.")


@transaction.atomic
def note_failure(pk: int, error: Exception) -> None:
    """Have a row that failed acted on again later; after the last attempt it stays failed."""
    row = due().select_for_update(of=["self"], skip_locked=True).filter(pk=pk).first()
    if row is None:
        return
    row.tries += 1
    row.due_at = timezone.now() + RETRY_AFTER
    if row.tries >= MOST_TRIES:
        row.outcome, row.decided_at, row.code = Outcome.FAILED, timezone.now(), "portal.failed"
        row.message = f"{type(error).__name__} in the portal. See the portal's log."
    row.save(update_fields=["tries", "due_at", "outcome", "decided_at", "code", "message"])
