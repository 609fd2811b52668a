"""The lake: the same bytes for the same month, and always a whole month, whoever is killed or writes at once."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from flows.crm import lake, storage
from flows.crm.failures import BadLake, MissingMonth
from flows.crm.lake import Lake, Manifest
from flows.crm.storage import Folder
from flows.crm.table_schema import Columns, Tables, typed

COLUMNS: dict[str, Columns] = {
    "one": {"name": "text", "day": "date", "count": "whole", "share": "number", "sure": "flag"},
    "two": {"name": "text"},
}


def month(name: str) -> Tables:
    return {
        "one": typed(
            COLUMNS["one"],
            {
                "name": [name, None],
                "day": [pd.Timestamp("2017-03-31"), None],
                "count": [1, None],
                "share": [0.5, None],
                "sure": [True, None],
            },
        ),
        "two": typed(COLUMNS["two"], {"name": [name]}),
    }


def root(place: Lake) -> Path:
    return Path(place.store.name)


def write(place: Lake, name: str, *, of: str = "2017-03") -> Manifest:
    return place.write("raw", of, month(name), COLUMNS, source=f"from {name}")


def read(place: Lake) -> Tables:
    return place.read(place.manifest("raw", "2017-03"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Lake:
    return Lake(Folder(tmp_path / "lake"))


def test_what_is_read_is_what_was_written(place: Lake) -> None:
    write(place, "first")
    for name, table in read(place).items():
        pd.testing.assert_frame_equal(table, month("first")[name])


def test_an_empty_column_keeps_its_type(place: Lake) -> None:
    nothing = {"one": typed(COLUMNS["one"], {name: [None] for name in COLUMNS["one"]})}
    place.write("raw", "2017-03", nothing, COLUMNS, source="nothing")
    pd.testing.assert_frame_equal(read(place)["one"], nothing["one"])


def test_a_second_run_leaves_the_same_bytes(place: Lake, tmp_path: Path) -> None:
    write(place, "first")
    before = contents(root(place))
    write(place, "first")
    assert contents(root(place)) == before
    write(Lake(Folder(tmp_path / "elsewhere")), "first")
    assert contents(tmp_path / "elsewhere") == before


def test_the_manifest_says_what_there_is_and_where_it_came_from(place: Lake) -> None:
    written = write(place, "first")
    found = json.loads((root(place) / "raw/2017-03/manifest.json").read_bytes())
    assert found["layer"] == "raw"
    assert found["month"] == "2017-03"
    assert found["source"] == "from first"
    assert {name: entry["rows"] for name, entry in found["tables"].items()} == {"one": 2, "two": 1}
    assert place.manifest("raw", "2017-03") == written
    assert all(len(entry["sha256"]) == 64 for entry in found["tables"].values())


def test_the_months_of_a_layer_are_listed(place: Lake) -> None:
    assert place.months("raw") == []
    for name in ("2017-03", "2016-12"):
        write(place, "first", of=name)
    assert place.months("raw") == ["2016-12", "2017-03"]
    assert place.months("features") == []


KILLED = """
import os, signal, sys
from flows.crm import lake, storage
from tests.crm.test_lake import Folder, Lake, Path, write

left = int(sys.argv[2])
sync = os.fsync

def killed_before_it_is_safe(file):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(file)

os.fsync = killed_before_it_is_safe
write(Lake(Folder(Path(sys.argv[1]))), "second")
"""


@pytest.mark.parametrize("at", [1, 2, 3], ids=["first table", "second table", "manifest"])
def test_a_killed_writer_leaves_the_last_good_month(place: Lake, at: int, repository: Path) -> None:
    write(place, "first")
    script = subprocess.run([sys.executable, "-c", KILLED, root(place), str(at)], cwd=repository, check=False)
    assert script.returncode == -signal.SIGKILL
    assert read(place)["two"]["name"].tolist() == ["first"]
    write(place, "second")
    assert read(place)["two"]["name"].tolist() == ["second"]


def test_a_writer_that_fails_leaves_nothing_half_done(tmp_path: Path) -> None:
    folder = tmp_path / "target"
    folder.mkdir()
    (folder / "in the way").touch()
    with pytest.raises(OSError, match="directory"):
        storage.put(folder, b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_writers_at_once_leave_one_whole_month(place: Lake) -> None:
    """Whoever reads meanwhile sees one of them, never a mixture."""
    write(place, "first")
    with ThreadPoolExecutor(5) as pool:
        writing = [pool.submit(write, place, name) for _ in range(25) for name in ("first", "second")]
        while not all(job.done() for job in writing):
            seen = {table["name"][0] for table in read(place).values()}
            assert len(seen) == 1
        assert all(job.exception() is None for job in writing)
    assert not list(root(place).rglob("*.tmp"))


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("raw", "Acquire 2017-03 first: {} has no raw tables of it."),
        ("processed", "Ingest 2017-03 first: {} has no processed tables of it."),
        ("features", "Ingest 2017-03 first: {} has no features of it."),
        ("models", "Train 2017-03 first: {} has no model of it."),
        ("reference", "Create the reference data of 2017-03 first: {} has no reference data of it."),
    ],
)
def test_a_missing_month_says_what_to_run_first(place: Lake, layer: lake.Layer, sentence: str) -> None:
    with pytest.raises(MissingMonth) as refusal:
        place.manifest(layer, "2017-03")
    assert str(refusal.value) == sentence.format(root(place))


def test_a_damaged_table_is_not_read(place: Lake) -> None:
    entry = write(place, "first").tables["two"]
    path = root(place) / "raw/2017-03" / entry.file
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(BadLake, match=r"two\..*\.parquet was damaged: acquire 2017-03 again\.$"):
        read(place)
    write(place, "first")
    assert read(place)["two"]["name"].tolist() == ["first"], "writing the month again mends it"


def test_a_lost_table_is_named(place: Lake) -> None:
    entry = write(place, "first").tables["two"]
    (root(place) / "raw/2017-03" / entry.file).unlink()
    with pytest.raises(BadLake, match=r"is missing although the manifest names it: acquire 2017-03 again\.$"):
        read(place)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"layer": "raw"}'])
def test_a_damaged_manifest_is_named(place: Lake, content: bytes) -> None:
    write(place, "first")
    (root(place) / "raw/2017-03/manifest.json").write_bytes(content)
    with pytest.raises(BadLake, match=r"manifest\.json was damaged: acquire 2017-03 again\.$"):
        place.manifest("raw", "2017-03")


def test_a_file_in_the_way_of_the_lake_is_named(tmp_path: Path) -> None:
    (tmp_path / "lake").touch()
    with pytest.raises(BadLake, match=r"^CRM_LAKE names .*/lake, where a file is in the way: name a folder\.$"):
        write(Lake(Folder(tmp_path / "lake")), "first")


def test_the_folder_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert lake.from_environment({"CRM_LAKE": "/srv/lake"}) == Lake(Folder(Path("/srv/lake")))
    assert lake.from_environment({"CRM_LAKE": "here"}) == Lake(Folder(tmp_path / "here"))
    assert lake.from_environment({}) == Lake(Folder(tmp_path / "var/lake"))


def test_a_folder_that_vanishes_with_the_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(suffix="prefect") as folder:
        monkeypatch.chdir(folder)
        with pytest.raises(BadLake, match=r"^The lake would be lost with this run's temporary folder: set CRM_LAKE"):
            lake.from_environment({})
        monkeypatch.chdir(os.sep)
