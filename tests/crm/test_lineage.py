"""The layers of a month belong together, or the pipelines that read them say which one to run again."""

from pathlib import Path

import pytest

from flows.crm import lineage
from flows.crm.failures import MissingMonth, OutdatedMonth
from flows.crm.lake import Lake, Layer
from flows.crm.storage import Folder
from tests.crm.test_lake import COLUMNS, month

CHAIN: tuple[Layer, ...] = ("raw", "processed", "features", "reference")


def write(place: Lake, layer: Layer, content: str = "first") -> None:
    """Write a layer from the newest version of the one before it."""
    before = CHAIN[CHAIN.index(layer) - 1]
    source = "a test" if layer == "raw" else place.manifest(before, "2017-03").name
    place.write(layer, "2017-03", month(content), COLUMNS, source=source)


@pytest.fixture
def place(tmp_path: Path) -> Lake:
    found = Lake(Folder(tmp_path / "lake"))
    for layer in CHAIN:
        write(found, layer)
    return found


@pytest.mark.parametrize("layer", CHAIN)
def test_layers_that_were_made_from_each_other_pass(place: Lake, layer: Layer) -> None:
    write(place, "raw")  # the same content has the same name
    lineage.require_current(place, layer, "2017-03", pytest.fail)


@pytest.mark.parametrize(
    ("rewritten", "sentence"),
    [
        ("raw", "Ingest 2017-03 again: it was acquired again after that."),
        ("processed", "Ingest 2017-03 again: its features were not made from its processed tables."),
        ("features", "Create the reference data of 2017-03 again: it was ingested again after that."),
    ],
)
def test_a_layer_that_was_replaced_asks_for_those_after_it(place: Lake, rewritten: Layer, sentence: str) -> None:
    write(place, rewritten, "second")
    with pytest.raises(OutdatedMonth) as refusal:
        lineage.require_current(place, "reference", "2017-03", pytest.fail)
    assert str(refusal.value) == sentence
    for layer in CHAIN[CHAIN.index(rewritten) + 1 :]:
        write(place, layer, "second")
    lineage.require_current(place, "reference", "2017-03", pytest.fail)


def test_a_layer_that_was_cleaned_up_or_damaged_is_not_compared(place: Lake) -> None:
    place.store.put("raw/2017-03/manifest.json", b"{}")
    warnings: list[str] = []
    lineage.require_current(place, "features", "2017-03", warnings.append)
    assert len(warnings) == 1
    assert warnings[0].endswith("raw/2017-03/manifest.json was damaged: acquire 2017-03 again.")
    place.store.remove("processed/2017-03/manifest.json")
    lineage.require_current(place, "features", "2017-03", pytest.fail)
    with pytest.raises(MissingMonth):
        lineage.require_current(place, "processed", "2017-03", pytest.fail)
