"""The candidate models: each is fitted with scikit-learn and returned as plain data."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from flows.crm import encoder as crm_encoder
from flows.crm.encoder import Numbers
from flows.crm.scorer import Linear, Model, Scorer, Tree, Trees

# Bounds of the calibration's slope. It is fitted on few deals, and outside these bounds follows their noise: it would
# reverse a ranking that was learned from many more deals, or sharpen it too much.
FLATTEST, STEEPEST = 0.25, 1.5


def _logistic(matrix: Numbers, won: Numbers) -> Scorer:
    found = LogisticRegression(C=0.1, max_iter=2000).fit(matrix, won)
    return Linear(float(found.intercept_[0]), [float(weight) for weight in found.coef_[0]])


def _boosted(matrix: Numbers, won: Numbers) -> Scorer:
    found = GradientBoostingClassifier(
        n_estimators=80, learning_rate=0.06, max_depth=2, min_samples_leaf=30, random_state=0
    ).fit(matrix, won)
    # Exported as plain arrays: a pickled model would run code when it is read. The learning rate goes into the leaves.
    share = float(won.mean())
    trees = []
    for [grown] in found.estimators_:
        nodes = grown.tree_
        values = nodes.value[:, 0, 0] * found.learning_rate
        trees.append(
            Tree(
                nodes.feature.tolist(),
                nodes.threshold.tolist(),
                nodes.children_left.tolist(),
                nodes.children_right.tolist(),
                values.tolist(),
            )
        )
    # Gradient boosting starts at the log-odds of the base rate.
    return Trees(float(np.log(share / (1 - share))), trees)


CANDIDATES: dict[str, Callable[[Numbers, Numbers], Scorer]] = {
    "logistic-regression": _logistic,
    "boosted-trees": _boosted,
}


def fit(kind: str, learning: pd.DataFrame, calibrating: pd.DataFrame) -> Model:
    """Fit encoder and model on the learning part, and the calibration on its own part."""
    encoder = crm_encoder.fit(learning)
    scorer = CANDIDATES[kind](encoder(learning), outcomes(learning))
    slope, shift = calibrate(scorer(encoder(calibrating)), outcomes(calibrating))
    return Model(kind, encoder, scorer, slope, shift)


def outcomes(deals: pd.DataFrame) -> Numbers:
    """Return 1.0 for won and 0.0 for lost deals."""
    return deals["won"].to_numpy(dtype=np.float64)


def calibrate(scores: Numbers, won: Numbers) -> tuple[float, float]:
    """Return slope and shift of the scores by Platt scaling (Platt 1999): the most likely ones given the outcomes."""
    # A large C means no regularization, which would flatten the probabilities.
    found = LogisticRegression(C=1e6, max_iter=1000).fit(scores[:, None], won)
    fitted = float(found.coef_[0, 0])
    slope = min(max(fitted, FLATTEST), STEEPEST)
    if slope == fitted:
        return slope, float(found.intercept_[0])
    # With a bounded slope the fitted shift no longer matches: choose the one that meets the win rate.
    return slope, _shift_for(slope * scores, float(won.mean()))


def _shift_for(odds: Numbers, rate: float) -> float:
    """Return what to add to the log-odds so that the mean probability equals the rate, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(-(odds + middle)))).mean() < rate else (low, middle)
    return (low + high) / 2
