"""Labels of event rules: state, what they wait for, and what events did."""

from __future__ import annotations

from django.utils import timezone

from flows.wording import deployment_name
from portal.ui.hook_labels import ALTERED, CANNOT_RUN
from portal.ui.rule_labels import Badge
from runs.automation import event_rules, rule_digest
from runs.automation.rule_conditions import Condition
from runs.automation.rule_dry_run import Item, Result
from runs.errors import Refused
from runs.models import EventRule, RuleFiring
from runs.models.run import STATES, TERMINAL

Outcome = RuleFiring.Outcome
# outcome -> colour of its badge
COLOURS: dict[str, str] = {
    Outcome.WAITING: "blue",
    Outcome.REQUESTED: "green",
    Outcome.SKIPPED: "grey",
    Outcome.REFUSED: "amber",
    Outcome.FAILED: "red",
}
RESULTS: dict[Result, Badge] = {
    Result.REQUEST: Badge("Request a run", "green"),
    Result.SKIP: Badge("Skip it", "grey"),
    Result.REFUSE: Badge("Be refused", "amber"),
}


def state_badge(rule: EventRule) -> Badge:
    """Return the state of a rule; select its owner and its token with it."""
    if not rule_digest.is_intact(rule):
        return ALTERED
    if not rule.is_enabled:
        return Badge("Paused", "grey")
    if not rule.owner.is_active:
        return Badge("Owner disabled", "grey")
    if not has_token(rule):
        return Badge("Token ended", "amber")
    if rule.valid_until <= timezone.now():
        return Badge("Ended", "grey")
    if rule.obstacle:
        return CANNOT_RUN
    return Badge("Enabled", "green")


def has_token(rule: EventRule) -> bool:
    """Return whether a rule is bound to no token, or to one that is valid."""
    try:
        event_rules.require_token_valid(rule)
    except Refused:
        return False
    return True


def outcome_badge(firing: RuleFiring) -> Badge:
    return Badge(Outcome(firing.outcome).label, COLOURS.get(firing.outcome, "grey"))


def result_badge(item: Item) -> Badge:
    return RESULTS[item.result]


def when(rule: EventRule) -> str:
    """Return what a rule waits for, in words; select its environment and its hook with it."""
    place = f" in {rule.environment}" if rule.environment else ""
    parts = (("deployment", deployment_name(rule.full_name)), ("flow", rule.flow_name), ("tag", rule.tag))
    of = "".join(f" of {what} {value}" for what, value in parts if value)
    match rule.trigger:
        case EventRule.Trigger.ARTIFACT:
            return f"an artifact {rule.artifact_key} is published by a run{of}{place}"
        case EventRule.Trigger.DELIVERY:
            return f"the hook {rule.hook.name if rule.hook else ''} receives a message"
        case EventRule.Trigger.EVENT:
            return f"an event {rule.event_name} is posted{place}"
    if set(rule.states) == TERMINAL:
        states = "in any state"
    else:
        states = "as " + " or ".join(STATES[state][0] for state in rule.states if state in STATES)
    return f"a run{of}{place} ends {states}"


def conditions(rule: EventRule) -> list[str]:
    return [str(Condition.of(each)) for each in rule.conditions]
