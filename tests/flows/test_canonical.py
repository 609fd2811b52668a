"""One spelling of a value, whatever Postgres, a form or another program made of it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from flows import canonical
from flows.db_text import strip_control

VIENNA = ZoneInfo("Europe/Vienna")
MOMENT = datetime(2027, 10, 31, 1, 30, 0, 1, tzinfo=UTC)
ODD = [
    *(0, -0.0, 1.0, 0.1, 1e-7, 5e-324, 1e15, 1e16, 1e22, 1e23, 1.2345678901234567e18, 1e300, 1.7976931348623157e308),
    *(2**53 + 1, 2**63 - 1, 10**400, True, None, "", "\u00e9", "e\u0301", "1.0", [], {}, {"b": 1, "a": [1.0, "x"]}),
]


@pytest.mark.django_db
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_what_postgres_gives_back_is_spelled_as_what_it_was_given(value: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [json.dumps(value)])
        ((kept,),) = cursor.fetchall()

    assert canonical.text(json.loads(kept)) == canonical.text(value)
    assert canonical.same(json.loads(kept), value)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (0, False), (1, "1"), (None, ""), (1, 1 + 2**-52), ("\u00e9", "e\u0301"), ([1, 2], [2, 1])],
)
def test_what_means_something_else_is_spelled_otherwise(one: Any, other: Any) -> None:
    assert not canonical.same(one, other)
    assert canonical.digest(one) != canonical.digest(other)


@pytest.mark.parametrize("zone", [UTC, VIENNA, ZoneInfo("Asia/Kolkata"), timezone(timedelta(hours=-5))])
def test_a_moment_is_in_utc_to_the_microsecond(zone: Any) -> None:
    assert canonical.text({"at": MOMENT.astimezone(zone)}) == '{"at":"2027-10-31T01:30:00.000001+00:00"}'
    assert strip_control(MOMENT.astimezone(zone)) == "2027-10-31T01:30:00.000001+00:00"
    assert canonical.moment(MOMENT.astimezone(zone)).tzinfo is UTC


def test_a_time_that_comes_twice_is_two_moments() -> None:
    first, second = (datetime(2027, 10, 31, 2, 30, tzinfo=VIENNA, fold=fold) for fold in (0, 1))

    assert first == second  # for Python, which compares what the clock shows
    assert canonical.moment(second) - canonical.moment(first) == timedelta(hours=1)
    assert not canonical.same(first, second)


def test_a_time_without_an_offset_has_no_spelling() -> None:
    with pytest.raises(ValueError, match="offset"):
        canonical.text([datetime(2027, 1, 1)])  # noqa: DTZ001


def test_other_values_are_texts_or_have_no_spelling() -> None:
    assert canonical.text([date(2027, 1, 1), UUID(int=1)]) == f'["2027-01-01","{UUID(int=1)}"]'
    for value in (Decimal("1.10"), {1}, b"1", object()):
        with pytest.raises(TypeError):
            canonical.text(value)
