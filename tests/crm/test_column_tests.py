"""Tests of columns: the reference is a sample, but its shares of a stratum are those of all deals it was drawn from."""

import numpy as np
import pandas as pd

from flows.crm import column_tests, sample

PRODUCTS = np.array(["a", "b", "c", "d"])
PRICES = {"a": 10.0, "b": 20.0, "c": 30.0, "d": 40.0}


def drawn(draws: np.random.Generator, size: int, first: float = 0.25) -> pd.Series:
    rest = (1 - first) / 3
    return pd.Series(draws.choice(PRODUCTS, size, p=[first, rest, rest, rest]))


def stratified(products: pd.Series, size: int) -> pd.Series:
    deals = pd.DataFrame({"opportunity_id": products.index.astype(str), "product": products}).assign(
        won=pd.array([True] * len(products), dtype="boolean")
    )
    found: pd.Series = sample.stratified(deals, size, "2017-06")["product"]
    return found


def test_a_stratum_is_compared_as_precisely_as_all_deals_allow() -> None:
    """Over 40 months of 2,000 deals: rarely an alarm without drift, and a shift of six points is found."""
    draws = np.random.default_rng(0)
    calm, planted, unweighted = [], [], []
    for _ in range(40):
        everything = drawn(draws, 4000)
        reference = stratified(everything, 300)
        weight = len(everything) / len(reference)
        now, shifted = drawn(draws, 2000), drawn(draws, 2000, first=0.31)
        calm.append(column_tests.same_shares(reference, now, weight)[1])
        planted.append(column_tests.same_shares(reference, shifted, weight)[1])
        unweighted.append(column_tests.same_shares(reference, shifted)[1])
    # Of 40 p-values two are expected below 0.05; seven or more have a probability below 1 %.
    assert np.sum(np.array(calm) < 0.05) < 7
    assert np.mean(np.array(planted) < 0.002) > 0.6
    assert np.mean(np.array(unweighted) < 0.002) < 0.2


def test_a_number_that_follows_from_the_stratum_is_weighted_too() -> None:
    draws = np.random.default_rng(1)
    everything = drawn(draws, 8000)
    reference, now = stratified(everything, 400).map(PRICES), drawn(draws, 2000, first=0.3).map(PRICES)
    statistic, p_value = column_tests.same_distribution(reference, now, 20.0)
    assert statistic == column_tests.same_distribution(reference, now)[0]
    assert p_value < column_tests.same_distribution(reference, now)[1]


def test_a_weight_of_one_changes_nothing() -> None:
    draws = np.random.default_rng(2)
    was, now = drawn(draws, 300), drawn(draws, 200)
    assert column_tests.same_shares(was, now, 1.0) == column_tests.same_shares(was, now)
    prices = was.map(PRICES), now.map(PRICES)
    assert column_tests.same_distribution(*prices, 1.0) == column_tests.same_distribution(*prices)
