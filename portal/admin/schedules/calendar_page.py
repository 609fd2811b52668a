"""Context of the calendar: the starts of all visible schedules in one month, in the reader's time zone."""

from __future__ import annotations

import calendar
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import islice, takewhile
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from portal.ui import schedule_labels
from runs.automation import schedule_checks, schedule_times
from runs.models import Schedule

# A schedule with more starts in the month is listed by its rule instead; that bounds what one page computes.
MOST_STARTS, MOST_SCHEDULES = 100, 100
# Starts that one day shows.
MOST_A_DAY = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """One start on a day."""

    clock: str
    schedule: Schedule
    url: str


@dataclass(slots=True)
class Day:
    day: date
    is_in_month: bool
    is_today: bool
    entries: list[Entry] = field(default_factory=list)

    @property
    def shown(self) -> list[Entry]:
        return self.entries[:MOST_A_DAY]

    @property
    def more(self) -> int:
        return max(len(self.entries) - MOST_A_DAY, 0)


def context(request: HttpRequest, visible: QuerySet[Schedule]) -> dict[str, Any]:
    first = month_of(request.GET.get("month", ""))
    following, before = (first + timedelta(days=31)).replace(day=1), (first - timedelta(days=1)).replace(day=1)
    zone, today = timezone.get_current_timezone(), timezone.localdate()
    begin, end = (datetime.combine(day, time(), zone) for day in (first, following))
    # One more than are drawn: whether there are others.
    live = list(visible.filter(state=Schedule.State.ACTIVE).order_by("next_due", "pk")[: MOST_SCHEDULES + 1])
    found, frequent = defaultdict(list), []
    for schedule in live[:MOST_SCHEDULES]:
        starts = starts_between(schedule, begin, end)
        if len(starts) > MOST_STARTS:
            frequent.append({"schedule": schedule, "rule": schedule_labels.rule_of(schedule)})
            continue
        url = reverse("admin:runs_schedule_change", args=[schedule.pk])
        for start in starts:
            local = start.astimezone(zone)
            found[local.date()].append((start, Entry(f"{local:%H:%M}", schedule, url)))
    weeks = [
        [
            Day(
                day,
                day.month == first.month,
                day == today,
                [entry for _, entry in sorted(found[day], key=lambda each: each[0])],
            )
            for day in week
        ]
        for week in calendar.Calendar().monthdatescalendar(first.year, first.month)
    ]
    return {
        "title": "Calendar of schedules",
        "month": first,
        "weeks": weeks,
        "frequent": frequent,
        "has_more": len(live) > MOST_SCHEDULES,
        "most": MOST_SCHEDULES,
        "before": f"{before:%Y-%m}",
        "following": f"{following:%Y-%m}",
        "zone": str(zone),
    }


def month_of(text: str) -> date:
    """Return the first day of a month such as 2026-12; of this month if it is none within ten years."""
    this = timezone.localdate().replace(day=1)
    try:
        found = datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007  (a month, not a time)
    except ValueError:
        return this
    return found if abs(found - this) < timedelta(days=3653) else this


def starts_between(schedule: Schedule, begin: datetime, end: datetime) -> list[datetime]:
    """Return the starts from now on in a month, up to one more than `MOST_STARTS`."""
    since = max(begin, schedule.next_due or begin)
    last = min(end, schedule.valid_until)
    if since >= last:
        return []
    found = schedule_times.times(schedule_checks.rule_of(schedule), since - timedelta(microseconds=1))
    return list(islice(takewhile(lambda each: each < last, found), MOST_STARTS + 1))
