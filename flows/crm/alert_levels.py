"""Alert levels of drift: one table of measures and thresholds, and the recommended action for each level."""

from collections.abc import Mapping
from dataclasses import dataclass

# By severity. What is not known is no alarm, but it is not quiet either.
LEVELS = ("NONE", "UNKNOWN", "LOW", "MEDIUM", "HIGH")
# The index is the number of thresholds that a value reaches.
GRADES = ("NONE", "LOW", "MEDIUM", "HIGH")


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure of drift. Its level is that of the highest threshold that its value reaches."""

    name: str
    title: str
    low: float
    medium: float
    high: float
    advice: str

    def level(self, value: float | None) -> str:
        """Return the level of a value; UNKNOWN for one that could not be measured."""
        if value is None:
            return "UNKNOWN"
        return GRADES[sum(value >= threshold for threshold in (self.low, self.medium, self.high))]


# The level of a month is the highest level of its measures. docs/pipelines.md repeats this table, and a test compares.
RULE = (
    Measure(
        "dataset_drift_share",
        "share of monitored columns that drifted",
        0.08,
        0.25,
        0.5,
        "Review the drifted columns: ask the sales desk what changed, and whether it will last.",
    ),
    Measure(
        "prediction_drift",
        "shift of the predictions from the reference",
        0.1,
        0.2,
        0.4,
        "Compare the predictions with incoming outcomes before acting on them.",
    ),
    Measure(
        "missing_values_added",
        "missing required values in the worst column, above the reference",
        0.02,
        0.2,
        0.5,
        "Ask the sales desk to fill in the missing values, then acquire and ingest the month again.",
    ),
    Measure(
        "unseen_values_share",
        "share of values not seen in the reference",
        0.02,
        0.1,
        0.25,
        "Review the new values: a new product or agent needs a new model, a typo needs a spelling rule.",
    ),
    Measure(
        "auc_lost",
        "AUC lost since the model was evaluated",
        0.01,
        0.06,
        0.12,
        "Train a new model on a later month; the promotion gate decides whether it replaces the current one.",
    ),
    Measure(
        "calibration_gap",
        "change of the gap between win rate and mean prediction",
        0.01,
        0.08,
        0.15,
        "Do not rely on the probabilities until a new model is trained.",
    ),
    Measure(
        "segment_gap",
        "change of the win probability by segment, beside the predictions",
        0.01,
        0.08,
        0.15,
        "Find in the report the column whose outcomes changed, and ask the sales desk what happened there.",
    ),
    Measure(
        "volume_change",
        "new deals, relative to the usual number (1 = twice or half)",
        1.0,
        2.0,
        4.0,
        "Check whether the source is complete; if it is, ask the sales desk what changed.",
    ),
    Measure(
        "pace_change",
        "closings, relative to those expected of deals of that age",
        0.05,
        0.2,
        0.5,
        "Ask the sales desk whether deals are closed later or earlier than before, or entered late.",
    ),
    Measure(
        "value_change",
        "change of the won value as a share of the list price",
        0.05,
        0.15,
        0.4,
        "Review the won values: discounts, a new price list or another currency.",
    ),
)

GENERAL = {
    "NONE": "No action needed: this month matches the reference.",
    "UNKNOWN": "No drift was found, but not every measure is known for this month.",
    "LOW": "Monitor the next month as soon as it is ingested.",
    "MEDIUM": "Investigate within a week, and train a new model if it persists.",
    "HIGH": "Do not rely on the predictions until this is investigated.",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """A measure of a month: as measured, and the value that is judged, which leaves out what chance explains."""

    measure: Measure
    measured: float | None
    value: float | None

    @property
    def level(self) -> str:
        return self.measure.level(self.value)


def read(values: Mapping[str, tuple[float | None, float | None]]) -> list[Reading]:
    """Return a reading for each measure, from what was measured and what is judged; KeyError if one is missing."""
    return [Reading(measure, *values[measure.name]) for measure in RULE]


def overall(readings: list[Reading]) -> str:
    """Return the highest level of the readings."""
    # By position, because the names do not sort by severity.
    return max((reading.level for reading in readings), key=LEVELS.index)


def recommendations(readings: list[Reading]) -> list[dict[str, str]]:
    """Return recommendations, the highest level first; the general one before those for single measures."""
    # sorted() is stable: within a level the order of RULE stays.
    raised = sorted((r for r in readings if r.level not in ("NONE", "UNKNOWN")), key=lambda r: -LEVELS.index(r.level))
    level = overall(readings)
    return [
        {"level": level, "text": GENERAL[level]},
        *({"level": reading.level, "text": reading.measure.advice} for reading in raised),
    ]


def thresholds() -> list[dict[str, str | float]]:
    return [{"measure": m.name, "title": m.title, "low": m.low, "medium": m.medium, "high": m.high} for m in RULE]
