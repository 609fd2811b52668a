"""The plan of a run of a chain as its page shows it: each step, and the runs of those that are backfills."""

from __future__ import annotations

from dataclasses import dataclass

from portal.admin.backfill.page import OUTCOMES
from portal.ui.profile_settings import ProfileSettings, settings_of
from portal.ui.text import json_text
from runs.automation.chain_plan import StepPlan
from runs.requests import Item


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One run of a step."""

    item: Item
    number: int
    cells: list[tuple[str, str]]
    state_label: str
    state_colour: str


@dataclass(frozen=True, slots=True)
class StepRows:
    """One step; `rows` are its runs if it is a backfill, `why` is why another one is refused."""

    plan: StepPlan
    profile: ProfileSettings | None
    rows: list[ItemRow]
    why: str

    @classmethod
    def of(cls, plan: StepPlan) -> StepRows:
        rows = [
            ItemRow(
                item,
                item.position + 1,
                [(name, json_text(value)) for name, value in plan.shown(item).items()],
                *OUTCOMES[item.outcome],
            )
            for item in plan.items
        ]
        is_backfill = plan.step.over is not None
        return cls(plan, settings_of(plan.outline.profile), rows if is_backfill else [], rows[0].item.why)
