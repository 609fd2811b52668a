"""What a run takes, in words: approvals, risk, and when it may start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runs.governance.requirements import Requirements
from runs.models.policy import RISK_COLOURS, Stage


@dataclass(frozen=True, slots=True)
class Badge:
    """Something with a label and a colour, as `portal/_state.html` shows it."""

    state_label: str
    state_colour: str


def risk_badge(level: str) -> Badge:
    return Badge(f"{level.capitalize()} risk", RISK_COLOURS.get(level, "grey"))


def approvals_label(stages: Sequence[Stage]) -> str:
    """Return a label such as “2 approvals: 1 from Approver, then 1 from Release manager”."""
    total = sum(stage["needed"] for stage in stages)
    if not total:
        return "no approval"
    count = f"{total} approval{'' if total == 1 else 's'}"
    if len(stages) == 1 and not stages[0]["group"]:
        return f"{count} from {group_label('')}"
    return f"{count}: {', then '.join(f'{stage["needed"]} from {group_label(stage["group"])}' for stage in stages)}"


def group_label(name: str) -> str:
    return name or "anyone who can approve"


def ticket_link(rules: Requirements, ticket: str) -> str:
    """Where a ticket is read, if that is an address a page may lead to."""
    link = rules.link(ticket)
    return link if link.startswith(("https://", "http://")) else ""
