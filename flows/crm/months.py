"""Months as YYYY-MM: the parameter of all monthly pipelines, and the dates it stands for."""

import calendar
import re
from datetime import date, timedelta
from typing import Annotated, TypeGuard

from pydantic import Field

from flows.crm.failures import BadMonth

PATTERN = r"^[12][0-9]{3}-(0[1-9]|1[0-2])$"

# Without a description: Prefect uses the one in the flow's docstring and drops any here.
Month = Annotated[str, Field(pattern=PATTERN, examples=["2017-03"])]


def is_month(month: object) -> TypeGuard[str]:
    # fullmatch and no anchors: `$` would also match before a line break at the end.
    return isinstance(month, str) and re.fullmatch(PATTERN.strip("^$"), month) is not None


def last_day(month: object) -> date:
    """Return the last day of a month; raise `BadMonth` for anything that is not YYYY-MM."""
    if not is_month(month):
        raise BadMonth(f"{month!r} is not a month: write it as YYYY-MM, such as 2017-03.")
    year, number = (int(part) for part in month.split("-"))
    return date(year, number, calendar.monthrange(year, number)[1])


def month_of(day: date) -> str:
    return f"{day:%Y-%m}"


def previous(month: str) -> str:
    return month_of(last_day(month).replace(day=1) - timedelta(days=1))


def months_between(first: str, last: str) -> list[str]:
    """Return every month from first to last, both included."""
    # Months as a count since year 0: the last month of a year plus one is the first of the next.
    start, end = (day.year * 12 + day.month - 1 for day in (last_day(first), last_day(last)))
    return [f"{month // 12:04d}-{month % 12 + 1:02d}" for month in range(start, end + 1)]


def require_within(month: str, first: str, last: str) -> None:
    """Raise `BadMonth` if the month is outside the data. Months as YYYY-MM sort as text."""
    last_day(month)
    if month < first:
        raise BadMonth(f"{month} is before the data: the first month is {first}.")
    if month > last:
        raise BadMonth(f"{month} is after the data: the last month is {last}.")
