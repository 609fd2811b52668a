"""Schedules as a person sees them, for pages and programs, and when they start runs next."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from runs import native_schedules
from runs.access.decisions import Permissions
from runs.automation import native_checks, schedule_checks, schedule_states, schedule_times
from runs.listing import Filter, Listing
from runs.listings import IN_ENVIRONMENT
from runs.models import Schedule, Verb


def is_native(value: bool) -> Q:
    return ~Q(native={}) if value else Q(native={})


SCHEDULES = Listing(
    "schedules",
    Schedule,
    lambda by, permissions: permissions.q(Verb.SEE, deployment="deployment__"),
    ("name", "pk"),
    {
        "environment": IN_ENVIRONMENT,
        "deployment": Filter("deployment__full_name", str, "Full name of the deployment."),
        "name": Filter("name", str, "Name of the schedule."),
        "state": Filter("state__in", list[str], "waiting, active, paused or ended; several match any."),
        "native": Filter(is_native, bool, "Whether Prefect keeps it."),
        "owner": Filter("change__requested_by_name", str, "User name of the owner."),
    },
    related=("change__requested_by", "change__on_behalf_of", "spec", "environment", "deployment__environment"),
)


def visible_to(permissions: Permissions) -> QuerySet[Schedule]:
    """Return the schedules of the deployments that a person can see."""
    return schedule_states.rows().filter(permissions.q(Verb.SEE, deployment="deployment__"))


def preview(
    rule_type: str, rule: str, time_zone: str, *, anchor: datetime | None = None, number: int = 10
) -> list[datetime]:
    """Return the next due times of a rule; raises `Refused` with a code `schedule.…` for one that cannot be used."""
    now = timezone.now()
    found = schedule_times.checked(rule_type, rule, time_zone, anchor=anchor, now=now)
    return schedule_times.next_times(found, now, number)


def options_of_copy(schedule: Schedule) -> dict[str, Any]:
    """Return the rule and the parameters of Prefect's copy of a schedule, for a request that takes them over.

    Empty if there is no copy, or its rule has no form here.
    """
    found = native_schedules.copy_of(schedule)
    rule = native_checks.rule_from_prefect(found.get("rule", {})) if found else None
    if found is None or rule is None:
        return {}
    return {
        "rule_type": str(rule.type),
        "rule": rule.text,
        "time_zone": rule.time_zone,
        "anchor": rule.anchor,
        "parameters": dict(found.get("parameters", {})),
    }


def next_starts(schedule: Schedule, number: int = 10) -> list[datetime]:
    """Return when an active schedule starts runs next; of another one none."""
    if schedule.next_due is None:
        return []
    later = schedule_times.next_times(schedule_checks.rule_of(schedule), schedule.next_due, number - 1)
    return [schedule.next_due, *(each for each in later if each < schedule.valid_until)]
