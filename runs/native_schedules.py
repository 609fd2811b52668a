"""Schedules that Prefect keeps for the portal: what it is to have, and in what its copy differs.

Pure: of the rows of a schedule and its deployment, as last synced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypedDict

from flows import canonical
from flows.models import Deployment
from flows.prefect_api import schedule_text
from runs.models import Schedule

# Characters of a value that a difference quotes.
LONGEST = 500
# What of a rule counts; Prefect adds what it defaults.
DEFAULTS: dict[str, Any] = {"timezone": "UTC", "day_or": True}


class Difference(TypedDict):
    """One thing in which Prefect's copy differs; both values are text."""

    what: str
    ours: str
    theirs: str


def slug_of(change_pk: int) -> str:
    """Return the slug by which Prefect's copy is found again: a deployment has each slug once."""
    return f"portal-{change_pk}"


def copy_of(schedule: Schedule) -> dict[str, Any] | None:
    """Return what Prefect has under the slug of a schedule, as last synced; None if it has none."""
    slug = schedule.native.get("slug")
    return next((each for each in schedule.deployment.schedules if slug and each.get("slug") == slug), None)


def schedule_in_prefect(deployment: Deployment, reference: object) -> dict[str, Any] | None:
    """Return the schedule of a deployment with this id in Prefect or slug, as last synced; None if there is none."""
    name = str(reference or "")
    by_id = {str(each["id"]): each for each in deployment.schedules}
    by_slug = {str(each.get("slug") or ""): each for each in deployment.schedules}
    return by_id.get(name.lower()) or by_slug.get(name) if name else None


def fingerprint(found: Mapping[str, Any]) -> str:
    """Return a digest of a schedule that a sync has read, of all but whether it is active and how that is worded."""
    return canonical.digest({name: found.get(name) for name in ("id", "slug", "rule", "parameters")})


def wanted_state(schedule: Schedule) -> str:
    """Return what Prefect's copy is to be: active, paused or deleted."""
    return "deleted" if not schedule.is_live else "active" if is_to_be_active(schedule) else "paused"


def is_to_be_active(schedule: Schedule) -> bool:
    return bool(schedule.state == Schedule.State.ACTIVE)


def differences(schedule: Schedule) -> list[Difference]:
    """Return in what Prefect's copy of a schedule differs from what was approved, by the last sync."""
    found = copy_of(schedule)
    if not schedule.is_live:
        return [] if found is None else [Difference(what="state", ours=wanted_state(schedule), theirs=label(found))]
    if found is None:
        # Nothing starts, as it should while it is paused.
        return [Difference(what="state", ours="active", theirs="missing")] if is_to_be_active(schedule) else []
    return list(compare(schedule, found))


def compare(schedule: Schedule, found: Mapping[str, Any]) -> Iterator[Difference]:
    wanted = schedule.native
    if spelled(wanted["rule"]) != spelled(found.get("rule", {})):
        rules = (describe(one)[:LONGEST] for one in (wanted["rule"], found.get("rule", {})))
        yield Difference(what="rule", ours=next(rules), theirs=next(rules))
    ours, theirs = wanted["parameters"], found.get("parameters", {})
    if not canonical.same(ours, theirs):
        texts = (canonical.text(one)[:LONGEST] for one in (ours, theirs))
        yield Difference(what="parameters", ours=next(texts), theirs=next(texts))
    if bool(found.get("is_active")) != is_to_be_active(schedule):
        yield Difference(what="state", ours=wanted_state(schedule), theirs=label(found))


def describe_drift(drift: Iterable[Difference]) -> list[str]:
    """Return in what Prefect's copy differs, a sentence for each; never the value of a parameter."""
    return [DRIFTED[each["what"]](each) for each in drift]


def describe_rules(found: Difference) -> str:
    if found["ours"] == found["theirs"]:
        return f"Its rule in Prefect differs from the approved one, {found['ours']}, in its details."
    return f"Its rule in Prefect is {found['theirs']}. Approved is {found['ours']}."


def describe_states(found: Difference) -> str:
    return {
        "missing": "It is no longer in Prefect, so nothing starts.",
        "paused": "It is paused in Prefect, so nothing starts.",
    }.get(found["theirs"], f"It is {found['theirs']} in Prefect, but {found['ours']} in the portal.")


# What differs -> the sentence about it.
DRIFTED: dict[str, Callable[[Difference], str]] = {
    "rule": describe_rules,
    "parameters": lambda found: "Its parameters in Prefect are not the approved ones.",
    "state": describe_states,
}


def label(found: Mapping[str, Any]) -> str:
    return "active" if found.get("is_active") else "paused"


def spelled(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule of Prefect so that equal ones are equal: numbers as such, and moments in UTC."""
    found = {**DEFAULTS, **{name: value for name, value in rule.items() if value is not None}}
    if isinstance(interval := found.get("interval"), int | float):
        found["interval"] = float(interval)
    if anchor := moment_of(found.get("anchor_date")):
        found["anchor_date"] = canonical.moment(anchor).isoformat()
    return found


def moment_of(value: object) -> datetime | None:
    """Return a moment that Prefect spells; None for anything else, which is then another one."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None


def describe(rule: Mapping[str, Any]) -> str:
    """Return a rule in words, of an interval also from when it counts; of two that differ the text can be the same."""
    begins = f", from {rule['anchor_date']}" if rule.get("anchor_date") else ""
    return f"{schedule_text.describe(rule)}{begins}"


def unharmed(deployments: Iterable[Deployment]) -> set[tuple[int, str]]:
    """Return deployment and slug of the active schedules that Prefect keeps as they were approved."""
    by_pk = {each.pk: each for each in deployments if any(one.get("slug") for one in each.schedules)}
    rows = Schedule.objects.filter(deployment__in=by_pk, state=Schedule.State.ACTIVE).exclude(native={})
    found = set()
    for schedule in rows:
        schedule.deployment = by_pk[schedule.deployment_id]
        if not differences(schedule):
            found.add((schedule.deployment_id, str(schedule.native["slug"])))
    return found
