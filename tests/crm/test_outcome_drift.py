"""Outcomes against predictions: a change is found overall and in a segment, and none is found where there is none."""

import numpy as np
import pandas as pd
import pytest

from flows.crm import outcome_drift
from flows.crm.inputs import CATEGORIES, UNKNOWN
from flows.crm.outcome_drift import P_SEGMENTS

SEGMENTS = {"product": 7, "sector": 10, "sales_agent": 30, "manager": 6, "regional_office": 3}
WORLDS = 100


def deals(draws: np.random.Generator, size: int) -> pd.DataFrame:
    """Deals with correct predictions, and segments that the predictions say nothing of."""
    chances = 1 / (1 + np.exp(-draws.normal(0.5, 0.6, size)))
    found = pd.DataFrame({name: draws.integers(0, many, size).astype(str) for name, many in SEGMENTS.items()})
    return found.assign(prediction=chances, won=pd.array(draws.random(size) < chances, dtype="boolean"))


def flipped(closed: pd.DataFrame, draws: np.random.Generator, share: float, office: str) -> pd.DataFrame:
    turned = (closed["regional_office"] == office) & (draws.random(len(closed)) < share)
    return closed.assign(won=closed["won"] ^ turned.astype("boolean"))


def drifted(earlier: pd.DataFrame, closed: pd.DataFrame) -> tuple[bool, bool]:
    found = outcome_drift.compare(earlier, closed)
    return bool(found.gap[1]), bool(found.segments[1])


def test_without_drift_alarms_are_as_rare_as_the_threshold_says() -> None:
    draws = np.random.default_rng(0)
    found = [drifted(deals(draws, 300), deals(draws, 200)) for _ in range(WORLDS)]
    overall, by_segment = np.mean(found, axis=0)
    # Of 100 worlds one is expected; five or more have a probability below 1%.
    assert overall < 5 / WORLDS
    assert by_segment < 5 / WORLDS


def test_it_is_found_by_segment_when_outcomes_are_reversed_in_one() -> None:
    draws = np.random.default_rng(1)
    worlds = 20
    found = [drifted(deals(draws, 1400), flipped(deals(draws, 900), draws, 0.5, "1")) for _ in range(worlds)]
    assert np.mean(found, axis=0)[1] > 0.8
    earlier, closed = deals(draws, 1400), deals(draws, 900)
    columns = outcome_drift.compare(earlier, flipped(closed, draws, 0.5, "1")).columns
    assert min(columns, key=lambda column: column.p_value).name == "regional_office"


def test_it_is_found_when_fewer_deals_are_won_than_before() -> None:
    draws = np.random.default_rng(2)
    found = []
    for _ in range(20):
        closed = deals(draws, 900)
        lost = pd.array(draws.random(len(closed)) < 0.16, dtype="boolean")
        found.append(drifted(deals(draws, 1400), closed.assign(won=closed["won"] & ~lost)))
    assert np.mean(found, axis=0)[0] > 0.9


def test_a_bias_that_the_predictions_always_had_is_no_change() -> None:
    draws = np.random.default_rng(3)
    earlier, closed = (
        frame.assign(prediction=frame["prediction"] - 0.15) for frame in (deals(draws, 1400), deals(draws, 900))
    )
    found = outcome_drift.compare(earlier, closed)
    assert found.gap[1] == 0
    assert found.segments[1] == 0
    assert outcome_drift.compare(deals(draws, 1400), closed).gap[1] == pytest.approx(0.15, abs=0.05)


def test_the_size_is_that_of_the_change_and_not_of_chance() -> None:
    """In a third of the deals nine outcomes of ten become the opposite: win probabilities change by 0.2 (rms)."""
    draws = np.random.default_rng(4)
    earlier, closed = deals(draws, 20_000), deals(draws, 20_000)
    turned = flipped(closed, draws, 0.9, "0")
    change = 0.9 * (1 - 2 * closed["prediction"]) * (closed["regional_office"] == "0")
    found = outcome_drift.compare(earlier, turned)
    assert found.segments[1] == pytest.approx(float(np.sqrt((change**2).mean())), rel=0.15)
    calm = outcome_drift.compare(earlier, closed)
    assert calm.segments[0] is not None
    assert calm.segments[0] < 0.02
    assert calm.segments[1] == 0


def test_small_and_unknown_segments_are_left_out() -> None:
    draws = np.random.default_rng(5)
    earlier, closed = deals(draws, 500), deals(draws, 300)
    before = outcome_drift.compare(earlier, closed)
    odd = deals(draws, 5).assign(
        won=pd.array([False] * 5, dtype="boolean"), prediction=0.99, **dict.fromkeys(CATEGORIES, "rare")
    )
    nameless = odd.assign(**dict.fromkeys(CATEGORIES, UNKNOWN))
    after = outcome_drift.compare(
        pd.concat([earlier, *[nameless] * 3], ignore_index=True),
        pd.concat([closed, odd, *[nameless] * 3], ignore_index=True),
    )
    # The odd deals move the mean log-odds by which slopes are centred, and nothing else.
    for was, now in zip(before.columns, after.columns, strict=True):
        assert now.statistic == pytest.approx(was.statistic, rel=0.2), now.name


def test_equal_predictions_have_no_slope() -> None:
    draws = np.random.default_rng(6)
    earlier, closed = (deals(draws, size).assign(prediction=0.6) for size in (500, 300))
    found = outcome_drift.compare(earlier, closed)
    assert all(np.isfinite(column.statistic) for column in found.columns)
    assert {column.name for column in found.columns} == set(CATEGORIES)
    assert {column.threshold for column in found.columns} == {P_SEGMENTS / len(CATEGORIES)}


def test_with_few_outcomes_nothing_is_known() -> None:
    draws = np.random.default_rng(7)
    for earlier, closed in ((500, 40), (40, 500)):
        found = outcome_drift.compare(deals(draws, earlier), deals(draws, closed))
        assert found == outcome_drift.OutcomeDrift((None, None), (None, None), [])


def test_earlier_deals_are_those_after_learning_and_up_to_the_reference() -> None:
    closed = pd.DataFrame({"close_date": pd.to_datetime(["2017-04-30", "2017-05-01", "2017-06-30", "2017-07-01"])})
    found = outcome_drift.since_learning(closed, pd.Timestamp("2017-04-30"), "2017-06")
    assert found["close_date"].dt.strftime("%m-%d").tolist() == ["05-01", "06-30"]
