"""What was scored and compared, in words. The facts come from flows: what is missing or of another type is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# `model_standing` -> label.
STANDINGS = {"promoted": "promoted", "provisional": "in use for want of a better one", "rejected": "not promoted"}


def text(value: Any, *, is_share: bool = False) -> str:
    """Format a number; what was not measured is a dash."""
    # In Python `True` is an int.
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "-"
    return f"{value:.1%}" if is_share else f"{value:.3f}"


def whole(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else ""


def model(found: Mapping[str, Any]) -> str:
    """Return the version of the model, with what became of it."""
    version, standing = found.get("model_version"), STANDINGS.get(str(found.get("model_standing")), "")
    return f"{version} ({standing})" if version and standing else str(version or "")


def compared(drift: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (name, words) of what a result is about; what an older result does not say is left out."""
    month, reference = drift.get("current_month"), drift.get("reference_period")
    deals, reference_deals, predictions = (
        whole(drift.get(name)) for name in ("deals", "reference_deals", "predictions")
    )
    performance, activity = drift.get("performance"), drift.get("activity")
    outcomes = whole(performance.get("deals")) if isinstance(performance, dict) else ""
    desk = activity if isinstance(activity, dict) else {}
    new, closings = whole(desk.get("new_deals")), whole(desk.get("closings"))
    usual, expected = (rounded(desk.get(name)) for name in ("usual_new_deals", "expected_closings"))
    found = [
        (
            "Columns",
            f"{deals} deals engaged in {month}, compared with {reference_deals} deals of {reference}" if deals else "",
        ),
        ("Predictions", f"{predictions} of these deals, those with a known account" if predictions else ""),
        ("Performance", f"{outcomes} deals closed in {drift.get('performance_month')}" if outcomes else ""),
        ("Model", model(drift)),
        ("New deals", f"{new}; usually {usual}" if new and usual else new),
        ("Closings", f"{closings}; {expected} expected" if closings and expected else closings),
    ]
    return [(name, words) for name, words in found if words]


def rounded(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) and not isinstance(value, bool) else ""


def scores(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (name, words) of the newest scores of open deals."""
    deals, unknown = whole(found.get("deals")), whole(found.get("without_account"))
    rows = [
        ("Open deals", f"{deals} of {found.get('month')}" if deals else ""),
        ("Without account", f"{unknown}, scored as average deals" if unknown else ""),
        ("Mean win probability", text(found.get("mean_win_probability"), is_share=True)),
        ("Model", model(found)),
    ]
    return [(name, words) for name, words in rows if words] if deals else []
