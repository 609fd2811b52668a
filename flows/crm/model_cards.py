"""The cards of the models that the lake keeps, and which of them was the current model of a month."""

import json
from typing import Any

from flows.crm.failures import BadLake, MissingMonth
from flows.crm.lake import Lake, Manifest

CARD, MODEL = "card.json", "model.json"
Card = dict[str, Any]


def read(lake: Lake, manifest: Manifest) -> Card:
    try:
        found: Card = json.loads(lake.document(manifest, CARD))
        found["month"], found["version"], found["promoted"]
    except (ValueError, KeyError, TypeError):
        raise BadLake(f"The card of the model of {manifest.month} was damaged: train {manifest.month} again.") from None
    return found


def every(lake: Lake) -> list[Card]:
    """By month, the oldest first."""
    return [read(lake, lake.manifest("models", month)) for month in lake.months("models")]


def champion(lake: Lake, month: str) -> tuple[Manifest, Card] | None:
    """The model in use at the end of a month: the newest that was promoted by then. Later ones are not looked at, so
    that a month that is run again finds the model it found before."""
    for candidate in reversed(lake.months("models")):
        if candidate <= month:
            manifest = lake.manifest("models", candidate)
            card = read(lake, manifest)
            if card["promoted"]:
                return manifest, card
    return None


def require_champion(lake: Lake, month: str) -> tuple[Manifest, Card]:
    found = champion(lake, month)
    if found is None:
        raise MissingMonth(f"Train {month} first: {lake.store.name} has no current model of that month or before.")
    return found
