"""What the cleanup may delete: a table of categories, each with the months or files that are no longer needed.

Raw tables are in none of them: the source may no longer have the data of that month.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from flows.crm import model_cards
from flows.crm.failures import BadChoice
from flows.crm.lake import LAYERS, Lake, Layer, Manifest, Warn
from flows.crm.storage import Kept

Category = Literal["leftovers", "processed", "features", "models", "reference", "reports"]

DERIVED: list[Layer] = [layer for layer in LAYERS if layer != "raw"]

# A file in no manifest may belong to a month that is being written: its manifest comes last.
SETTLED = 24 * 3600.0  # seconds
REPORTS_KEPT = 12


@dataclass(frozen=True, slots=True)
class Deletable:
    category: str
    month: str
    paths: tuple[str, ...]  # in the order in which they are deleted
    size: int


def _all_but(kept: int, lake: Lake, manifests: list[Manifest], warn: Warn) -> list[Manifest]:
    return manifests[:-kept]


def _not_in_use(lake: Lake, manifests: list[Manifest], warn: Warn) -> list[Manifest]:
    unused = {card["month"] for card in model_cards.every(lake, warn) if not model_cards.in_use(card)}
    return [manifest for manifest in manifests if manifest.month in unused]


# Which readable months of a layer a category deletes; the newest stays, so that the next pipeline finds it.
MONTHS: dict[str, tuple[Layer, Callable[[Lake, list[Manifest], Warn], list[Manifest]]]] = {
    "processed": ("processed", partial(_all_but, 1)),
    "features": ("features", partial(_all_but, 1)),
    "models": ("models", _not_in_use),
    "reference": ("reference", partial(_all_but, 1)),
    "reports": ("reports", partial(_all_but, REPORTS_KEPT)),
}


def require_categories(categories: object) -> list[str]:
    """Return the categories in a fixed order; raise `BadChoice` for unknown ones and for none."""
    known = get_args(Category)
    named = list(categories) if isinstance(categories, Sequence) and not isinstance(categories, str) else [categories]
    if "raw" in named:
        raise BadChoice("Raw tables are never deleted: the source may no longer have the data of that month.")
    unknown = [name for name in named if name not in known]
    if unknown or not named:
        shown = repr(unknown[0]) if unknown else "none"
        raise BadChoice(f"categories names {shown}: choose from {', '.join(known)}.")
    return [name for name in known if name in named]


def find(lake: Lake, categories: Sequence[str], warn: Warn) -> list[Deletable]:
    """Return what each category may delete now. A month with a damaged manifest is named by `warn` and left alone."""
    existing = {kept.path: kept for kept in lake.store.files()}
    readable = {layer: lake.manifests(layer, warn) for layer in DERIVED}
    deletable: list[Deletable] = []
    for category in categories:
        if category == "leftovers":
            deletable += _unnamed(lake, readable, existing)
            continue
        layer, choose = MONTHS[category]
        for manifest in choose(lake, readable[layer], warn):
            # The manifest is deleted first: readers meanwhile find no month instead of half of one.
            paths = tuple(path for path in manifest.files if path in existing)
            deletable.append(Deletable(category, manifest.month, paths, sum(existing[path].size for path in paths)))
    return deletable


def _unnamed(lake: Lake, readable: Mapping[Layer, list[Manifest]], existing: dict[str, Kept]) -> list[Deletable]:
    """Return files of a month that its manifest does not name; without a manifest, all of its files."""
    manifests = [manifest for layer in DERIVED for manifest in readable[layer]]
    named = {path for manifest in manifests for path in manifest.files}
    # A damaged manifest does not say which files it needs: none of its month is deleted.
    damaged = {(layer, month) for layer in DERIVED for month in lake.months(layer)}
    damaged -= {(manifest.layer, manifest.month) for manifest in manifests}
    return [
        Deletable("leftovers", path.split("/")[1], (path,), kept.size)
        for path, kept in existing.items()
        if path.split("/")[0] in DERIVED
        and path.count("/") == 2
        and path not in named
        and tuple(path.split("/")[:2]) not in damaged
        and kept.age is not None
        and kept.age > SETTLED
    ]


def delete(lake: Lake, deletable: Sequence[Deletable]) -> None:
    """Delete the files in order; raise `BadChoice` before a raw table would be deleted."""
    for one in deletable:
        for path in one.paths:
            # A second check beside the table of categories, because this cannot be undone.
            if path.startswith("raw/"):
                raise BadChoice(f"{path} is a raw table, and is never deleted.")
            lake.store.remove(path)
