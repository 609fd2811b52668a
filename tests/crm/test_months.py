"""Months, and the sentences about months that are none."""

from datetime import date

import pytest

from flows.crm import months
from flows.crm.failures import BadMonth


def test_a_month_ends_on_its_last_day() -> None:
    assert months.last_day("2016-02") == date(2016, 2, 29)
    assert months.last_day("2017-12") == date(2017, 12, 31)


@pytest.mark.parametrize(
    "month", ["2017-13", "2017-00", "2017-3", "17-03", "2017-03-01", "2017-03\n", "", "March", 201703, None]
)
def test_anything_else_is_refused_in_one_sentence(month: object) -> None:
    with pytest.raises(BadMonth) as refusal:
        months.last_day(month)
    assert str(refusal.value) == f"{month!r} is not a month: write it as YYYY-MM, such as 2017-03."


def test_months_between_cross_the_year() -> None:
    assert months.months_between("2016-11", "2017-02") == ["2016-11", "2016-12", "2017-01", "2017-02"]
    assert months.months_between("2017-02", "2017-02") == ["2017-02"]


def test_a_month_outside_the_data_is_refused() -> None:
    months.require_within("2017-01", "2017-01", "2017-03")
    with pytest.raises(BadMonth, match=r"^2016-12 is before the data: the first month is 2017-01\.$"):
        months.require_within("2016-12", "2017-01", "2017-03")
    with pytest.raises(BadMonth, match=r"^2017-04 is after the data: the last month is 2017-03\.$"):
        months.require_within("2017-04", "2017-01", "2017-03")
