"""How loud a month's drift is: one table of measures and thresholds, and what each level asks people to do."""

from collections.abc import Mapping
from dataclasses import dataclass

LEVELS = ("NONE", "LOW", "MEDIUM", "HIGH")


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure is as loud as the last of its thresholds that it reaches."""

    name: str
    title: str
    low: float
    medium: float
    high: float
    advice: str

    def level(self, value: float | None) -> str:
        """What could not be measured is not loud; it is told as not known."""
        if value is None:
            return "NONE"
        reached = sum(value >= threshold for threshold in (self.low, self.medium, self.high))
        return LEVELS[reached]


# The level of a month is that of its loudest measure.
RULE = (
    Measure(
        "dataset_drift_share",
        "share of the watched columns that drifted",
        0.08,
        0.25,
        0.5,
        "Look at the drifted columns: ask the sales desk what changed, and whether it will stay.",
    ),
    Measure(
        "prediction_drift",
        "distance of the predictions from those of the reference",
        0.1,
        0.2,
        0.4,
        "Compare the predictions with the outcomes as they come in, before anybody acts on them.",
    ),
    Measure(
        "missing_values_added",
        "share of due values that are missing, above the reference, in the worst column",
        0.05,
        0.2,
        0.5,
        "Ask the sales desk to fill in what is missing, then acquire and ingest the month again.",
    ),
    Measure(
        "unseen_values_share",
        "share of values that the reference never had",
        0.02,
        0.1,
        0.25,
        "Look at the values that are new: a new product or agent needs a new model, a slip needs a new spelling rule.",
    ),
    Measure(
        "auc_lost",
        "AUC lost since the model was judged, beyond chance",
        0.02,
        0.06,
        0.12,
        "Train a new model on a later month; the gate decides whether it takes over.",
    ),
    Measure(
        "calibration_gap",
        "distance of the mean prediction from the win rate, beyond chance",
        0.03,
        0.08,
        0.15,
        "Do not take the probabilities at their word until a new model is trained.",
    ),
)

GENERAL = {
    "NONE": "Nothing to do: this month looks like the reference.",
    "LOW": "Keep an eye on it: monitor the next month as soon as it is ingested.",
    "MEDIUM": "Find out why within the week, and train a new model if it stays.",
    "HIGH": "Stop relying on the predictions until somebody has looked at this.",
}


@dataclass(frozen=True, slots=True)
class Reading:
    measure: Measure
    value: float | None

    @property
    def level(self) -> str:
        return self.measure.level(self.value)


def read(values: Mapping[str, float | None]) -> list[Reading]:
    return [Reading(measure, values[measure.name]) for measure in RULE]


def overall(readings: list[Reading]) -> str:
    return max((reading.level for reading in readings), key=LEVELS.index)


def recommendations(readings: list[Reading]) -> list[dict[str, str]]:
    """By level, the loudest first; what to do in general before what to do about each measure."""
    loud = sorted((r for r in readings if r.level != "NONE"), key=lambda r: -LEVELS.index(r.level))
    level = overall(readings)
    return [
        {"level": level, "text": GENERAL[level]},
        *({"level": reading.level, "text": reading.measure.advice} for reading in loud),
    ]


def thresholds() -> list[dict[str, str | float]]:
    return [{"measure": m.name, "title": m.title, "low": m.low, "medium": m.medium, "high": m.high} for m in RULE]
