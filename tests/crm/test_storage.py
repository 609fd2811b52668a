"""Places for the lake other than a folder: any address that fsspec opens."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from flows.crm import lake, storage
from flows.crm.failures import BadLake, MissingMonth
from flows.crm.lake import Lake
from flows.crm.storage import Folder, Remote, Store
from tests.crm.test_lake import read, write


@pytest.fixture(params=["folder", "memory", "moved into place"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "folder":
        yield Folder(tmp_path / "lake")
    elif request.param == "memory":
        found = storage.remote(f"memory://{uuid.uuid4().hex}/lake")
        yield found
        for kept in found.files():
            found.remove(kept.path)
    else:
        # A file system that is no object store, so that each file is written beside and then moved.
        yield Remote(fsspec.filesystem("file"), str(tmp_path / "lake"), "file system")


def test_a_month_is_kept_and_read_anywhere(place: Store) -> None:
    write(Lake(place), "first")
    write(Lake(place), "second")
    assert read(Lake(place))["two"]["name"].tolist() == ["second"]
    assert Lake(place).months("raw") == ["2017-03"]
    assert Lake(place).months("models") == []


def test_a_missing_month_is_told_anywhere(place: Store) -> None:
    with pytest.raises(MissingMonth, match=r"^Acquire 2017-03 first: .* has no raw tables of it\.$"):
        read(Lake(place))


def test_files_are_listed_with_size_and_age_and_removed(place: Store) -> None:
    place.put("raw/2017-03/one.txt", b"12345")
    place.put("raw/2017-04/two.txt", b"1")
    assert [(kept.path, kept.size) for kept in place.files()] == [
        ("raw/2017-03/one.txt", 5),
        ("raw/2017-04/two.txt", 1),
    ]
    assert [kept.path for kept in place.files("raw/2017-04")] == ["raw/2017-04/two.txt"]
    assert all(kept.age is not None and -5 < kept.age < 60 for kept in place.files())
    place.remove("raw/2017-03/one.txt")
    place.remove("raw/2017-03/one.txt")
    assert [kept.path for kept in place.files()] == ["raw/2017-04/two.txt"]


def test_writers_at_once_leave_one_whole_month(place: Store) -> None:
    here = Lake(place)
    write(here, "first")
    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, here, name) for _ in range(10) for name in ("first", "second")]
        while not all(job.done() for job in writing):
            assert len({table["name"][0] for table in read(here).values()}) == 1
        assert all(job.exception() is None for job in writing)
    assert not [kept.path for kept in place.files() if kept.path.endswith(".tmp")]


def test_documents_are_kept_beside_the_tables(place: Store) -> None:
    here = Lake(place)
    manifest = here.write("models", "2017-03", {}, {}, source="a test", documents={"card.json": b"{}\n"})
    assert here.document(here.manifest("models", "2017-03"), "card.json") == b"{}\n"
    assert here.address(manifest, "card.json").endswith(f"/models/2017-03/{manifest.documents['card.json'].file}")
    with pytest.raises(BadLake, match=r"^models 2017-03 in .* has no model\.json: train 2017-03 again\.$"):
        here.document(manifest, "model.json")


def test_the_source_is_remembered(place: Store) -> None:
    assert Lake(place).source_months() is None
    Lake(place).remember_source("a test", "2016-10", "2017-12")
    assert Lake(place).source_months() == ("2016-10", "2017-12")


def test_the_address_comes_from_the_environment(tmp_path: Path) -> None:
    assert lake.from_environment({"CRM_LAKE": f"file://{tmp_path}"}) == Lake(Folder(tmp_path))
    found = storage.from_environment({"CRM_LAKE": "memory://somewhere/lake/"})
    assert isinstance(found, Remote)
    assert found.name == "memory://somewhere/lake"


def test_an_address_that_nothing_opens_is_refused_without_its_password() -> None:
    with pytest.raises(BadLake) as refusal:
        storage.from_environment({"CRM_LAKE": "nonsense://me:secret@host/lake"})
    assert str(refusal.value) == (
        "CRM_LAKE names nonsense://host/lake, and nothing here opens nonsense://: "
        "name a folder, or an address that fsspec knows, such as s3://bucket/lake."
    )


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(BadLake, match=r"^CRM_LAKE names oss://bucket/lake, which needs a package .*ossfs"):
        storage.from_environment({"CRM_LAKE": "oss://bucket/lake"})


def test_the_same_month_has_the_same_bytes_anywhere(place: Store, tmp_path: Path) -> None:
    elsewhere = Folder(tmp_path / "elsewhere")
    assert write(Lake(place), "first") == write(Lake(elsewhere), "first")
    assert {kept.path: place.read(kept.path) for kept in place.files()} == {
        kept.path: elsewhere.read(kept.path) for kept in elsewhere.files()
    }
