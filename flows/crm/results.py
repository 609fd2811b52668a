"""Results of monitoring as JSON, and their history: the contract `crm-drift/1`."""

from typing import Any

from pydantic_core import from_json

from flows.crm import alert_levels, model_cards
from flows.crm.drift import Found
from flows.crm.failures import BadLake
from flows.crm.lake import Lake, Manifest, Warn
from flows.crm.model_cards import Card

RESULT, PAGE = "result.json", "report.html"
Result = dict[str, Any]

STATUS = {"NONE": "stable", "UNKNOWN": "unknown"}

# The fields of a result that the history contains.
REMEMBERED = (
    "current_month",
    "reference_period",
    "model_version",
    "status",
    "alert_level",
    "dataset_drift_share",
    "prediction_drift",
    "data_quality_score",
    "missing_values_share",
    "auc",
    "accuracy",
    "performance_month",
)


def describe(found: Found, *, current_month: str, reference_period: str, card: Card) -> Result:
    performance = found.performance.as_json() if found.performance else None
    return {
        "status": STATUS.get(found.level, "drifting"),
        "alert_level": found.level,
        "current_month": current_month,
        "reference_period": reference_period,
        "model_version": card["version"],
        "model_standing": model_cards.standing(card),
        "deals": found.deals,
        "reference_deals": found.reference_deals,
        "columns": [column.as_json() for column in found.columns],
        "drifted_columns": [column.as_json() for column in found.drifted],
        "dataset_drift_share": round(found.share, 4),
        "prediction_drift": _rounded(found.prediction_distance),
        "predictions": found.predictions,
        "prediction_test": found.prediction.as_json(),
        "data_quality_score": round(found.quality.score, 4),
        "missing_values_share": round(found.quality.missing, 4),
        "missing_values_share_reference": round(found.quality.missing_in_reference, 4),
        "unseen_values_share": round(found.quality.unseen, 4),
        # Of deals closed in the current month; null if there were too few.
        "performance_month": current_month if performance else None,
        "auc": performance["auc"] if performance else None,
        "accuracy": performance["accuracy"] if performance else None,
        "performance": performance,
        "outcome_tests": [column.as_json() for column in found.outcomes],
        "activity": found.activity.as_json(),
        "baseline": {"month": card["month"], **card["quality"]},
        "measures": [
            {
                "measure": reading.measure.name,
                "title": reading.measure.title,
                "measured": _rounded(reading.measured),
                "value": _rounded(reading.value),
                "level": reading.level,
            }
            for reading in found.readings
        ],
        "thresholds": alert_levels.thresholds(),
        "recommendations": alert_levels.recommendations(found.readings),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def remember(result: Result) -> Result:
    return {name: result[name] for name in REMEMBERED}


def history(place: Lake, warn: Warn, *, without: str = "") -> list[Result]:
    """Return the remembered fields of every readable report, oldest month first.

    Damaged ones are named by `warn`. The report of `without` is not read: that month is being written.
    """
    return place.each("reports", lambda manifest: _remembered(place, manifest), warn, without=without)


def _remembered(place: Lake, manifest: Manifest) -> Result:
    try:
        result: Result = remember(from_json(place.document(manifest, RESULT)))
        if result["current_month"] != manifest.month:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        month = manifest.month
        raise BadLake(f"The drift report of {month} was damaged: monitor {month} again.") from None
    return result
