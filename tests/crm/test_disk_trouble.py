"""Trouble with the disk of the lake: one sentence with the lake's name and what to do, and another try."""

import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from prefect.states import Failed

from flows.crm import storage
from flows.crm.failures import LakeAway
from flows.crm.lake import Lake
from flows.crm.retries import is_disk_trouble
from flows.crm.storage import Folder, Remote, Store
from tests.crm.test_lake import read, write

# A limit of the size of files stands for a full disk: both refuse part of a write. Python ignores SIGXFSZ.
FULL = """
import resource, sys
from pathlib import Path
from flows.crm.failures import LakeAway
from flows.crm.lake import Lake
from flows.crm.storage import Folder
from tests.crm.test_lake import write

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write(Lake(Folder(Path(sys.argv[1]))), "second")
except LakeAway as trouble:
    print(trouble)
"""


def test_a_disk_that_takes_no_more_is_named_and_leaves_the_good_month(tmp_path: Path, repository: Path) -> None:
    place = Lake(Folder(tmp_path / "lake"))
    write(place, "first")
    script = subprocess.run(
        [sys.executable, "-c", FULL, place.store.name], cwd=repository, check=True, capture_output=True, text=True
    )
    assert script.stdout == (
        f"The lake {place.store.name} cannot be written (File too large): "
        "raise this worker's limit of the size of a file, or set CRM_LAKE to another place.\n"
    )
    assert read(place)["two"]["name"].tolist() == ["first"]
    assert not list(Path(place.store.name).rglob("*.tmp"))
    write(place, "second")
    assert read(place)["two"]["name"].tolist() == ["second"]


def test_a_full_device_is_named() -> None:
    with pytest.raises(LakeAway) as trouble, storage.naming_trouble("/srv/lake", "written"):
        Path("/dev/full").write_bytes(b"content")
    assert str(trouble.value) == (
        "The lake /srv/lake cannot be written (No space left on device): "
        "free space there, for example with crm-data-cleanup, or set CRM_LAKE to another place."
    )


@pytest.mark.parametrize(
    "place", [Folder(Path("/proc/crm-lake")), Remote(fsspec.filesystem("file"), "/proc/crm-lake", "/proc/crm-lake")]
)
def test_a_place_where_nobody_may_write_is_named_and_tried_again(place: Store) -> None:
    """Nobody may create a folder in /proc, not even root."""
    with pytest.raises(
        LakeAway, match=r"^The lake /proc/crm-lake cannot be written \(.+\): .* CRM_LAKE .*\.$"
    ) as trouble:
        write(Lake(place), "first")
    assert is_disk_trouble(write, None, Failed(data=trouble.value))  # type: ignore[arg-type]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    place = Folder(tmp_path / "lake")
    place.put("raw/one.txt", b"content")
    (tmp_path / "lake/raw/loop.txt").symlink_to("loop.txt")
    with pytest.raises(
        LakeAway, match=r"^The lake .*/lake cannot be read \(Too many levels of symbolic links\): run this"
    ):
        place.read("raw/loop.txt")
    with pytest.raises(FileNotFoundError):
        place.read("raw/two.txt")


def test_every_known_trouble_names_a_way_out() -> None:
    assert all(advice.endswith("set CRM_LAKE to another place") for advice in storage.ADVICE.values())
