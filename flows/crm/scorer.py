"""A model as data: coefficients or trees in JSON, which can be kept and compared, and runs nothing when it is read."""

import json
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from flows.crm.encoder import Encoder, Numbers
from flows.crm.failures import BadLake


class Scorer(Protocol):
    """Log-odds of a win, from encoded deals."""

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
    """Nodes by number: a node whose `left` is -1 is a leaf, and has a value."""

    column: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    value: list[float]

    def __call__(self, matrix: Numbers) -> Numbers:
        column, threshold = np.array(self.column), np.array(self.threshold)
        left, right, value = np.array(self.left), np.array(self.right), np.array(self.value)
        rows, at = np.arange(len(matrix)), np.zeros(len(matrix), dtype=np.int64)
        # Trees compare in single precision when they grow, so they must when they are read.
        small = matrix.astype(np.float32)
        while (inner := left[at] >= 0).any():
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
    """The chance to win a deal. `slope` and `shift` turn scores into probabilities that can be taken at their word."""

    kind: str
    encoder: Encoder
    scorer: Scorer
    slope: float
    shift: float

    def __call__(self, deals: pd.DataFrame) -> Numbers:
        odds = self.slope * self.scorer(self.encoder(deals)) + self.shift
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
    try:
        found = json.loads(content)
        scorer = READERS[found["kind"]](found["scorer"])
        return Model(found["kind"], Encoder(**found["encoder"]), scorer, float(found["slope"]), float(found["shift"]))
    except (ValueError, TypeError, KeyError) as error:
        raise BadLake(f"The model in the lake is of a kind that cannot be read ({error!r}): train it again.") from None
