"""Training: splits closed deals by time, compares candidates, evaluates the best once, and compares it with the
current model."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from flows.crm import candidates, inputs, metrics
from flows.crm.candidates import outcomes
from flows.crm.failures import TooFewDeals
from flows.crm.lake import encode
from flows.crm.metrics import Quality
from flows.crm.model_cards import PROMOTED, PROVISIONAL, REJECTED, Standing
from flows.crm.scorer import Model

# Shares of the closed deals, by closing date: to learn from, and to calibrate and compare; the rest is to evaluate.
LEARNING, COMPARING = 0.6, 0.2
FEWEST = 300  # closed deals to train on
# A new model is promoted if, on deals that neither has seen, it is at most this much worse than the current one.
GATE = {"log_loss": 0.005, "auc": 0.02}
# Deals that the influence of a feature is measured on; more change only its third decimal.
INFLUENCE_DEALS = 20_000


@dataclass(frozen=True, slots=True)
class Parts:
    learning: pd.DataFrame
    comparing: pd.DataFrame
    judging: pd.DataFrame

    def as_json(self) -> dict[str, Any]:
        return {
            name: {
                "deals": len(part),
                "closed_from": f"{part['close_date'].min():%Y-%m-%d}",
                "closed_until": f"{part['close_date'].max():%Y-%m-%d}",
                "win_rate": round(float(outcomes(part).mean()), 4),
            }
            for name, part in (("learning", self.learning), ("comparing", self.comparing), ("judging", self.judging))
        }


@dataclass(frozen=True, slots=True)
class Current:
    """The current model; `seen_until` is the last closing date that its training used."""

    version: str
    model: Model
    seen_until: pd.Timestamp


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision of the gate. The two qualities are on deals that neither model has seen."""

    standing: Standing
    reason: str
    deals: int = 0
    challenger: Quality | None = None
    champion: Quality | None = None
    champion_version: str | None = None

    @property
    def promoted(self) -> bool:
        return self.standing == PROMOTED

    def as_json(self) -> dict[str, Any]:
        return {
            "promoted": self.promoted,
            "standing": self.standing,
            "reason": self.reason,
            "deals": self.deals,
            "challenger": self.challenger.as_json() if self.challenger else None,
            "champion": self.champion.as_json() if self.champion else None,
            "champion_version": self.champion_version,
            "tolerance": GATE,
        }


@dataclass(frozen=True, slots=True)
class Trained:
    month: str
    version: str
    model: Model
    parts: Parts
    compared: dict[str, Quality]
    quality: Quality
    base_rate_log_loss: float
    verdict: Verdict
    influence: dict[str, float]

    @property
    def is_better_than_guessing(self) -> bool:
        return metrics.better_than_guessing(self.quality, self.base_rate_log_loss)

    def card(self, source: str) -> dict[str, Any]:
        return {
            "contract": "crm-model-card/1",
            "month": self.month,
            "version": self.version,
            "kind": self.model.kind,
            "promoted": self.verdict.promoted,
            "standing": self.verdict.standing,
            "seen_until": f"{self.parts.comparing['close_date'].max():%Y-%m-%d}",
            "features": list(inputs.USED),
            "parts": self.parts.as_json(),
            "candidates": {name: quality.as_json() for name, quality in self.compared.items()},
            "quality": self.quality.as_json(),
            "base_rate_log_loss": round(self.base_rate_log_loss, 4),
            "better_than_base_rate": self.is_better_than_guessing,
            "gate": self.verdict.as_json(),
            "influence": [{"feature": name, "auc_lost": round(lost, 4)} for name, lost in self.influence.items()],
            "source": source,
        }


def closed_deals(deals: pd.DataFrame, pipeline: pd.DataFrame) -> pd.DataFrame:
    """Return the deals with an outcome and their closing date, in the order in which they closed."""
    days = pipeline.set_index("opportunity_id")["close_date"]
    closed = deals[deals["won"].notna()].assign(close_date=lambda frame: frame["opportunity_id"].map(days))
    return closed.sort_values(["close_date", "opportunity_id"], ignore_index=True)


def split(closed: pd.DataFrame, month: str) -> Parts:
    """Split by closing date, never within a day: evaluation uses only later deals. Raises `TooFewDeals`."""
    if len(closed) < FEWEST:
        raise TooFewDeals(f"{month} has {len(closed)} closed deals, and training needs {FEWEST}: choose a later month.")
    days = closed["close_date"]
    first, second = (days.iloc[int(len(closed) * share)] for share in (LEARNING, LEARNING + COMPARING))
    parts = Parts(closed[days < first], closed[(days >= first) & (days < second)], closed[days >= second])
    for part in (parts.learning, parts.comparing, parts.judging):
        if not metrics.enough(outcomes(part)):
            raise TooFewDeals(
                f"{month} has too few won or lost deals in one stretch of time to train on: choose a later month."
            )
    return parts


