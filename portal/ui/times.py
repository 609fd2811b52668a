"""Formats times and durations. `live.js` counts on in the same format: change both together."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.functional import lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString

from flows.wording import plain_number

# size of the unit in seconds, its name, and the size and name of the smaller unit displayed with it
UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
# From so many days on the hours are left out.
DAYS_ALONE = 10
NEVER = format_html('<span class="portal-faint">{}</span>', "-")


def span(seconds: float) -> str:
    """Format a duration in seconds: 30 d, 2 d 3 h, 1 h 5 min, 3 min 20 s, 42 s."""
    whole = max(int(seconds), 0)
    if whole >= DAYS_ALONE * 86400:
        return f"{whole // 86400} d"
    for size, unit, smaller, rest in UNITS:
        if whole >= size:
            left = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {left} {rest}" if left else "")
    return f"{whole} s"


def duration(seconds: float) -> str:
    """Format a finished duration: milliseconds below a second, tenths below ten seconds if there are any."""
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    return f"{plain_number(round(seconds, 1))} s" if seconds < 10 else span(seconds)


def age(at: datetime, now: datetime) -> str:
    """Format a time relative to now: “in 3 min 20 s”, “just now”, “5 min ago”."""
    seconds = (now - at).total_seconds()
    if seconds < 0:
        return f"in {span(-seconds)}"
    return "just now" if seconds < 5 else f"{rough_age(seconds)} ago"


def rough_age(seconds: float) -> str:
    """Format a duration by its larger unit alone, such as “2 d”."""
    return " ".join(span(seconds).split()[:2])


def exact_time(at: datetime) -> str:
    return f"{timezone.localtime(at):%d %b %Y, %H:%M:%S %Z}"


def clock_time(at: datetime) -> str:
    """Format a time of today as “14:05”, of another day as “29 Nov, 14:05”."""
    local = timezone.localtime(at)
    return f"{local:%H:%M}" if local.date() == timezone.localdate() else f"{local:%d %b, %H:%M}"


def day(at: datetime) -> str:
    """Format the day of a time for a list, such as “01 Dec 2027”, which is not wrapped."""
    return f"{timezone.localtime(at):%d\u00a0%b\u00a0%Y}"


def relative_time(at: datetime | None) -> SafeString:
    """Render a time as its age, which `live.js` updates, with the exact time as tooltip; “-” for None."""
    if at is None:
        return NEVER
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>', at.isoformat(), exact_time(at), age(at, timezone.now())
    )


def clock(at: datetime) -> str:
    """Format a time of day in the reader's zone, with the day unless it is today: 13:14, 27 Nov 13:14."""
    local, today = timezone.localtime(at), timezone.localdate()
    if local.date() == today:
        return f"{local:%H:%M}"
    return f"{local.day} {local:%b %H:%M}" if local.year == today.year else f"{local.day} {local:%b %Y %H:%M}"


def clock_and_age(at: datetime | None) -> SafeString:
    """Render a time for a list, as the time of day and its age; `live.js` updates both in the reader's zone."""
    if at is None:
        return NEVER
    return format_html(
        '<span class="portal-when"><time datetime="{}" data-clock>{}</time> '
        '<span class="portal-faint">· {}</span></span>',
        at.isoformat(),
        clock(at),
        relative_time(at),
    )


def title_with_zone(title: str) -> str:
    return f"{title} ({timezone.localtime():%Z})"


# The title of a column of times with the name of the zone, “created (CET)”: of the request that shows it.
in_zone = lazy(title_with_zone, str)


def running_for(since: datetime) -> SafeString:
    """Render the duration of something active, which `live.js` updates."""
    seconds = (timezone.now() - since).total_seconds()
    return format_html('<span data-elapsed="{}">{}</span>', since.isoformat(), span(seconds))
