"""Reads a cron expression in plain words, such as “at 22:00, Monday to Friday”.

The words say all of it or nothing: an expression that has no short reading is described by its next times alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from cronsim import CronSim, CronSimError

# cronsim also accepts a sixth field for seconds.
CRON_PARTS = 5
MINUTES, HOURS = range(60), range(24)
DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS = (
    *("", "January", "February", "March", "April", "May", "June", "July", "August", "September", "October"),
    *("November", "December"),
)
ORDINALS = ("", "first", "second", "third", "fourth", "fifth")
# A longer list of times or days is no reading.
MOST_TIMES, MOST_DAYS = 6, 8
# Any date: only the parsed fields are read.
ANY = datetime(2000, 1, 1)  # noqa: DTZ001  (cron expressions are about local clocks)


def describe(cron: str) -> str:
    """Return when an expression is due; empty for an invalid one, and where no short reading says all of it."""
    if len(cron.split()) != CRON_PARTS:
        return ""
    try:
        fields = CronSim(cron, ANY)
    except CronSimError:
        return ""
    times, days = read_times(sorted(fields.minutes), sorted(fields.hours)), read_days(fields)
    if not times or days is None:
        return ""
    # “every 15 minutes” is said of every day anyway.
    is_clock = times.startswith("at ") and "hour" not in times
    return f"{times}{days}" if not is_clock or is_narrow(fields) else f"{times} every day{days}"


def is_narrow(fields: CronSim) -> bool:
    """Return whether the day of the month or the weekday leaves a day out."""
    weekdays = {each if isinstance(each, tuple) else each % 7 for each in fields.weekdays}
    return fields.parts[3] != "*" or len(weekdays) < len(DAYS)


def join(words: Sequence[str], last: str = "and") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


# Times of a day -------------------------------------------------------------------------------------------------------


def read_times(minutes: list[int], hours: list[int]) -> str:
    if len(minutes) * len(hours) <= MOST_TIMES:
        return f"at {join([clock(hour, minute) for hour in hours for minute in minutes])}"
    if is_run(hours):
        rhythm = read_minutes(minutes)
        # Until the last time: that of the last hour.
        within = "" if len(hours) == len(HOURS) else f" from {clock(hours[0], minutes[0])} to "
        return rhythm and f"{rhythm}{within and within + clock(hours[-1], minutes[-1])}"
    step = step_of(hours, len(HOURS))
    if step and len(minutes) == 1:
        return f"every {step} hours from {clock(hours[0], minutes[0])}"
    return ""


def read_minutes(minutes: list[int]) -> str:
    """Return the rhythm within each hour."""
    step = step_of(minutes, len(MINUTES))
    if len(minutes) == 1:
        return f"at minute {minutes[0]} of every hour" if minutes[0] else "every hour"
    if step and not minutes[0]:
        return "every minute" if step == 1 else f"every {step} minutes"
    if len(minutes) <= MOST_TIMES:
        return f"at minutes {join([str(each) for each in minutes])} of every hour"
    return ""


def step_of(numbers: list[int], whole: int) -> int:
    """Return the distance of numbers that divide a whole evenly, over its end too; 0 if they do not."""
    step, rest = divmod(whole, len(numbers))
    is_even = not rest and numbers == list(range(numbers[0], whole, step))
    return step if is_even else 0


def is_run(numbers: list[int]) -> bool:
    return numbers == list(range(numbers[0], numbers[-1] + 1))


def clock(hour: int, minute: int) -> str:
    return f"{hour:02}:{minute:02}"


# Days -----------------------------------------------------------------------------------------------------------------


def read_days(fields: CronSim) -> str | None:
    """Return the days as the end of a sentence, empty for every day; None where there is no short reading."""
    has_dates = fields.parts[3] != "*"
    has_weekdays = fields.parts[5] != "*" and (has_dates or is_narrow(fields))
    # With a step beside them both have to match, otherwise one of them: no reader would know which.
    if has_dates and has_weekdays and fields.day_and:
        return None
    dates = read_dates(fields.days) if has_dates else ""
    weekdays = read_weekdays(fields.weekdays) if has_weekdays else ""
    if dates is None or weekdays is None:
        return None
    every, months = len(fields.months) == len(MONTHS) - 1, read_months(fields.months)
    if dates and weekdays:
        return (
            f"{dates}{' of each month' if every else ''} or {weekdays.strip(', ')}{'' if every else f', in {months}'}"
        )
    if dates or "#" in fields.parts[5] or "L" in fields.parts[5]:
        return f"{dates or weekdays} of {'each month' if every else months}"
    return weekdays if every else f"{weekdays} in {months}"


def read_dates(days: Collection[int]) -> str | None:
    if CronSim.LAST in days or CronSim.LAST_WEEKDAY in days:
        if len(days) > 1:
            return None
        last = "day" if CronSim.LAST in days else "weekday"
        return f" on the last {last}"
    numbers = sorted(days)
    if len(numbers) > 2 and is_run(numbers):
        return f" on days {numbers[0]} to {numbers[-1]}"
    if len(numbers) > MOST_DAYS:
        return None
    return f" on day{'' if len(numbers) == 1 else 's'} {join([str(each) for each in numbers])}"


def read_weekdays(weekdays: Collection[int | tuple[int, int]]) -> str | None:
    counted = [each for each in weekdays if isinstance(each, tuple)]
    plain = sorted({each % 7 for each in weekdays if isinstance(each, int)})
    if counted:
        if plain or len(counted) > 1:
            return None
        ((day, number),) = counted
        nth = "last" if number == CronSim.LAST else ORDINALS[number]
        return f" on the {nth} {DAYS[day % 7]}"
    # The week begins on Monday, so that Saturday and Sunday are together.
    names = [(day - 1) % 7 for day in plain]
    if len(names) > 2 and is_run(sorted(names)):
        ends = sorted(names)
        return f", {DAYS[(ends[0] + 1) % 7]} to {DAYS[(ends[-1] + 1) % 7]}"
    return f" on {join([f'{DAYS[(day + 1) % 7]}s' for day in sorted(names)])}"


def read_months(months: Collection[int]) -> str:
    numbers = sorted(months)
    if len(numbers) > 2 and is_run(numbers):
        return f"{MONTHS[numbers[0]]} to {MONTHS[numbers[-1]]}"
    return join([MONTHS[each] for each in numbers])
