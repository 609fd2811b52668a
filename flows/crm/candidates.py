"""The candidate models: each is fitted and calibrated with scikit-learn, and returned as plain data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from flows.crm import inputs as crm_inputs
from flows.crm.inputs import CATEGORIES, USED, Inputs, Numbers
from flows.crm.scorer import Linear, Model, Scorer, Tree, Trees

COLUMNS_OF_CATEGORIES = list(range(len(CATEGORIES)))
COLUMNS_OF_NUMBERS = list(range(len(CATEGORIES), len(USED)))

Estimator = Any  # a fitted classifier of scikit-learn, which has no type hints


def _fit_logistic(matrix: Numbers, won: Numbers, inputs: Inputs) -> Estimator:
    codes = [np.arange(size, dtype=np.float64) for size in _sizes(inputs)]
    numbers = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    encoder = ColumnTransformer(
        [
            # An unknown category is zero in all columns. As none is seen here, that is the average and no mark.
            ("categories", OneHotEncoder(categories=codes, handle_unknown="ignore"), COLUMNS_OF_CATEGORIES),
            ("numbers", numbers, COLUMNS_OF_NUMBERS),
        ]
    )
    return make_pipeline(encoder, LogisticRegression(C=0.1, max_iter=2000)).fit(matrix, won)


def _sizes(inputs: Inputs) -> list[int]:
    # At least one: the encoder does not accept a column without categories, such as when all accounts are missing.
    return [max(len(inputs.categories[name]), 1) for name in CATEGORIES]


def _export_logistic(fitted: Estimator, inputs: Inputs) -> Scorer:
    encoder, regression = fitted[0], fitted[1]
    scaler = encoder.named_transformers_["numbers"][1]
    weights = regression.coef_[0]
    ends = np.cumsum(_sizes(inputs))
    return Linear(
        bias=float(regression.intercept_[0]),
        categories=[part.tolist() for part in np.split(weights[: ends[-1]], ends[:-1])],
        centres=scaler.mean_.tolist(),
        weights=(weights[ends[-1] :] / scaler.scale_).tolist(),
    )


def _fit_trees(matrix: Numbers, won: Numbers, inputs: Inputs) -> Estimator:
    return HistGradientBoostingClassifier(
        max_iter=80,
        learning_rate=0.06,
        max_leaf_nodes=4,
        min_samples_leaf=30,
        categorical_features=COLUMNS_OF_CATEGORIES,
        early_stopping=False,
        random_state=0,
    ).fit(crm_inputs.hide(matrix), won)


def _export_trees(fitted: Estimator, inputs: Inputs) -> Scorer:
    # scikit-learn has no public access to these trees. A test compares the exported ones with its own predictions.
    return Trees(float(fitted._baseline_prediction[0, 0]), [_export_tree(grown) for [grown] in fitted._predictors])


def _export_tree(grown: Any) -> Tree:
    nodes, bits = grown.nodes, grown.raw_left_cat_bitsets
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        column=np.where(leaf, 0, nodes["feature_idx"]).tolist(),
        threshold=[float(value) if np.isfinite(value) else 0.0 for value in nodes["num_threshold"]],
        chosen=[
            # 256 bits as eight numbers of 32.
            [code for code in range(256) if bits[node["bitset_idx"], code // 32] >> (code % 32) & 1]
            if node["is_categorical"]
            else None
            for node in nodes
        ],
        unknown_left=nodes["missing_go_to_left"].astype(bool).tolist(),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)).tolist(),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)).tolist(),
        value=nodes["value"].tolist(),
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    fit: Callable[[Numbers, Numbers, Inputs], Estimator]
    export: Callable[[Estimator, Inputs], Scorer]


CANDIDATES: dict[str, Candidate] = {
    "logistic-regression": Candidate(_fit_logistic, _export_logistic),
    "boosted-trees": Candidate(_fit_trees, _export_trees),
}


def fit(kind: str, learning: pd.DataFrame, calibrating: pd.DataFrame) -> Model:
    """Fit a model on the learning part, and its calibration on a part of its own."""
    candidate, inputs = CANDIDATES[kind], crm_inputs.fit(learning)
    # One thread: sums over several depend on their number, and the same data must give the same model on every machine.
    with threadpool_limits(1):
        fitted = candidate.fit(crm_inputs.fill(inputs(learning)), outcomes(learning), inputs)
        slope, shift = calibrate(fitted, inputs(calibrating), outcomes(calibrating))
    return Model(kind, inputs, candidate.export(fitted, inputs), slope, shift)


def outcomes(deals: pd.DataFrame) -> Numbers:
    """Return 1.0 for won and 0.0 for lost deals."""
    return deals["won"].to_numpy(dtype=np.float64)


def calibrate(fitted: Estimator, matrix: Numbers, won: Numbers) -> tuple[float, float]:
    """Return slope and shift of the scores by Platt scaling (Platt 1999)."""
    calibrated = CalibratedClassifierCV(FrozenEstimator(fitted), method="sigmoid").fit(matrix, won)
    [sigmoid] = calibrated.calibrated_classifiers_[0].calibrators
    if sigmoid.a_ < 0:
        return -float(sigmoid.a_), -float(sigmoid.b_)
    # On these deals the scores rank the wrong way round. That is noise: the model knows no more than the base rate.
    rate = float(won.mean())
    return 0.0, float(np.log(rate / (1 - rate)))
