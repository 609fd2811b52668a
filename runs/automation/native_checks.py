"""What a schedule needs that Prefect is to keep, and what Prefect is to have of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flows import parameters as schemas
from flows.models import Deployment
from flows.prefect_api.records import JSON
from runs import native_schedules
from runs.automation import schedule_times
from runs.automation.schedule_times import Rule, RuleType
from runs.errors import Refused
from runs.governance.requirements import Requirements
from runs.models import ChangeRequest, RunSpec, Schedule

# From long to short; an interval of 24 hours is elapsed time, and one of a day is not, so hours come first.
UNITS = (("h", 3600), ("m", 60), ("s", 1))


def native_of(change: ChangeRequest, rule: Rule, spec: RunSpec) -> dict[str, Any]:
    """Return what Prefect is to have of a schedule. Secret values are left out: Prefect takes the deployment's own."""
    slug = native_schedules.slug_of(change.pk)
    return {"slug": slug, "rule": prefect_rule(rule), "parameters": spec.parameters}


def prefect_rule(rule: Rule) -> dict[str, JSON]:
    """Return a rule as Prefect spells it: it plans the same times (tests/runs/automation/test_schedule_times.py)."""
    if rule.type == RuleType.CRON:
        return {"cron": rule.text, "timezone": rule.time_zone}
    if rule.type == RuleType.INTERVAL and rule.anchor:
        seconds = schedule_times.length(rule.text).total_seconds()
        anchor = rule.anchor.astimezone(rule.zone).isoformat()
        return {"interval": seconds, "anchor_date": anchor, "timezone": rule.time_zone}
    return {"rrule": "\n".join(rule.text.split()), "timezone": rule.time_zone}


def rule_from_prefect(rule: Mapping[str, Any]) -> Rule | None:
    """Return a rule of Prefect as the portal spells it; None for one that it cannot have."""
    zone = str(rule.get("timezone") or "UTC")
    if rule.get("cron") and rule.get("day_or", True):
        return Rule(RuleType.CRON, str(rule["cron"]), zone)
    if rule.get("rrule"):
        return Rule(RuleType.RRULE, str(rule["rrule"]), zone)
    interval, begins = rule.get("interval"), native_schedules.moment_of(rule.get("anchor_date"))
    if not isinstance(interval, int | float) or interval < 1 or interval % 1:
        return None
    unit, size = next((unit, size) for unit, size in UNITS if interval % size == 0)
    return Rule(RuleType.INTERVAL, f"{int(interval) // size}{unit}", zone, begins)


def require_possible(
    deployment: Deployment,
    requirements: Requirements,
    parameters: Mapping[str, Any],
    *,
    catch_up: str,
    others: Sequence[str],
) -> None:
    """Refuse a schedule in Prefect that the rules do not allow, or that would harm what is deployed there.

    `others` are options that Prefect does not keep, blank where they were not chosen.
    """
    if not requirements.native_schedules or requirements.approve_each_run:
        raise Refused(
            "schedule.native_refused",
            f"Schedules in Prefect are not allowed for {deployment}: nothing is checked at their starts. Let the "
            "portal keep the schedule.",
        )
    require_harmless(deployment, [str(each.get("slug") or "") for each in deployment.schedules])
    if catch_up != Schedule.CatchUp.NONE or any(others):
        raise Refused(
            "schedule.native_options",
            "A schedule in Prefect has no tags, run name or resource profile, and starts nothing that was missed. "
            "Leave them out.",
        )
    given, usual = (
        schemas.split(deployment.parameter_schema, dict(values))[1]
        for values in (parameters, deployment.parameter_defaults)
    )
    names = [path.removeprefix("/") for path, value in given.items() if value not in (None, "", usual.get(path))]
    if names:
        raise Refused(
            "schedule.native_secret",
            f"Prefect would store a secret value as long as the schedule is there: {', '.join(sorted(names))}. "
            "Leave it to the deployment, or let the portal keep the schedule.",
            parameters=names,
        )


def require_harmless(deployment: Deployment, slugs: Sequence[str]) -> None:
    """Refuse beside schedules without a slug: the next deployment from code deletes all schedules beside those.

    Of a deployment whose stored schedules all have slugs Prefect refuses code with a schedule that has none (422).
    """
    if not all(slugs):
        raise Refused(
            "schedule.native_code",
            f"{deployment} has a schedule without a slug from its code. Its next deployment would delete a schedule of "
            "the portal beside it. Give the schedules in the code slugs, or let the portal keep this one.",
        )
