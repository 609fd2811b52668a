"""The kinds of model that are compared, each fitted with scikit-learn and handed on as plain data."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from flows.crm import encoder as crm_encoder
from flows.crm.encoder import Numbers
from flows.crm.scorer import Linear, Model, Scorer, Tree, Trees

# A calibration sees few deals. Outside these bounds it would follow their noise: it would turn an order round that was
# learnt from many more, or take it for sharper than it is.
FLATTEST, STEEPEST = 0.25, 1.5


def _logistic(matrix: Numbers, won: Numbers) -> Scorer:
    found = LogisticRegression(C=0.1, max_iter=2000).fit(matrix, won)
    return Linear(float(found.intercept_[0]), [float(weight) for weight in found.coef_[0]])


def _boosted(matrix: Numbers, won: Numbers) -> Scorer:
    found = GradientBoostingClassifier(
        n_estimators=80, learning_rate=0.06, max_depth=2, min_samples_leaf=30, random_state=0
    ).fit(matrix, won)
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
    return Trees(float(np.log(share / (1 - share))), trees)


CANDIDATES: dict[str, Callable[[Numbers, Numbers], Scorer]] = {
    "logistic-regression": _logistic,
    "boosted-trees": _boosted,
}


def fit(kind: str, learning: pd.DataFrame, calibrating: pd.DataFrame) -> Model:
    """Encoder and model see the learning part alone, the calibration its own."""
    encoder = crm_encoder.fit(learning)
    scorer = CANDIDATES[kind](encoder(learning), outcomes(learning))
    slope, shift = calibrate(scorer(encoder(calibrating)), outcomes(calibrating))
    return Model(kind, encoder, scorer, slope, shift)


def outcomes(deals: pd.DataFrame) -> Numbers:
    return deals["won"].to_numpy(dtype=np.float64)


def calibrate(scores: Numbers, won: Numbers) -> tuple[float, float]:
    """Slope and shift of the scores that make the outcomes most likely (Platt 1999)."""
    found = LogisticRegression(C=1e6, max_iter=1000).fit(scores[:, None], won)
    fitted = float(found.coef_[0, 0])
    slope = min(max(fitted, FLATTEST), STEEPEST)
    if slope == fitted:
        return slope, float(found.intercept_[0])
    return slope, _shift_for(slope * scores, float(won.mean()))


def _shift_for(odds: Numbers, rate: float) -> float:
    """What to add to the odds so that the mean chance is the rate, by halving."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(-(odds + middle)))).mean() < rate else (low, middle)
    return (low + high) / 2
