"""The layers of a month belong together, or the pipelines that read them say which one to run again."""

from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient

from flows.crm import lineage
from flows.crm.acquisition import crm_data_acquisition
from flows.crm.drift_monitoring import model_drift_monitoring
from flows.crm.failures import MissingMonth, OutdatedMonth
from flows.crm.ingestion import crm_data_ingestion
from flows.crm.lake import Lake, Layer
from flows.crm.reference import reference_data_creation
from flows.crm.storage import Folder
from flows.crm.training import monthly_win_probability_training
from tests.crm import tables
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


@pytest.fixture
def csv_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "source").mkdir()
    monkeypatch.setenv("CRM_SOURCE_DIR", str(tmp_path / "source"))
    monkeypatch.setenv("CRM_LAKE", str(tmp_path / "lake"))
    return tables.write(tmp_path / "source")


def test_no_pipeline_reads_features_of_tables_that_were_replaced(client: SyncPrefectClient, csv_folder: Path) -> None:
    crm_data_acquisition("2017-04")
    crm_data_ingestion("2017-04")
    lake = Lake(Folder(csv_folder.parent / "lake"))
    lake.write("reference", "2017-03", month("first"), COLUMNS, source="a test")
    tables.write(csv_folder, sales_pipeline=tables.CSV["sales_pipeline"].replace("4800", "4700"))
    crm_data_acquisition("2017-04")
    for run in (
        lambda: monthly_win_probability_training("2017-04"),
        lambda: reference_data_creation("2017-04"),
        lambda: model_drift_monitoring("2017-04", "2017-03"),
    ):
        with pytest.raises(OutdatedMonth, match=r"^Ingest 2017-04 again: it was acquired again after that\.$"):
            run()
