"""Damaged files of the lake: they block no other month, and running their own month again mends them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient

from flows.crm import cleanup_plan, model_cards, results
from flows.crm.acquisition import crm_data_acquisition
from flows.crm.cleanup import crm_data_cleanup
from flows.crm.drift_monitoring import model_drift_monitoring
from flows.crm.ingestion import crm_data_ingestion
from flows.crm.lake import LAYERS, Lake, Layer, encode
from flows.crm.reference import reference_data_creation
from flows.crm.storage import Folder
from flows.crm.training import monthly_win_probability_training
from tests.crm.generated import world
from tests.crm.test_lake import COLUMNS, month

MONTHS = ("2017-04", "2017-05", "2017-06")
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "no fields": lambda content: b"{}\n",
    "another kind": lambda content: b"[1, 2]\n",
    "numbers for text": lambda content: (
        b'{"layer": 1, "month": 2, "source": 3, "tables": {"a": {"file": 4}}, "rows": ""}'
    ),
    "no text": lambda content: b"\xff\xfe\x00",
    "nested too deep": lambda content: b"[" * 100_000,
}


def result_of(month: str) -> dict[str, Any]:
    return {**dict.fromkeys(results.REMEMBERED, 0), "current_month": month}


def card_of(month: str) -> dict[str, Any]:
    return {"month": month, "version": f"{month}-1", "promoted": True}


def documents_of(layer: Layer, month: str) -> dict[str, bytes]:
    return {
        "models": {"card.json": encode(card_of(month)), "model.json": b'{"kind": "a test"}\n'},
        "reports": {"result.json": encode(result_of(month))},
    }.get(layer, {})


@pytest.fixture
def place(tmp_path: Path) -> Lake:
    """Three months of each layer, with the contents that other months read."""
    found = Lake(Folder(tmp_path / "lake"))
    for layer in LAYERS:
        for name in MONTHS:
            tables = {} if layer in ("models", "reports") else month(name)
            found.write(layer, name, tables, COLUMNS, source="a test", documents=documents_of(layer, name))
    return found


def damage(place: Lake, layer: Layer, month: str, part: str, how: str) -> Path:
    """Damage a file, or a document together with the manifest that names it (`signed`)."""
    folder = Path(place.store.name) / layer / month
    signed = part.startswith("signed ")
    path = next(folder.glob(f"{part.removeprefix('signed ').partition('.')[0]}*"))
    content = DAMAGES[how](path.read_bytes())
    if signed:
        manifest = place.manifest(layer, month)
        documents = {name: place.document(manifest, name) for name in manifest.documents}
        place.write(layer, month, {}, {}, source="a test", documents={**documents, part.split()[1]: content})
    else:
        path.write_bytes(content)
    return path


def others(layer: Layer, place: Lake, warn: Callable[[str], None]) -> dict[str, Any]:
    """What the pipelines read of every month of a layer."""
    champion = model_cards.champion(place, "2017-06", warn)
    return {
        "promoted": [card["month"] for card in model_cards.every(place, warn)],
        "champion": champion and champion[1]["month"],
        "history": [row["current_month"] for row in results.history(place, warn)],
        "manifests": [manifest.month for manifest in place.manifests(layer, warn)],
        "deletable": len(cleanup_plan.find(place, list(cleanup_plan.MONTHS), warn)),
    }


PARTS: list[tuple[Layer, str]] = [
    *((layer, "manifest.json") for layer in LAYERS),
    ("models", "card.json"),
    ("models", "signed card.json"),
    ("models", "model.json"),
    ("reports", "result.json"),
    ("reports", "signed result.json"),
]


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize(("layer", "part"), PARTS, ids=[" ".join(part) for part in PARTS])
def test_a_damaged_file_is_skipped_and_named(place: Lake, layer: Layer, part: str, how: str) -> None:
    whole = others(layer, place, pytest.fail)
    assert whole["champion"] == "2017-06"
    damage(place, layer, "2017-06", part, how)
    warnings: list[str] = []
    found = others(layer, place, warnings.append)
    left = list(MONTHS[:-1])
    assert found["promoted"] == (left if layer == "models" and part != "model.json" else list(MONTHS))
    assert found["champion"] == ("2017-05" if layer == "models" else "2017-06")
    assert found["history"] == (left if layer == "reports" else list(MONTHS))
    assert found["manifests"] == (left if part == "manifest.json" else list(MONTHS))
    # 2017-05 is then the newest month that can be read, and stays.
    assert all("2017-06" in warning and warning.endswith(" 2017-06 again.") for warning in warnings)
    assert warnings


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("layer", cleanup_plan.DERIVED)
def test_a_clean_up_leaves_a_month_alone_whose_manifest_is_damaged(place: Lake, layer: Layer, how: str) -> None:
    before = {one.month for one in cleanup_plan.find(place, [layer], pytest.fail)}
    damage(place, layer, "2017-06", "manifest.json", how)
    found = cleanup_plan.find(place, [layer], lambda sentence: None)
    assert "2017-06" not in {one.month for one in found}
    # The newest month that can be read stays, or the next pipeline finds none.
    assert {one.month for one in found} == before - {"2017-05"}


@pytest.mark.parametrize(
    "source",
    [b"", b"{", b"[]", b'{"first_month": "x", "last_month": "y"}', b'{"first_month": "2017-02", "last_month": 3}',
     b'{"first_month": "2017-02", "last_month": "2017-01"}'],
)  # fmt: skip
def test_a_damaged_span_of_the_source_is_no_span(place: Lake, source: bytes) -> None:
    place.store.put("source.json", source)
    assert place.source_months() is None


def test_a_stray_folder_is_no_month(place: Lake) -> None:
    manifest = place.store.read("raw/2017-04/manifest.json")
    for folder in ("raw/old", "raw/2017-13", "raw/2017-04/copy"):
        place.store.put(f"{folder}/manifest.json", manifest)
    assert place.months("raw") == list(MONTHS)


def test_a_manifest_of_another_month_is_damaged(place: Lake) -> None:
    place.store.put("raw/2017-05/manifest.json", place.store.read("raw/2017-04/manifest.json"))
    assert [found.month for found in place.manifests("raw", lambda sentence: None)] == ["2017-04", "2017-06"]


REFERENCE, OLD, NEW = "2017-06", "2017-07", "2017-08"


def run_all(month: str) -> None:
    crm_data_acquisition(month)
    crm_data_ingestion(month)
    monthly_win_probability_training(month)
    reference_data_creation(month, 200)
    if month > REFERENCE:
        model_drift_monitoring(month, REFERENCE)
    crm_data_cleanup()


def test_with_every_file_of_a_month_damaged_the_other_months_run_and_so_does_it(
    client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # 1. Whole months, from a source of CSV files.
    (tmp_path / "source").mkdir()
    for table, frame in world().tables.items():
        frame.to_csv(tmp_path / "source" / f"{table}.csv", index=False)
    monkeypatch.setenv("CRM_SOURCE_DIR", str(tmp_path / "source"))
    monkeypatch.setenv("CRM_LAKE", str(tmp_path / "lake"))
    for name in (REFERENCE, OLD):
        run_all(name)
    whole = {path: path.read_bytes() for path in tmp_path.glob(f"lake/*/{OLD}/*")}
    # 2. Every file of a month is damaged, in all ways by turns: another month runs, and names them.
    ways = list(DAMAGES.values())
    for turn, (path, content) in enumerate(sorted(whole.items())):
        path.write_bytes(ways[turn % len(ways)](content))
    caplog.clear()
    run_all(NEW)
    assert f"Skipped the drift report of {OLD}" in caplog.text
    assert f"Skipped the model of {OLD}" in caplog.text
    # 3. The damaged month runs again, and is as it was.
    run_all(OLD)
    manifests = {path: content for path, content in whole.items() if path.parts[-3] in ("raw", "processed", "features")}
    assert {path: path.read_bytes() for path in manifests} == manifests
    caplog.clear()
    crm_data_cleanup()
    assert "Skipped" not in caplog.text