def train(
    closed: pd.DataFrame,
    month: str,
    current: Current | None,
    report: Callable[[str, float], None] = lambda step, share: None,
) -> Trained:
    """Train all candidates, and return the best with its evaluation and the decision of the gate.

    `report` receives each step and the share done. Raises `TooFewDeals`.
    """
    # 1. Fit the candidates on the first part, compare them on the second.
    parts = split(closed, month)
    steps = len(candidates.CANDIDATES) + 2
    models: dict[str, Model] = {}
    compared: dict[str, Quality] = {}
    for done, kind in enumerate(candidates.CANDIDATES, start=1):
        models[kind] = candidates.fit(kind, parts.learning, parts.comparing)
        compared[kind] = metrics.evaluate(models[kind](parts.comparing), outcomes(parts.comparing))
        report(kind, done / steps)
    # 2. Choose by log loss: the product of the model is probabilities, not a ranking.
    best = min(compared, key=lambda kind: compared[kind].log_loss)
    model = models[best]
    # 3. Evaluate only the chosen model on the last part: choosing by it would make the result too good.
    quality = metrics.evaluate(model(parts.judging), outcomes(parts.judging))
    report("evaluated", (steps - 1) / steps)
    # 4. The version contains a digest of the model, so the same data gives the same version.
    version = f"{month}-{hashlib.sha256(encode(model.as_json())).hexdigest()[:8]}"
    # 5. The base rate that was known before the evaluation began: what a model has to beat.
    rate = float(outcomes(closed[closed["close_date"] < parts.judging["close_date"].min()]).mean())
    base = metrics.log_loss(np.full(len(parts.judging), rate), outcomes(parts.judging))
    verdict = gate(model, parts, current, rate=rate)
    found = Trained(month, version, model, parts, compared, quality, base, verdict, influence(model, parts.judging))
    report("compared with the current model", 1.0)
    return found


def gate(model: Model, parts: Parts, current: Current | None, *, rate: float) -> Verdict:
    """Decide whether the new model comes into use, and whether it is promoted or provisional.

    `rate`: the share of won deals before the evaluation. A model that is no better than guessing it is never promoted.
    """
    better = _better_than_guessing(metrics.evaluate(model(parts.judging), outcomes(parts.judging)), rate, parts.judging)
    # 1. Without a current model any model is put to use, because predictions are wanted.
    if current is None:
        if better:
            return Verdict(PROMOTED, "First model.")
        return Verdict(PROVISIONAL, "First model. It is no better than guessing the base rate.")
    # 2. Compare both on deals that closed after everything the current model used: others would favour it.
    unseen = parts.judging[parts.judging["close_date"] > current.seen_until]
    won = outcomes(unseen)
    if not metrics.enough(won):
        reason = f"Only {len(unseen)} deals closed after both were trained: too few to compare them."
        return Verdict(REJECTED, reason, len(unseen), champion_version=current.version)
    challenger, champion = metrics.evaluate(model(unseen), won), metrics.evaluate(current.model(unseen), won)
    worse = [
        f"its {label} of {new:.4f} is worse than {old:.4f}"
        for label, new, old, lost in (
            (
                "log loss",
                challenger.log_loss,
                champion.log_loss,
                challenger.log_loss - champion.log_loss > GATE["log_loss"],
            ),
            ("AUC", challenger.auc, champion.auc, champion.auc - challenger.auc > GATE["auc"]),
        )
        if lost
    ]
    # 3. Decide. A provisional model replaces the current one only if guessing is no worse than that one either.
    on = f"On {len(unseen)} deals that neither has seen,"
    standing: Standing
    if worse:
        standing, reason = REJECTED, f"{on} {' and '.join(worse)} of {current.version}."
    elif better:
        standing, reason = PROMOTED, f"{on} it is at least as good as {current.version}."
    elif _better_than_guessing(champion, rate, unseen):
        standing = REJECTED
        reason = f"It is no better than guessing the base rate, and {current.version} is."
    else:
        standing = PROVISIONAL
        reason = f"{on} it is at least as good as {current.version}, but neither is better than guessing the base rate."
    return Verdict(standing, reason, len(unseen), challenger, champion, current.version)


def _better_than_guessing(quality: Quality, rate: float, deals: pd.DataFrame) -> bool:
    return metrics.better_than_guessing(quality, metrics.log_loss(np.full(len(deals), rate), outcomes(deals)))


def influence(model: Model, deals: pd.DataFrame) -> dict[str, float]:
    """Return the AUC lost when one feature is shuffled among the deals (permutation importance), largest first."""
    if len(deals) > INFLUENCE_DEALS:
        deals = deals.sample(INFLUENCE_DEALS, random_state=0)
    won, lost = outcomes(deals), {}
    area = metrics.auc(model(deals), won)
    # One fixed permutation for all features: the same model and deals give the same card.
    order = np.random.default_rng(0).permutation(len(deals))
    for name in inputs.USED:
        shuffled = deals.assign(**{name: deals[name].to_numpy()[order]})
        lost[name] = area - metrics.auc(model(shuffled), won)
    return dict(sorted(lost.items(), key=lambda item: -item[1]))
