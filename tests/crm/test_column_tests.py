"""Tests of columns: counts of values, of all deals that a reference was drawn from, against those of a month."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from flows.crm import column_counts, column_tests
from flows.crm.failures import BadLake
from flows.crm.table_schema import to_arrow, to_pandas
from tests.crm import generated

SIZES = np.arange(80.0)  # of accounts, of which every fourth is a big one


@pytest.fixture(scope="module")
def deals() -> pd.DataFrame:
    return generated.month(generated.world().tables, generated.REFERENCE).deals


def drawn(draws: np.random.Generator, deals: int, moved: float = 0.0) -> pd.Series:
    """Return sizes of the accounts of deals, of which the share `moved` went to big accounts."""
    sizes = np.where(draws.random(deals) < moved, draws.choice(SIZES[60:], deals), draws.choice(SIZES, deals))
    return pd.Series(sizes)


def test_a_month_is_compared_as_precisely_as_all_deals_allow() -> None:
    """Over 40 months of 2,500 deals: rarely an alarm without drift; a tenth that goes to big accounts is found."""
    draws = np.random.default_rng(0)
    calm, planted, sampled = [], [], []
    for _ in range(40):
        everything = drawn(draws, 20_000)
        sample = everything.sample(800, random_state=draws)
        now, shifted = drawn(draws, 2500).value_counts(), drawn(draws, 2500, moved=0.1).value_counts()
        calm.append(column_tests.same_distribution(everything.value_counts(), now)[1])
        planted.append(column_tests.same_distribution(everything.value_counts(), shifted)[1])
        sampled.append(column_tests.same_distribution(sample.value_counts(), shifted)[1])
    # Of 40 p-values two are expected below 0.05; seven or more have a probability below 1%.
    assert np.sum(np.array(calm) < 0.05) < 7
    assert np.mean(np.array(planted) < 0.002) == 1
    assert np.mean(np.array(sampled) < 0.002) < 0.9


def test_the_test_of_numbers_is_that_of_scipy() -> None:
    draws = np.random.default_rng(1)
    was, now = drawn(draws, 700), drawn(draws, 300, moved=0.2)
    exact = stats.ks_2samp(was, now, method="asymp")
    found = column_tests.same_distribution(was.value_counts(), now.value_counts())
    assert found == pytest.approx((exact.statistic, exact.pvalue))


@pytest.mark.parametrize("test", [column_tests.same_shares, column_tests.same_distribution])
def test_nothing_to_compare_is_no_drift(test: column_tests.Test) -> None:
    nothing = pd.Series(dtype=np.float64).value_counts()
    assert test(nothing, pd.Series([1.0, 2.0]).value_counts()) == (0.0, 1.0)
    assert test(pd.Series([1.0, 2.0]).value_counts(), nothing) == (0.0, 1.0)


def test_counts_are_read_as_they_were_stored(deals: pd.DataFrame) -> None:
    counts = column_counts.count(deals.assign(revenue=np.nan))
    table = to_pandas(to_arrow(column_counts.as_table(counts), column_counts.COLUMNS))
    again = column_counts.from_tables({column_counts.TABLE: table}, "2017-06")
    assert {name: found.to_dict() for name, found in again.items()} == {n: c.to_dict() for n, c in counts.items()}
    assert again["product"].sum() == len(deals)
    assert again["revenue"].empty
    assert 0 < again["sector"].sum() < len(deals), "deals without an account are not counted"


def test_a_reference_without_counts_is_refused(deals: pd.DataFrame) -> None:
    with pytest.raises(BadLake, match=r"^The reference of 2017-06 does not count .*: create the reference data of"):
        column_counts.from_tables({"deals": deals}, "2017-06")
