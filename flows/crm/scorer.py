"""Models as data: coefficients or trees in JSON. Reading one runs no code, unlike a pickle."""

import json
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from flows.crm.encoder import Encoder, Numbers
from flows.crm.failures import BadLake


class Scorer(Protocol):
    """Computes the log-odds of a win from encoded deals."""

    def __call__(self, matrix: Numbers) -> Numbers: ...
    def as_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Linear:
    bias: float
    weights: list[float]

    def __call__(self, matrix: Numbers) -> Numbers:
        scores: Numbers = self.bias + matrix @ np.array(self.weights, dtype=np.float64)
        return scores

    def as_json(self) -> dict[str, Any]:
        return {"bias": self.bias, "weights": self.weights}


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree as arrays by node; a node with `left` = -1 is a leaf."""

    column: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    value: list[float]

    def __call__(self, matrix: Numbers) -> Numbers:
        column, threshold = np.array(self.column), np.array(self.threshold)
        left, right, value = np.array(self.left), np.array(self.right), np.array(self.value)
        rows, at = np.arange(len(matrix)), np.zeros(len(matrix), dtype=np.int64)
        # scikit-learn grows trees in single precision; in double precision, deals at a threshold would go elsewhere.
        small = matrix.astype(np.float32)
        # All deals descend one level at a time; those at a leaf stay there.
        while (inner := left[at] >= 0).any():
            # Leaves have a negative column, which would index from the end; they are masked in the next line.
            goes_left = small[rows, np.maximum(column[at], 0)] <= threshold[at]
            at = np.where(inner, np.where(goes_left, left[at], right[at]), at)
        leaves: Numbers = value[at]
        return leaves


@dataclass(frozen=True, slots=True)
class Trees:
    bias: float
    trees: list[Tree]

    def __call__(self, matrix: Numbers) -> Numbers:
        scores = np.full(len(matrix), self.bias)
        for tree in self.trees:
            scores += tree(matrix)
        return scores

    def as_json(self) -> dict[str, Any]:
        names = Tree.__slots__
        return {"bias": self.bias, "trees": [{name: getattr(tree, name) for name in names} for tree in self.trees]}


@dataclass(frozen=True, slots=True)
class Model:
    """A model that returns win probabilities. `slope` and `shift` calibrate the scores."""

    kind: str
    encoder: Encoder
    scorer: Scorer
    slope: float
    shift: float

    def __call__(self, deals: pd.DataFrame) -> Numbers:
        odds = self.slope * self.scorer(self.encoder(deals)) + self.shift
        # Clipped at log-odds of 30, where exp() is far from overflowing and the probability is 0 or 1 to 13 digits.
        chances: Numbers = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
        return chances

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "encoder": self.encoder.as_json(),
            "scorer": self.scorer.as_json(),
            "slope": self.slope,
            "shift": self.shift,
        }


def _read_linear(found: dict[str, Any]) -> Scorer:
    return Linear(float(found["bias"]), [float(weight) for weight in found["weights"]])


def _read_trees(found: dict[str, Any]) -> Scorer:
    return Trees(float(found["bias"]), [Tree(**tree) for tree in found["trees"]])


READERS = {"logistic-regression": _read_linear, "boosted-trees": _read_trees}


def decode(content: bytes) -> Model:
    """Parse a stored model; raise `BadLake` for a kind or a shape that is not known."""
    try:
        found = json.loads(content)
        scorer = READERS[found["kind"]](found["scorer"])
        return Model(found["kind"], Encoder(**found["encoder"]), scorer, float(found["slope"]), float(found["shift"]))
    except (ValueError, TypeError, KeyError) as error:
        raise BadLake(f"The model in the lake is of a kind that cannot be read ({error!r}): train it again.") from None
