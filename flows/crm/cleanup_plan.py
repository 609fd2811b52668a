"""What in the lake may go: a table of categories, each of which says which months or files nobody needs any more.

Raw tables are in none of them: the source may not be able to tell the past a second time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from flows.crm import model_cards
from flows.crm.failures import BadChoice
from flows.crm.lake import LAYERS, Lake, Layer
from flows.crm.storage import Kept

Category = Literal["leftovers", "processed", "features", "models", "reference", "reports"]

DERIVED = [layer for layer in LAYERS if layer != "raw"]

# A file that no manifest names may be one whose manifest is about to be written.
SETTLED = 24 * 3600.0  # seconds
REPORTS_KEPT = 12


@dataclass(frozen=True, slots=True)
class Doomed:
    category: str
    month: str
    paths: tuple[str, ...]  # in the order in which they are deleted
    size: int


def _all_but(kept: int, layer: Layer) -> Callable[[Lake], list[str]]:
    return lambda lake: lake.months(layer)[:-kept]


def _not_promoted(lake: Lake) -> list[str]:
    return [card["month"] for card in model_cards.every(lake) if not card["promoted"]]


# Which months of a layer a category deletes; the newest stays, so that the next pipeline finds it.
MONTHS: dict[str, tuple[Layer, Callable[[Lake], list[str]]]] = {
    "processed": ("processed", _all_but(1, "processed")),
    "features": ("features", _all_but(1, "features")),
    "models": ("models", _not_promoted),
    "reference": ("reference", _all_but(1, "reference")),
    "reports": ("reports", _all_but(REPORTS_KEPT, "reports")),
}


def require_categories(categories: object) -> list[str]:
    known = get_args(Category)
    named = list(categories) if isinstance(categories, Sequence) and not isinstance(categories, str) else [categories]
    if "raw" in named:
        raise BadChoice("Raw tables are never deleted: their source may no longer be able to tell what was known then.")
    unknown = [name for name in named if name not in known]
    if unknown or not named:
        shown = repr(unknown[0]) if unknown else "none"
        raise BadChoice(f"categories names {shown}: choose from {', '.join(known)}.")
    return [name for name in known if name in named]


def find(lake: Lake, categories: Sequence[str]) -> list[Doomed]:
    there = {kept.path: kept for kept in lake.store.files()}
    doomed: list[Doomed] = []
    for category in categories:
        if category == "leftovers":
            doomed += _unnamed(lake, there)
            continue
        layer, choose = MONTHS[category]
        for month in choose(lake):
            # The manifest goes first: a reader finds no month meanwhile, never half of one.
            paths = tuple(path for path in lake.manifest(layer, month).files if path in there)
            doomed.append(Doomed(category, month, paths, sum(there[path].size for path in paths)))
    return doomed


def _unnamed(lake: Lake, there: dict[str, Kept]) -> list[Doomed]:
    """Files below a month of a layer that its manifest does not name; a month without a manifest names none."""
    named = {path for layer in LAYERS for month in lake.months(layer) for path in lake.manifest(layer, month).files}
    return [
        Doomed("leftovers", path.split("/")[1], (path,), kept.size)
        for path, kept in there.items()
        if path.split("/")[0] in DERIVED
        and path.count("/") == 2
        and path not in named
        and kept.age is not None
        and kept.age > SETTLED
    ]


def delete(lake: Lake, doomed: Sequence[Doomed]) -> None:
    for one in doomed:
        for path in one.paths:
            if path.startswith("raw/"):
                raise BadChoice(f"{path} is a raw table, and is never deleted.")
            lake.store.remove(path)
