"""Context of the page of an event rule, and of its dry run."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from portal.auth.request_user import actor_of, permissions_of
from portal.ui import event_rule_labels, hook_labels, tables
from runs.automation import rule_digest
from runs.automation.rule_dry_run import DryRun, Result, dry_run
from runs.models import EventRule, Verb

# Rows of the log that the page shows, and of a dry run.
FIRINGS, ITEMS = 50, 200


def context(request: HttpRequest, rule: EventRule) -> dict[str, Any]:
    """Build the template context; select with the rule what `event_rules.visible_to` selects."""
    by = actor_of(request)
    is_own = by.is_same_person_as(rule.owner_id)
    is_altered = not rule_digest.is_intact(rule)
    firings = rule.firings.select_related("run_request").order_by("-pk")
    return {
        "rule": rule,
        "badge": event_rule_labels.state_badge(rule),
        "is_altered": is_altered,
        "when": event_rule_labels.when(rule),
        "conditions": event_rule_labels.conditions(rule),
        "mapping": list(hook_labels.mapping_rows(rule.mapping, "the whole event")),
        "can_see_deployment": bool(permissions_of(request).decide(Verb.SEE, rule.deployment)),
        "firings": tables.RuleFiringTable(firings[:FIRINGS]),
        "log": f"{reverse('admin:runs_rulefiring_changelist')}?rule={rule.pk}",
        "may_change": is_own,
        "may_resume": is_own and not is_altered and not rule.is_enabled,
        "may_pause": (is_own or by.is_administrator) and rule.is_enabled,
        "may_dry_run": is_own,
    }


def dry_run_context(rule: EventRule) -> dict[str, Any]:
    found: DryRun = dry_run(rule)
    return {
        "dry_run": found,
        "counts": {result.name.lower(): found.counts[result] for result in Result},
        "is_shortened": len(found.items) > ITEMS,
        "items": tables.DryRunTable(found.items[:ITEMS]),
        "shown": ITEMS,
    }
