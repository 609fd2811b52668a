"""Describes Prefect schedules in words."""

from collections.abc import Mapping

from flows.prefect_api.records import JSON

UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
FREQUENCIES = {
    "YEARLY": "year",
    "MONTHLY": "month",
    "WEEKLY": "week",
    "DAILY": "day",
    "HOURLY": "hour",
    "MINUTELY": "minute",
    "SECONDLY": "second",
}
DAYS = {
    "MO": "Monday",
    "TU": "Tuesday",
    "WE": "Wednesday",
    "TH": "Thursday",
    "FR": "Friday",
    "SA": "Saturday",
    "SU": "Sunday",
}
# The parts of a recurrence rule that are described; a rule with any other part is shown unchanged, so that no
# description is ever wrong by omission.
_DESCRIBED_PARTS = frozenset({"FREQ", "INTERVAL", "BYDAY", "BYMONTHDAY", "BYHOUR", "BYMINUTE", "COUNT"})


def describe(schedule: Mapping[str, JSON]) -> str:
    """Return text such as "cron 0 6 * * * (Europe/Vienna)" or "every week on Monday at 06:30 (UTC)"."""
    cron, interval, rrule = schedule.get("cron"), schedule.get("interval"), schedule.get("rrule")
    if isinstance(cron, str):
        text = f"cron {cron}"
    elif isinstance(interval, int | float) and interval > 0:
        text = _every(interval)
    elif isinstance(rrule, str):
        text = _recurring(rrule)
    else:
        return "unknown kind of schedule"
    zone = schedule.get("timezone")
    return f"{text} ({zone})" if zone else text


def _every(seconds: float) -> str:
    words, rest = [], round(seconds)
    for size, unit in UNITS:
        count, rest = divmod(rest, size)
        if count:
            words.append(_count(count, unit))
    if len(words) == 1:
        return f"every {words[0].removeprefix('1 ')}"
    return f"every {' '.join(words)}" if words else f"every {seconds:g} seconds"


def _count(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _recurring(rrule: str) -> str:
    plain = f"rule {' '.join(rrule.split())}"
    lines = [line.removeprefix("RRULE:") for line in rrule.split() if not line.startswith("DTSTART")]
    if len(lines) != 1:
        return plain
    parts = dict(part.partition("=")[::2] for part in lines[0].split(";"))
    unit = FREQUENCIES.get(parts.get("FREQ", ""))
    days = [DAYS.get(day, "") for day in parts.get("BYDAY", "").split(",") if day]
    clock = [parts.get(key, "0") for key in ("BYHOUR", "BYMINUTE")]
    interval = parts.get("INTERVAL", "1")
    # BYMINUTE without BYHOUR means every hour, which no phrase below expresses.
    known = parts.keys() <= _DESCRIBED_PARTS and ("BYHOUR" in parts or "BYMINUTE" not in parts)
    if not unit or "" in days or not known or not all(part.isdigit() for part in (*clock, interval)):
        return plain
    words = [f"every {_count(int(interval), unit)}".replace("every 1 ", "every ")]
    if "BYMONTHDAY" in parts:
        words.append(f"on day {parts['BYMONTHDAY']}")
    if days:
        words.append(f"on {', '.join(days)}")
    if "BYHOUR" in parts:
        words.append(f"at {int(clock[0]):02}:{int(clock[1]):02}")
    if "COUNT" in parts:
        words.append(f"{parts['COUNT']} times")
    return " ".join(words)
