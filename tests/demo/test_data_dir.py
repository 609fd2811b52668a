"""The data folder: one stack at a time, and secrets that only its owner reads."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from portal.demo import data_dir as module
from portal.demo.data_dir import DataFolder, fernet_key
from portal.demo.processes import ROOT, NotStarted

HOLD = """
import sys, time
from pathlib import Path
from portal.demo.data_dir import DataFolder
from portal.demo.processes import Reaper
folder = DataFolder(Path(sys.argv[1]))
reaper = Reaper(str(folder.path), keep_open=(folder.take(),))
print("held", flush=True)
time.sleep(600)
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def held(path: Path) -> subprocess.Popen[str]:
    it = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert it.stdout
    assert it.stdout.readline() == "held\n"
    return it


def test_a_second_demo_on_the_same_folder_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with held(tmp_path / "demo") as first:
        with pytest.raises(NotStarted, match=rf"A demo already runs on .*/demo \(process {first.pid}\)\. Stop it"):
            DataFolder(tmp_path / "demo").take()
        first.kill()


def test_a_killed_demo_gives_the_folder_free_when_its_warden_is_done(tmp_path: Path) -> None:
    with held(tmp_path / "demo") as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
    began = time.monotonic()
    os.close(DataFolder(tmp_path / "demo").take())
    assert time.monotonic() - began < module.LONGEST_END


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "demo")
    os.close(folder.take())
    path = folder.secret("field-key", fernet_key)
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    Fernet(path.read_text())
    assert DataFolder(tmp_path / "demo").secret("field-key", fernet_key).read_text() == path.read_text()
    assert folder.secret("one").read_text() != folder.secret("other").read_text()


def test_the_environment_file_is_for_its_owner_alone_and_goes_at_the_end(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    path = tmp_path / "portal.env"
    path.write_text("left by a killed demo")
    path.chmod(0o644)
    folder.publish({"DATABASE_URL": "postgresql:///portal", "PORTAL_MODE": "demo"})
    assert path.read_text() == "DATABASE_URL=postgresql:///portal\nPORTAL_MODE=demo\n"
    assert mode(path) == 0o600
    folder.withdraw()
    folder.withdraw()
    assert not path.exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotStarted, match=r"/file/demo cannot be used: Not a directory\."):
        DataFolder(tmp_path / "file" / "demo").take()
