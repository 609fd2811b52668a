"""Lineage: whether the layers of a month were made from each other, by the names in their manifests."""

from flows.crm.failures import BadLake, MissingMonth, OutdatedMonth
from flows.crm.lake import MAKES, Lake, Layer, Warn

# layer -> the layer it is made from, and what happened if that one has changed since
MADE_FROM: dict[Layer, tuple[Layer, str]] = {
    "processed": ("raw", "it was acquired again after that"),
    "features": ("processed", "its features were not made from its processed tables"),
    "reference": ("features", "it was ingested again after that"),
}


def require_current(lake: Lake, layer: Layer, month: str, warn: Warn) -> None:
    """Raise `OutdatedMonth` if a layer of the month, or one it is made from, is older than what it was made from.

    A layer that is missing or damaged ends the comparison: what was made from it is whole.
    """
    made = lake.manifest(layer, month)
    while made.layer in MADE_FROM:
        before, reason = MADE_FROM[made.layer]
        try:
            found = lake.manifest(before, month)
        except MissingMonth:
            return  # deleted by a clean-up
        except BadLake as error:
            warn(f"Not compared with the layer before it: {error}")
            return
        if made.source != found.name:
            raise OutdatedMonth(f"{MAKES[made.layer]} {month} again: {reason}.")
        made = found
