"""What a clean-up finds, in which order it deletes, and what it never touches."""

import os
import time
from pathlib import Path

import pytest

from flows.crm import cleanup_plan, lake
from flows.crm.failures import BadChoice, MissingMonth
from flows.crm.lake import LAYERS, Lake
from flows.crm.storage import Folder
from tests.crm.test_lake import write

EVERYTHING = list(cleanup_plan.get_args(cleanup_plan.Category))


@pytest.fixture
def place(tmp_path: Path) -> Lake:
    found = Lake(Folder(tmp_path / "lake"))
    for month in ("2017-03", "2017-04"):
        write(found, "first", of=month)
        for layer in LAYERS[1:]:
            card = {"month": month, "version": f"{month}-1", "promoted": month == "2017-04"}
            documents = {"card.json": lake.encode(card)} if layer == "models" else {"a.json": b"{}\n"}
            found.write(layer, month, {}, {}, source="a test", documents=documents)
    return found


def grow_old(place: Lake, hours: float) -> None:
    for path in Path(place.store.name).rglob("*"):
        if path.is_file():
            then = time.time() - hours * 3600
            os.utime(path, (then, then))


def found(place: Lake, *categories: str) -> list[tuple[str, str]]:
    return [(one.category, one.month) for one in cleanup_plan.find(place, list(categories), pytest.fail)]


def test_the_newest_month_of_a_layer_stays(place: Lake) -> None:
    assert found(place, "processed", "features", "reference") == [
        ("processed", "2017-03"),
        ("features", "2017-03"),
        ("reference", "2017-03"),
    ]


def test_a_promoted_model_stays(place: Lake) -> None:
    assert found(place, "models") == [("models", "2017-03")]


def test_the_newest_twelve_reports_stay(place: Lake) -> None:
    assert found(place, "reports") == []
    for number in range(1, 13):
        place.write("reports", f"2018-{number:02d}", {}, {}, source="a test", documents={})
    assert found(place, "reports") == [("reports", "2017-03"), ("reports", "2017-04")]


def test_files_that_nothing_names_go_when_they_are_a_day_old(place: Lake) -> None:
    for layer in ("raw", "processed"):
        place.store.put(f"{layer}/2017-03/left.0123456789abcdef.parquet", b"12345")
    assert found(place, "leftovers") == [], "somebody may be about to name it"
    grow_old(place, 25)
    [one] = cleanup_plan.find(place, ["leftovers"], pytest.fail)
    assert one.paths == ("processed/2017-03/left.0123456789abcdef.parquet",), "and never a raw one"
    assert one.size == 5


def test_what_is_deleted_is_gone_whole_and_the_rest_is_untouched(place: Lake) -> None:
    grow_old(place, 25)
    raw = {kept.path for kept in place.store.files("raw")}
    cleanup_plan.delete(place, cleanup_plan.find(place, EVERYTHING, pytest.fail))
    assert {kept.path for kept in place.store.files("raw")} == raw
    assert place.months("features") == ["2017-04"]
    assert place.months("raw") == ["2017-03", "2017-04"]
    with pytest.raises(MissingMonth):
        place.manifest("features", "2017-03")
    assert place.read(place.manifest("raw", "2017-03"))
    assert cleanup_plan.find(place, EVERYTHING, pytest.fail) == []


def test_the_manifest_goes_first(place: Lake) -> None:
    [one] = cleanup_plan.find(place, ["processed"], pytest.fail)
    assert one.paths[0] == "processed/2017-03/manifest.json"
    assert len(one.paths) == 2


def test_raw_tables_are_refused() -> None:
    with pytest.raises(BadChoice, match=r"^Raw tables are never deleted: "):
        cleanup_plan.require_categories(["features", "raw"])


@pytest.mark.parametrize("categories", [["everything"], [], "features-and-more", None, [1]])
def test_unknown_categories_are_refused(categories: object) -> None:
    with pytest.raises(BadChoice, match=r"^categories names .*: choose from leftovers, processed, features, models,"):
        cleanup_plan.require_categories(categories)


def test_categories_are_taken_once_each() -> None:
    assert cleanup_plan.require_categories(["reports", "models", "reports"]) == ["models", "reports"]
