"""The measures, against their definitions."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from flows.crm import metrics

DEALS = st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.5001, 0.9]), st.booleans()), min_size=2, max_size=30)


@given(DEALS)
def test_the_auc_is_the_chance_that_a_win_is_ranked_above_a_loss(deals: list[tuple[float, bool]]) -> None:
    wins, losses = [p for p, won in deals if won], [p for p, won in deals if not won]
    if not wins or not losses:
        return
    above = [(w > lost) + 0.5 * (w == lost) for w, lost in itertools.product(wins, losses)]
    found = metrics.auc(np.array([p for p, _ in deals]), np.array([float(won) for _, won in deals]))
    assert found == pytest.approx(sum(above) / len(above))


def test_the_measures_are_those_of_the_books() -> None:
    generator = np.random.default_rng(0)
    chances = generator.random(500)
    won = (generator.random(500) < chances).astype(float)
    found = metrics.evaluate(chances, won)
    assert found.auc == pytest.approx(roc_auc_score(won, chances))
    assert found.log_loss == pytest.approx(log_loss(won, chances), abs=1e-4)
    assert found.brier == pytest.approx(((chances - won) ** 2).mean())
    assert found.accuracy == ((chances >= 0.5) == (won == 1)).mean()
    assert found.auc_low < found.auc < found.auc_high
    assert found.calibration_error < 0.08


def test_the_bounds_of_the_auc_hold_in_most_worlds() -> None:
    held = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        won = np.repeat([1.0, 0.0], 100)
        chances = 1 / (1 + np.exp(-(generator.normal(size=200) + won)))  # whose true AUC is 0.7602
        found = metrics.evaluate(chances, won)
        held += found.auc_low < 0.7602 < found.auc_high
    assert 180 <= held <= 198


def test_a_few_deals_are_no_measure() -> None:
    assert metrics.enough(np.array([1.0, 0.0] * 25))
    assert not metrics.enough(np.array([1.0, 0.0] * 20))
    assert not metrics.enough(np.array([1.0] * 95 + [0.0] * 9))
