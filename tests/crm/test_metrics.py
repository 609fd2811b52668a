"""The measures, against their definitions."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from flows.crm import metrics


def test_the_measures_are_those_of_the_books() -> None:
    generator = np.random.default_rng(0)
    chances = generator.random(500)
    won = (generator.random(500) < chances).astype(float)
    found = metrics.evaluate(chances, won)
    assert found.auc == pytest.approx(roc_auc_score(won, chances))
    assert found.log_loss == pytest.approx(log_loss(won, chances), abs=1e-4)
    assert found.brier == pytest.approx(((chances - won) ** 2).mean())
    assert found.deals == 500
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


def test_one_confident_mistake_does_not_make_the_log_loss_infinite() -> None:
    assert metrics.log_loss(np.array([0.0, 1.0]), np.array([1.0, 0.0])) < 14
