"""How many schedules, hooks, event rules and chains ended, end soon or cannot run: lines that link to their lists.

They come as columns of the environments, which the page reads anyway: Postgres counts them once for all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count as CountRows
from django.db.models import Func, Model, Q, QuerySet, Subquery, Value
from django.db.models.functions import JSONObject
from django.http import HttpRequest

from flows.models import Environment
from portal.auth.request_user import actor_of, permissions_of
from portal.ui.run_links import Count, list_url
from runs.automation import chains, event_rules, hooks, schedule_listings
from runs.automation.renewals import CONDITIONS, Need
from runs.models import Chain, EventRule, Hook, Schedule

MOST_NAMES = 3
# What the names of the columns begin with.
COLUMN = "renewals_of_"
# Model -> what it is called, and the name of its list.
LISTS: dict[type[Model], tuple[str, str]] = {
    Schedule: ("Schedules", "runs_schedule"),
    Hook: ("Hooks", "runs_hook"),
    EventRule: ("Event rules", "runs_eventrule"),
    Chain: ("Chains", "runs_chain"),
}
# Need -> badge, its colour, and what follows.
WORDS: dict[Need, tuple[str, str, str]] = {
    Need.ENDED: ("Ended", "red", "Their end has passed: they start nothing until they are renewed."),
    Need.ENDING: ("Ends soon", "amber", "Within 7 days. Their owners were notified, and can renew them."),
    Need.UNABLE: ("Cannot run", "red", "Their requests would be refused: the page of each says why."),
}


@dataclass(frozen=True, slots=True)
class Renewal:
    """Rows of one kind with one need: `names` are those that end first."""

    need: Need
    what: str
    count: Count
    names: str

    @property
    def label(self) -> str:
        return WORDS[self.need][0]

    @property
    def tone(self) -> str:
        return WORDS[self.need][1]

    @property
    def sentence(self) -> str:
        return WORDS[self.need][2]


def visible(request: HttpRequest) -> dict[type[Model], QuerySet[Any]]:
    """Return the rows that the reader sees in each list."""
    by = actor_of(request)
    return {
        Schedule: schedule_listings.visible_to(permissions_of(request)),
        Hook: hooks.visible_to(by),
        EventRule: event_rules.visible_to(by),
        Chain: chains.visible_to(permissions_of(request)),
    }


def columns(request: HttpRequest) -> dict[str, Subquery]:
    """Return for each kind what needs somebody, to be read with the environments."""
    return {f"{COLUMN}{model.__name__.lower()}": column(model, rows) for model, rows in visible(request).items()}


def needs_of(model: type[Model]) -> list[Need]:
    # Schedules of which this holds are paused: they are in a panel of their own.
    return [need for need in Need if (model, need) != (Schedule, Need.UNABLE)]


def column(model: type[Model], rows: QuerySet[Any]) -> Subquery:
    wanted = {need: CONDITIONS[model](need) for need in needs_of(model)}
    found: dict[str, Any] = {}
    for need, condition in wanted.items():
        names = ArrayAgg("name", filter=condition, order_by=["valid_until", "pk"])
        found[need.value] = CountRows("pk", filter=condition)
        found[f"{need.value}_names"] = Func(names, template=f"(%(expressions)s)[1:{MOST_NAMES}]")
    some = Q()
    for condition in wanted.values():
        some |= condition
    lump = rows.select_related(None).prefetch_related(None).order_by().filter(some).values(lump=Value(1))
    return Subquery(lump.annotate(found=JSONObject(**found)).values("found"))


def renewals(environments: Sequence[Environment]) -> list[Renewal]:
    """Return a line for each kind and need of which there are rows; the environments come with the `columns`."""
    if not environments:
        return []
    lines = []
    for model, (what, name) in LISTS.items():
        found = getattr(environments[0], f"{COLUMN}{model.__name__.lower()}") or {}
        for need in needs_of(model):
            if number := found.get(need.value, 0):
                url = list_url(name, needs=need.value)
                names = ", ".join(found[f"{need.value}_names"])
                more = f" and {number - MOST_NAMES:,} more" if number > MOST_NAMES else ""
                lines.append(Renewal(need, what, Count(f"{name} {need.value}", number, url), f"{names}{more}"))
    order = list(Need)
    return sorted(lines, key=lambda line: order.index(line.need))
