"""The cards of the models in the lake, and which model was current in a month."""

from typing import Any, Literal

from pydantic_core import from_json

from flows.crm.failures import BadLake, MissingMonth
from flows.crm.lake import WHAT, Lake, Manifest, Warn

CARD, MODEL = "card.json", "model.json"
Card = dict[str, Any]

# What became of a model: promoted; in use for want of a better one, although it is no better than guessing; set aside.
Standing = Literal["promoted", "provisional", "rejected"]
PROMOTED: Standing = "promoted"
PROVISIONAL: Standing = "provisional"
REJECTED: Standing = "rejected"
# For people.
STANDINGS: dict[Standing, str] = {
    PROMOTED: "Promoted",
    PROVISIONAL: "In use for want of a better one",
    REJECTED: "Not promoted",
}


def read(lake: Lake, manifest: Manifest) -> Card:
    """Return the card of a model; raise `BadLake` if it is damaged."""
    try:
        found: Card = from_json(lake.document(manifest, CARD))
        # The keys that every reader needs, with their types: without them, the card is damaged.
        if (found["month"], type(found["version"]), type(found["promoted"])) != (manifest.month, str, bool):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise BadLake(f"The card of the model of {manifest.month} was damaged: train {manifest.month} again.") from None
    return found


def every(lake: Lake, warn: Warn) -> list[Card]:
    """Return all readable cards, oldest month first; name damaged ones by `warn`."""
    return lake.each("models", lambda manifest: read(lake, manifest), warn)


def standing(card: Card) -> Standing:
    """Return the standing of a model. Cards without the field are from before there were provisional models."""
    found: Standing = card.get("standing") or (PROMOTED if card["promoted"] else REJECTED)
    return found


def in_use(card: Card) -> bool:
    """Return whether the model came into use, promoted or provisional."""
    return standing(card) != REJECTED


def champion(lake: Lake, month: str, warn: Warn) -> tuple[Manifest, Card] | None:
    """Return the current model at the end of a month: the newest one that came into use by then, or None.

    Later models are ignored, so that running a month again uses the same model. A damaged model is named by `warn`, and
    the one before it is used.
    """
    # Newest first, so that usually one card is read.
    for candidate in reversed(lake.months("models")):
        if candidate <= month:
            try:
                manifest = lake.manifest("models", candidate)
                card = read(lake, manifest)
                lake.document(manifest, MODEL)
            except (BadLake, MissingMonth) as error:
                warn(f"Skipped the {WHAT['models']} of {candidate}: {error}")
                continue
            if in_use(card):
                return manifest, card
    return None


def require_champion(lake: Lake, month: str, warn: Warn) -> tuple[Manifest, Card]:
    """Return the current model of a month; raise `MissingMonth` if there is none."""
    found = champion(lake, month, warn)
    if found is None:
        raise MissingMonth(f"Train {month} first: {lake.store.name} has no current model of that month or before.")
    return found
