"""Models as data: coefficients or trees in JSON. Reading one runs no code, unlike a pickle."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from flows.crm.failures import BadLake
from flows.crm.inputs import Inputs, Numbers


class Scorer(Protocol):
    """Computes the log-odds of a win from the inputs of deals."""

    def __call__(self, matrix: Numbers) -> Numbers: ...
    def as_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Linear:
    """A weight for each category of the first columns and for each number of the others; unknown values add nothing."""

    bias: float
    categories: list[list[float]]
    centres: list[float]
    weights: list[float]

    def __call__(self, matrix: Numbers) -> Numbers:
        scores = np.full(len(matrix), self.bias)
        for codes, weights in zip(matrix.T, self.categories, strict=False):
            # The weight of an unknown category is the last one, 0.
            scores += np.array([*weights, 0.0])[np.nan_to_num(codes, nan=len(weights)).astype(np.int64)]
        numbers = (matrix[:, len(self.categories) :] - np.array(self.centres)) * np.array(self.weights)
        total: Numbers = scores + np.nan_to_num(numbers).sum(axis=1)
        return total

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree as arrays by node; a node with `left` = -1 is a leaf. `chosen`: the categories that go left."""

    column: list[int]
    threshold: list[float]
    chosen: list[list[int] | None]
    unknown_left: list[bool]
    left: list[int]
    right: list[int]
    value: list[float]

    def __call__(self, matrix: Numbers) -> Numbers:
        value = np.array(self.value)
        scores = np.empty(len(matrix))
        # All deals start at the root; those of one node are divided at once.
        waiting = [(0, np.arange(len(matrix)))]
        while waiting:
            node, rows = waiting.pop()
            if self.left[node] < 0:
                scores[rows] = value[node]
                continue
            values, chosen = matrix[rows, self.column[node]], self.chosen[node]
            goes_left = values <= self.threshold[node] if chosen is None else np.isin(values, chosen)
            goes_left = np.where(np.isnan(values), self.unknown_left[node], goes_left)
            waiting += [(self.left[node], rows[goes_left]), (self.right[node], rows[~goes_left])]
        return scores


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
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Model:
    """A model that returns win probabilities. `slope` and `shift` calibrate the scores."""

    kind: str
    inputs: Inputs
    scorer: Scorer
    slope: float
    shift: float

    def __call__(self, deals: pd.DataFrame) -> Numbers:
        odds = self.slope * self.scorer(self.inputs(deals)) + self.shift
        # Clipped at log-odds of 30, where exp() is far from overflowing and the probability is 0 or 1 to 13 digits.
        chances: Numbers = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
        return chances

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "inputs": self.inputs.as_json(),
            "scorer": self.scorer.as_json(),
            "slope": self.slope,
            "shift": self.shift,
        }


def _read_linear(found: dict[str, Any]) -> Scorer:
    return Linear(**found)


def _read_trees(found: dict[str, Any]) -> Scorer:
    return Trees(float(found["bias"]), [Tree(**tree) for tree in found["trees"]])


READERS = {"logistic-regression": _read_linear, "boosted-trees": _read_trees}


def decode(content: bytes) -> Model:
    """Parse a stored model; raise `BadLake` for a kind or a shape that is not known."""
    try:
        found = json.loads(content)
        scorer = READERS[found["kind"]](found["scorer"])
        return Model(found["kind"], Inputs(**found["inputs"]), scorer, float(found["slope"]), float(found["shift"]))
    except (ValueError, TypeError, KeyError) as error:
        raise BadLake(f"The model in the lake is of a kind that cannot be read ({error!r}): train it again.") from None
