"""Drift: found where it was planted, not seen where there is none, and graded by one table of rules."""

import dataclasses
from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from flows.crm import alert_levels, column_tests, drift, inputs
from flows.crm.alert_levels import LEVELS, RULE
from flows.crm.drift import Found
from flows.crm.failures import TooFewDeals
from tests.crm import generated
from tests.crm.generated import Reference

SEEDS = range(1, 21)


@pytest.fixture(scope="module")
def calm() -> pd.DataFrame:
    """Deals of an unchanged month, with predictions."""
    tables = generated.world().tables
    normal = generated.reference(tables)
    deals = generated.month(tables, generated.CURRENT).deals
    deals = deals[deals["engage_date"] > pd.Timestamp("2017-07-31")]
    return deals.assign(prediction=normal.model(deals))


@pytest.fixture(scope="module")
def normal() -> Reference:
    return generated.reference(generated.world().tables)


def closed(chances: list[float], won: list[bool]) -> pd.DataFrame:
    segments = dict.fromkeys(inputs.CATEGORIES, "only one")
    return pd.DataFrame({"prediction": chances, "won": pd.array(won, dtype="boolean")}).assign(**segments)


NOBODY = closed([], [])


def compared(normal: Reference, now: pd.DataFrame, outcomes: pd.DataFrame = NOBODY) -> Found:
    quality = normal.quality.as_json()
    return drift.compare(
        normal.deals,
        now,
        counts=normal.counts,
        earlier=normal.earlier,
        closed=outcomes,
        activity=generated.USUAL,
        baseline=quality,
    )


def value(found: Found, measure: str) -> float | None:
    return next(reading.value for reading in found.readings if reading.measure.name == measure)


def test_planted_drift_is_found_and_calm_is_left_alone() -> None:
    """Over twenty worlds: at most one alarm without drift, and none overlooked."""
    levels: dict[float, Counter[str]] = {0.0: Counter(), 1.0: Counter()}
    for seed in SEEDS:
        calm = generated.world(seed).tables
        normal = generated.reference(calm)
        levels[0.0][generated.monitored(calm, normal).level] += 1
        levels[1.0][generated.monitored(generated.world(seed, 1.0).tables, normal).level] += 1
    hits, alarms = (len(SEEDS) - levels[strength]["NONE"] - levels[strength]["UNKNOWN"] for strength in (1.0, 0.0))
    print(f"drift found in {hits} of {len(SEEDS)} worlds, false alarms in {alarms}: {levels}")
    assert hits == len(SEEDS)
    assert alarms <= 1


def test_a_month_that_is_the_reference_has_no_drift(normal: Reference) -> None:
    found = compared(normal, normal.deals, normal.earlier)
    assert found.level == "NONE"
    assert found.drifted == []
    assert found.quality.score == 1
    assert found.prediction_distance == 0
    assert value(found, "calibration_gap") == value(found, "segment_gap") == 0
    assert alert_levels.recommendations(found.readings) == [{"level": "NONE", "text": alert_levels.GENERAL["NONE"]}]


CHANGES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str, str]] = {
    "one product only": (lambda d: d.assign(product="GTX Pro"), "dataset_drift_share", "LOW"),
    "predictions half as high": (lambda d: d.assign(prediction=d["prediction"] / 2), "prediction_drift", "HIGH"),
    "an agent nobody knows": (lambda d: d.assign(sales_agent="Somebody new"), "unseen_values_share", "LOW"),
    "no prices": (lambda d: d.assign(sales_price=np.nan), "missing_values_added", "HIGH"),
}


@pytest.mark.parametrize(("change", "measure", "level"), CHANGES.values(), ids=CHANGES.keys())
def test_each_change_is_told_by_its_measure(
    normal: Reference,
    calm: pd.DataFrame,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    measure: str,
    level: str,
) -> None:
    before = {reading.measure.name: reading.level for reading in compared(normal, calm).readings}
    after = {reading.measure.name: reading.level for reading in compared(normal, change(calm)).readings}
    assert before[measure] == "NONE"
    assert LEVELS.index(after[measure]) >= LEVELS.index(level)


def test_open_deals_may_lack_their_account_and_closed_ones_may_not(normal: Reference, calm: pd.DataFrame) -> None:
    def without_account(which: pd.Series) -> pd.DataFrame:
        return calm.assign(sector=calm["sector"].where(~which, "unknown"), revenue=calm["revenue"].where(~which))

    is_open = calm["won"].isna()
    assert value(compared(normal, without_account(is_open)), "missing_values_added") == 0
    assert value(compared(normal, without_account(~is_open)), "missing_values_added") == 1


def test_the_order_and_numbering_of_the_deals_makes_no_difference(normal: Reference, calm: pd.DataFrame) -> None:
    shuffled = calm.sample(frac=1, random_state=1).reset_index(drop=True)
    assert compared(normal, shuffled) == compared(normal, calm)


def test_a_sample_of_the_reference_alone_is_no_drift() -> None:
    """The reference is a sample too, with its own noise: a test that forgets it finds drift everywhere."""
    generator = np.random.default_rng(0)
    found = [
        column_tests.same_shares(*(pd.Series(generator.integers(0, 30, size)).value_counts() for size in (1000, 600)))[
            1
        ]
        for _ in range(300)
    ]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.03)


