"""The reference sample: like the whole, and the same each time."""

import pandas as pd
import pytest

from flows.crm import sample as crm_sample
from flows.crm.failures import BadChoice
from tests.crm import generated


@pytest.fixture(scope="module")
def deals() -> pd.DataFrame:
    return generated.month(generated.world().tables, generated.REFERENCE).deals


@pytest.mark.parametrize("size", [100, 333, 800])
def test_every_outcome_and_product_has_its_share(deals: pd.DataFrame, size: int) -> None:
    sample = crm_sample.stratified(deals, size, "2017-06")
    assert len(sample) == size
    assert sample["opportunity_id"].is_unique
    for column in (crm_sample.outcome, lambda frame: frame["product"]):
        exact = column(deals).value_counts() * size / len(deals)
        taken = column(sample).value_counts().reindex(exact.index).fillna(0)
        assert (taken - exact).abs().max() <= 7, "rounding takes at most one of each stratum"
    assert set(crm_sample.outcome(sample)) == {"won", "lost", "open"}


def test_the_same_deals_are_taken_whatever_their_order(deals: pd.DataFrame) -> None:
    sample = crm_sample.stratified(deals, 300, "2017-06")
    again = crm_sample.stratified(deals.sample(frac=1, random_state=3).reset_index(drop=True), 300, "2017-06")
    assert set(sample["opportunity_id"]) == set(again["opportunity_id"])


def test_all_deals_may_be_taken(deals: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(crm_sample.stratified(deals, len(deals), "2017-06"), deals)


def test_more_than_there_are_is_refused(deals: pd.DataFrame) -> None:
    with pytest.raises(BadChoice) as refusal:
        crm_sample.stratified(deals, 5000, "2017-06")
    assert str(refusal.value) == (
        f"2017-06 has {len(deals)} engaged deals, and sample_size is 5000: "
        f"choose a sample_size of at most {len(deals)}, or a later month."
    )


@pytest.mark.parametrize("size", [99, 5001, 0, -1, "1000", 500.0, None, True])
def test_a_size_out_of_bounds_is_refused(size: object) -> None:
    with pytest.raises(BadChoice) as refusal:
        crm_sample.require_size(size)
    assert str(refusal.value) == f"sample_size is {size!r}: choose a whole number from 100 to 5000."
    assert crm_sample.require_size(100) == 100
