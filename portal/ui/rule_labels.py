"""Labels of the requirements for a run: approvals, risk and tickets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flows.wording import plural
from runs.governance.requirements import Requirements
from runs.models.policy import RISK_COLOURS, Stage


@dataclass(frozen=True, slots=True)
class Badge:
    """A label with a colour, as `portal/_state.html` displays it."""

    state_label: str
    state_colour: str


def risk_badge(level: str) -> Badge:
    # A risk of an older release that is no choice any more is grey, not an error.
    return Badge(f"{level.capitalize()} risk", RISK_COLOURS.get(level, "grey"))


def approvals_label(stages: Sequence[Stage]) -> str:
    """Return a label such as “2 approvals: 1 from Approver, then 1 from Release manager”."""
    total = sum(stage["needed"] for stage in stages)
    if not total:
        return "no approval"
    count = plural(total, "approval")
    if len(stages) == 1 and not stages[0]["group"]:
        return f"{count} from {group_label('')}"
    return f"{count}: {', then '.join(f'{stage["needed"]} from {group_label(stage["group"])}' for stage in stages)}"


def group_label(name: str) -> str:
    return name or "anyone who can approve"


def ticket_link(rules: Requirements, ticket: str) -> str:
    """Return the URL of a ticket, or "" if it is not safe to link to."""
    # Checked here too, and not only when the policy is saved: a row changed in SQL must not put javascript: on a page.
    link = rules.link(ticket)
    return link if link.startswith(("https://", "http://")) else ""
