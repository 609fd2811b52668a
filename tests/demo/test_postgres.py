"""The embedded Postgres: binaries, user, folder, version, and the addresses it hands out."""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import psycopg
import pytest

from portal.demo import postgres
from portal.demo.postgres import Embedded, Server, find_binaries
from portal.demo.processes import NotStarted, Reaper, User
from portal.demo.supervisor import Part, Supervisor

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another user")
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder another user may pass through; pytest's own are closed to everybody else."""
    with tempfile.TemporaryDirectory(prefix="portal-pg-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def embedded(place: Path) -> Embedded:
    return Embedded(place / "postgres", place / "postgres.log", options=postgres.FAST_AND_LOOSE)


class Running:
    """A Postgres that runs until `stop`."""

    def __init__(self, it: Embedded, reaper: Reaper) -> None:
        self.embedded = it
        self.server = it.prepare()
        self.supervisor = Supervisor([Part(it.program(self.server))], reaper, lambda line: None)
        assert self.supervisor.start()

    def query(self, text: str) -> object:
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as connection:
            row = connection.execute(text.encode()).fetchone()
        return row and row[0]

    def pid(self) -> int:
        process = self.supervisor.parts[postgres.NAME].process
        assert process
        return process.pid

    def stop(self) -> None:
        self.supervisor.stop()
        self.embedded.forget_socket()


class Unwatched:
    """A reaper that ends nothing."""

    marker = "unwatched"

    def add(self, group: int, rank: int) -> None: ...

    def remove(self, group: int) -> None: ...


def test_data_outlives_a_restart(place: Path, reaper: Reaper) -> None:
    first = Running(embedded(place), reaper)
    first.server.create("kept")
    first.server.create("kept")
    first.stop()
    second = Running(embedded(place), reaper)
    assert second.query("SELECT count(*) FROM pg_database WHERE datname = 'kept'") == 1
    second.stop()
    assert not (place / "postgres" / "data" / "postmaster.pid").exists()


def test_prefect_finds_the_extension_it_needs(place: Path, reaper: Reaper) -> None:
    running = Running(embedded(place), reaper)
    assert running.query("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_trgm'") == 1
    running.stop()


def test_nobody_else_reaches_it(place: Path, reaper: Reaper) -> None:
    running = Running(embedded(place), reaper)
    assert running.query("SHOW listen_addresses") == ""
    for folder in (place / "postgres", place / "postgres" / "data", place / "postgres" / "socket"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    running.stop()


def test_a_server_left_behind_by_a_crash_is_ended_and_its_pid_file_removed(place: Path, reaper: Reaper) -> None:
    running = Running(embedded(place), reaper)
    left = running.pid()
    again = embedded(place)
    again.prepare()
    assert running.supervisor.parts[postgres.NAME].process
    assert os.waitstatus_to_exitcode(os.waitpid(left, 0)[1]) == 0, "it ended in peace"
    assert not (place / "postgres" / "data" / "postmaster.pid").exists()
    running.stop()


def test_a_pid_file_that_names_another_program_is_no_obstacle(place: Path, reaper: Reaper) -> None:
    running = Running(embedded(place), reaper)
    kept = (place / "postgres" / "data" / "postmaster.pid").read_text().partition("\n")[2]
    os.kill(running.pid(), signal.SIGKILL)
    running.stop()
    # After a restart of the machine or the container, its number belongs to somebody else, such as this test.
    (place / "postgres" / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{kept}")
    again = Running(embedded(place), reaper)
    assert again.query("SELECT 1") == 1
    again.stop()


def test_data_of_another_version_is_refused(place: Path, reaper: Reaper) -> None:
    Running(embedded(place), reaper).stop()
    (place / "postgres" / "data" / "PG_VERSION").write_text("12\n")
    with pytest.raises(NotStarted, match=r"is of Postgres 12, the binaries in .* are Postgres \d\d\."):
        embedded(place).prepare()


def test_a_folder_that_is_no_data_folder_is_refused(place: Path) -> None:
    (place / "postgres" / "data").mkdir(parents=True)
    with pytest.raises(NotStarted, match="is not the data folder of a Postgres server"):
        embedded(place).prepare()


def test_a_broken_off_first_start_is_begun_anew(place: Path, reaper: Reaper) -> None:
    (place / "postgres" / "new").mkdir(parents=True)
    (place / "postgres" / "new" / "half").touch()
    running = Running(embedded(place), reaper)
    assert running.query("SELECT 1") == 1
    running.stop()


def test_a_path_too_long_for_a_socket_is_no_obstacle(place: Path, reaper: Reaper) -> None:
    deep = place / ("deep" * 15) / ("deeper" * 8)
    for folder in (deep.parent, deep):
        folder.mkdir()
        folder.chmod(0o711)
    running = Running(Embedded(deep / "postgres", place / "log"), reaper)
    assert running.query("SELECT 1") == 1
    running.stop()


@as_root
def test_root_hands_over_to_another_user(place: Path, reaper: Reaper) -> None:
    running = Running(embedded(place), reaper)
    assert Path(f"/proc/{running.pid()}").stat().st_uid != 0
    assert (place / "postgres" / "data").stat().st_uid != 0
    running.stop()


@as_root
def test_root_runs_it_as_the_owner_of_data_that_is_there(place: Path, reaper: Reaper) -> None:
    (place / "postgres").mkdir()
    os.chown(place / "postgres", NOBODY.pw_uid, NOBODY.pw_gid)
    running = Running(embedded(place), reaper)
    assert Path(f"/proc/{running.pid()}").stat().st_uid == NOBODY.pw_uid
    running.stop()


@as_root
def test_a_closed_home_is_refused_by_name(place: Path) -> None:
    (place / "home").mkdir(mode=0o700)
    with pytest.raises(NotStarted, match=r"may not enter .*/home, where .*/home/data/postgres lies"):
        Embedded(place / "home" / "data" / "postgres", place / "log").prepare()


@as_root
def test_an_ordinary_user_starts_it_as_themselves(place: Path) -> None:
    os.chown(place, NOBODY.pw_uid, NOBODY.pw_gid)
    child = os.fork()
    if child == 0:
        # No reaper: its Python may lie where this user cannot enter.
        os.setgroups([])
        os.setgid(NOBODY.pw_gid)
        os.setuid(NOBODY.pw_uid)
        code = 1
        try:
            running = Running(embedded(place), cast("Reaper", Unwatched()))
            code = 0 if running.query("SELECT 1") == 1 else 2
            running.stop()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (place / "postgres" / "data").stat().st_uid == NOBODY.pw_uid


def test_without_the_package_the_binaries_of_the_machine_are_taken(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = find_binaries(None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert find_binaries(None, {"PORTAL_PG_BINDIR": str(real)}) == real
    with pytest.raises(NotStarted, match="PORTAL_PG_BINDIR has no initdb") as refusal:
        find_binaries(None, {"PORTAL_PG_BINDIR": str(place)})
    assert "Set PORTAL_PG_BINDIR to their folder" in str(refusal.value)


@as_root
def test_binaries_in_a_closed_home_are_passed_over(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = place / "home"
    home.mkdir(mode=0o700)
    for name in postgres.NEEDED_BINARIES:
        (home / name).touch(mode=0o755)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NotStarted, match=r"lies under .*/home, which the user nobody may not enter"):
        find_binaries(User("nobody", NOBODY.pw_uid, NOBODY.pw_gid), {"PORTAL_PG_BINDIR": str(home)})


@pytest.mark.parametrize(
    ("address", "other", "asyncpg"),
    [
        (
            "postgresql://postgres@/portal?host=/data/socket",
            "postgresql://postgres@/other?host=/data/socket",
            "postgresql+asyncpg://postgres@/other?host=%2Fdata%2Fsocket&port=5432",
        ),
        (
            "postgresql://me:p%40ss@db.example:5433/portal?sslmode=require",
            "postgresql://me:p%40ss@db.example:5433/other?sslmode=require",
            "postgresql+asyncpg://me:p%40ss@db.example:5433/other?ssl=require",
        ),
        ("postgresql:///portal", "postgresql:///other", "postgresql+asyncpg:///other"),
    ],
)
def test_addresses_of_further_databases(address: str, other: str, asyncpg: str) -> None:
    assert Server(address).url("other") == other
    assert Server(address).asyncpg_url("other") == asyncpg
    assert Server(address).main_database == "portal"


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(NotStarted, match=r"Postgres at 127\.0\.0\.1:9 does not answer") as refusal:
        Server("postgresql://me:very-secret@127.0.0.1:9/portal").create("other")
    assert "very-secret" not in str(refusal.value)
