"""Reads what is typed as the rule of a schedule, while it is typed."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest, HttpResponse

from flows import local_time
from portal.admin.schedules.forms import rule_problems
from portal.ui import schedule_labels
from portal.ui.time_readings import NEXT, Reading, show
from runs.automation import schedule_listings
from runs.automation.schedule_times import LONGEST_TEXT, RuleType

LONGEST_ZONE = 60


def view(request: HttpRequest) -> HttpResponse:
    """Answer with the rule in words and its next starts, or with what is wrong."""
    kind = request.GET.get("rule_type", "")
    rule, zone = (
        request.GET.get(name, "").strip()[:most] for name, most in (("rule", LONGEST_TEXT), ("time_zone", LONGEST_ZONE))
    )
    if not rule:
        return show(request, Reading())
    anchor = typed_moment(request.GET.get("anchor", "")) if kind == RuleType.INTERVAL else None
    if problems := rule_problems(kind, rule, zone, anchor):
        return show(request, Reading(problems=[each.message for each in problems]))
    starts = schedule_listings.preview(kind, rule, zone, anchor=anchor, number=NEXT)
    words = schedule_labels.rule_text(kind, rule, zone)
    return show(request, Reading(words, schedule_labels.starts(starts, zone)))


def typed_moment(text: str) -> datetime | None:
    """Return a time that is typed completely; the form says what is wrong with another."""
    try:
        return local_time.read(text)
    except local_time.NotATime:
        return None
