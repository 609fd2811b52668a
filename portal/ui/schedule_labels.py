"""Schedules in words: their rules, and their starts in the reader's time zone and in their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

from django.utils import timezone

from flows import cron_text
from flows.prefect_api.schedule_text import describe
from runs.automation import schedule_times
from runs.models import Schedule


@dataclass(frozen=True, slots=True)
class Start:
    """One start: `here` in the reader's time zone, `there` in that of the schedule, blank if it is the same."""

    at: datetime
    here: str
    there: str


def rule_text(rule_type: str, rule: str, time_zone: str) -> str:
    """Return text such as “at 06:30, Monday to Friday (UTC)”."""
    if rule_type == schedule_times.RuleType.CRON and (words := cron_text.describe(rule)):
        return f"{words} ({time_zone})"
    if rule_type == schedule_times.RuleType.INTERVAL:
        return describe({"interval": schedule_times.length(rule).total_seconds(), "timezone": time_zone})
    return describe({rule_type: rule, "timezone": time_zone})


def rule_of(schedule: Schedule) -> str:
    return rule_text(schedule.rule_type, schedule.rule, schedule.time_zone)


def starts(moments: list[datetime], time_zone: str) -> list[Start]:
    own, other = timezone.get_current_timezone(), ZoneInfo(time_zone)
    return [Start(each, spell(each, own), "" if str(own) == str(other) else spell(each, other)) for each in moments]


def spell(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%a %d %b %Y, %H:%M %Z}"