def test_bad_predictions_are_told(normal: Reference, calm: pd.DataFrame) -> None:
    generator = np.random.default_rng(0)
    won = (generator.random(400) < 0.6).tolist()
    wrong = [0.3 if w else 0.9 for w in won]
    found = compared(normal, calm, closed(wrong, won))
    assert found.performance
    assert found.performance.auc == 0
    assert {r.measure.name: r.level for r in found.readings}["auc_lost"] == "HIGH"
    assert found.level == "HIGH"
    too_high = compared(normal, calm, closed([0.9] * 400, won))
    assert {r.measure.name: r.level for r in too_high.readings}["calibration_gap"] == "HIGH"


def test_with_few_outcomes_performance_is_not_known(normal: Reference, calm: pd.DataFrame) -> None:
    found = compared(normal, calm, closed([0.1] * 20, [True, False] * 10))
    assert found.performance is None
    assert value(found, "auc_lost") is None
    assert {r.measure.name: r.level for r in found.readings}["auc_lost"] == "UNKNOWN"


def test_what_is_not_known_is_no_alarm_and_not_quiet(normal: Reference) -> None:
    found = compared(normal, normal.deals)
    assert found.level == "UNKNOWN"
    [advice] = alert_levels.recommendations(found.readings)
    assert advice["level"] == "UNKNOWN"


def test_predictions_are_compared_among_deals_with_a_known_account(normal: Reference, calm: pd.DataFrame) -> None:
    """Of new deals half have no account. Their predictions are average ones, and look like drift beside the others."""
    unknown = calm.assign(sector="unknown", revenue=np.nan, employees=pd.NA, is_domestic=pd.NA, is_subsidiary=pd.NA)
    unknown = unknown.astype(calm.dtypes.to_dict()).assign(prediction=0.5)
    known = calm[calm["sector"] != "unknown"]
    both = pd.concat([known, unknown], ignore_index=True)
    assert compared(normal, both).prediction.p_value == compared(normal, known).prediction.p_value
    assert compared(normal, both).predictions == len(known)
    none = compared(normal, unknown)
    assert none.prediction_distance is None
    assert {r.measure.name: r.level for r in none.readings}["prediction_drift"] == "UNKNOWN"


def test_a_measure_and_what_of_it_is_beyond_chance_are_two_values(normal: Reference, calm: pd.DataFrame) -> None:
    was = normal.earlier["won"].to_numpy(dtype=float).mean() - normal.earlier["prediction"].mean()
    found = compared(normal, calm, closed([0.65] * 100, [True] * 60 + [False] * 40))
    gap = next(reading for reading in found.readings if reading.measure.name == "calibration_gap")
    assert gap.measured == pytest.approx(abs(was + 0.05))
    assert gap.value == 0, "a gap of five points is chance among a hundred deals"


def test_a_few_missing_values_count_when_there_were_none(normal: Reference, calm: pd.DataFrame) -> None:
    def missing(share: float) -> pd.DataFrame:
        drawn = np.random.default_rng(0).random(len(calm)) < share
        return calm.assign(sales_price=calm["sales_price"].mask(drawn))

    assert value(compared(normal, missing(0.05)), "missing_values_added") == pytest.approx(0.05, abs=0.04)
    worn = dataclasses.replace(
        normal,
        deals=normal.deals.assign(
            sales_price=normal.deals["sales_price"].where(np.random.default_rng(1).random(len(normal.deals)) >= 0.05)
        ),
    )
    assert value(compared(worn, missing(0.06)), "missing_values_added") == 0, "a point more is chance"


def test_a_month_of_few_deals_is_refused(normal: Reference, calm: pd.DataFrame) -> None:
    with pytest.raises(TooFewDeals, match=r"^Only 49 deals were engaged in .* and 50 are needed: choose another\.$"):
        compared(normal, calm.head(49))


def test_the_level_is_the_highest_of_the_measures() -> None:
    quiet: dict[str, tuple[float | None, float | None]]
    quiet = dict.fromkeys((measure.name for measure in RULE), (0.0, 0.0))
    assert alert_levels.overall(alert_levels.read(quiet)) == "NONE"
    for measure in RULE:
        for level, threshold in (("LOW", measure.low), ("MEDIUM", measure.medium), ("HIGH", measure.high)):
            readings = alert_levels.read({**quiet, measure.name: (threshold, threshold)})
            assert alert_levels.overall(readings) == level, "a threshold that is reached counts"
            advice = alert_levels.recommendations(readings)
            assert [row["level"] for row in advice] == [level, level]
            assert advice[1]["text"] == measure.advice
            below = alert_levels.read({**quiet, measure.name: (threshold, threshold - 1e-9)})
            assert alert_levels.overall(below) != level, "what is beyond chance is judged"
        unknown = alert_levels.read({**quiet, measure.name: (None, None)})
        assert alert_levels.overall(unknown) == "UNKNOWN"


def test_the_highest_level_comes_first() -> None:
    values: dict[str, tuple[float | None, float | None]]
    values = dict.fromkeys((measure.name for measure in RULE), (0.0, 0.0))
    found = {"auc_lost": (0.5, 0.5), "dataset_drift_share": (0.1, 0.1), "volume_change": (None, None)}
    readings = alert_levels.read({**values, **found})
    assert [row["level"] for row in alert_levels.recommendations(readings)] == ["HIGH", "HIGH", "LOW"]


def test_thresholds_rise() -> None:
    assert all(0 < measure.low < measure.medium < measure.high for measure in RULE)
    assert set(alert_levels.GENERAL) == set(LEVELS)
