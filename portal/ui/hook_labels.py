"""Labels of hooks: state, mapping, and what deliveries did."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from flows.wording import plain_number
from portal.ui.rule_labels import Badge
from runs.models import Hook, HookDelivery

# outcome -> colour of its badge
COLOURS = {"accepted": "green", "ignored": "grey", "refused": "amber"}
ALTERED = Badge("Changed outside the portal", "red")
# Of what would be refused, since the account that it acts as cannot run the deployment.
CANNOT_RUN = Badge("Cannot run", "amber")


@dataclass(frozen=True, slots=True)
class MappingRow:
    """Where the value of one parameter comes from."""

    parameter: str
    source: str
    default: str


def state_badge(hook: Hook) -> Badge:
    """Return the state of a hook; select the account's user and owner with it."""
    account = hook.account
    if not hook.is_enabled:
        return Badge("Disabled", "grey")
    if hook.valid_until <= timezone.now():
        return Badge("Ended", "grey")
    if not account.user.is_active or not account.owner.is_active:
        return Badge("Account disabled", "grey")
    if hook.owner_id != account.owner_id:
        return Badge("Waits for its new owner", "amber")
    if hook.obstacle:
        return CANNOT_RUN
    return Badge("Enabled", "green")


def outcome_badge(delivery: HookDelivery) -> Badge:
    return Badge(HookDelivery.Outcome(delivery.outcome).label.capitalize(), COLOURS.get(delivery.outcome, "grey"))


def mapping_rows(mapping: Mapping[str, Any], whole: str = "the whole body") -> Iterator[MappingRow]:
    for name, entry in mapping.items():
        if "value" in entry:
            yield MappingRow(name, f"always {written(entry['value'])}", "")
        else:
            default = written(entry["default"]) if "default" in entry else ""
            yield MappingRow(name, entry["pointer"] or whole, default)


def written(value: object) -> str:
    return json.dumps(plain_number(value), ensure_ascii=False)
