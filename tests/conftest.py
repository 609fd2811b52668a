"""What tests share: one Postgres, one Prefect server with a worker, one browser, whatever number of processes test."""

import contextlib
import fcntl
import gc
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from hypothesis import settings as hypothesis_settings
from psycopg import sql
from pytest_django.plugin import DjangoDbBlocker
from xdist.scheduler import LoadScopeScheduling

from portal.demo import postgres, processes
from portal.demo.ports import next_free
from portal.demo.postgres import Embedded, Server
from portal.demo.prefect_server import PrefectServer
from portal.demo.processes import NotStarted, Reaper
from portal.demo.supervisor import Part, Supervisor

FOLDER = "PORTAL_TEST_FOLDER"
WORK_POOL = "test-pool"
PREFECT_PATIENCE = 240
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# The same examples in each run: a red run is then about the change. `make proof` searches for new ones.
hypothesis_settings.register_profile("repeatable", derandomize=True)
hypothesis_settings.register_profile("search", derandomize=False, print_blob=True)
hypothesis_settings.load_profile("repeatable")


@dataclass(frozen=True, slots=True)
class Prefect:
    """A real Prefect server with a running process worker, whose working folder is the repository."""

    api_url: str
    auth: str = field(repr=False)
    work_pool: str


class Services:
    """Everything this test session starts; only the process that the developer started has one."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="portal-tests-"))
        # Postgres may run as another user, who has to pass through here to its own folder.
        self.folder.chmod(0o711)
        self._reaper = Reaper(str(self.folder))
        self._postgres: Supervisor | None = None
        self._prefect: Supervisor | None = None
        self._thread: threading.Thread | None = None
        self.server = self._start_postgres()

    def _start_postgres(self) -> Server:
        if address := os.environ.get("DATABASE_URL"):
            return Server(address)
        embedded = Embedded(self.folder / "postgres", self.folder / "postgres.log", options=postgres.FAST_AND_LOOSE)
        server = embedded.prepare()
        self._postgres = Supervisor([Part(embedded.program(server))], self._reaper, lambda line: None)
        self._postgres.start()
        return server

    def start_prefect(self) -> None:
        """Begin in the background, so that tests that need no Prefect run meanwhile."""
        if self._prefect or "PORTAL_TEST_PREFECT_URL" in os.environ:
            return
        database = f"prefect_{self.folder.name}"
        self.server.create(database)
        prefect = PrefectServer(
            name="test",
            port=next_free(0),
            auth="portal:for-tests-only",
            database=self.server.asyncpg_url(database),
            home=self.folder / "prefect",
            logs=self.folder,
            has_pages=False,
            python=os.environ.get("PORTAL_TEST_PREFECT_PYTHON", sys.executable),
        )
        parts = [Part(prefect.server()), Part(prefect.worker(WORK_POOL), needs=(prefect.server_name,))]
        supervisor = self._prefect = Supervisor(parts, self._reaper, lambda line: None)

        def start() -> None:
            try:
                if supervisor.start():
                    (self.folder / "prefect.json").write_text(json.dumps([prefect.api_url, prefect.auth, WORK_POOL]))
            except NotStarted as error:
                (self.folder / "prefect.failed").write_text(str(error))

        self._thread = threading.Thread(target=start, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._prefect and self._thread:
            # Nothing here is worth a peaceful end.
            self._prefect.ask_to_stop()
            self._prefect.ask_to_stop()
            self._thread.join()
            self._prefect.stop()
        if self._postgres:
            self._postgres.stop()
        else:
            self._drop_databases()
        self._reaper.dismiss()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _drop_databases(self) -> None:
        with psycopg.connect(self.server.address, autocommit=True) as session:
            others = session.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"%{self.folder.name}%"])
            for (name,) in others.fetchall():
                session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


services = pytest.StashKey[Services]()


# What starts a portal for all its tests is one piece of work; everything else is one a file.
END_TO_END = "tests/e2e/"
# What takes longest begins first: whoever gets it last would keep everybody waiting at the end.
SLOW = (
    *(END_TO_END, "tests/demo/test_documented_commands.py", "tests/demo/test_demo.py", "tests/test_compose.py"),
    "tests/portal/test_every_address.py",
    *("tests/governance/", "tests/crm/", "tests/flows/prefect_api/test_contract.py"),
)


# marker -> where the tests are that `make quick` leaves out; those that use a real Prefect server are marked by that.
MARKED = {
    "e2e": (END_TO_END, "tests/portal/test_accessibility.py"),
    "stack": ("tests/demo/", "tests/test_compose.py"),
    "ml": ("tests/crm/",),
    "matrix": (
        *("tests/governance/test_permission_matrix.py", "tests/governance/test_side_doors.py"),
        *("tests/governance/test_races.py", "tests/governance/test_time_zones.py"),
        *("tests/portal/test_every_address.py", "tests/portal/test_bad_input.py", "tests/runs/test_row_versions.py"),
    ),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker, places in MARKED.items():
            if item.nodeid.startswith(places):
                item.add_marker(marker)
        if "prefect_server" in getattr(item, "fixturenames", ()):
            item.add_marker("prefect")
    items.sort(key=lambda item: next((n for n, slow in enumerate(SLOW) if item.nodeid.startswith(slow)), len(SLOW)))


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
    """A file's tests to one process, so that what they share is made once."""

    def _split_scope(self, nodeid: str) -> str:
        return END_TO_END if nodeid.startswith(END_TO_END) else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    config.option.loadscopereorder = False  # the order above is the order
    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and not config.getoption("help"):
        started = config.stash[services] = Services()
        os.environ |= {
            FOLDER: str(started.folder),
            "DATABASE_URL": started.server.url(started.server.main_database),
            "PORTAL_MODE": "test",
            "DJANGO_SETTINGS_MODULE": "portal.settings",
        }
    # What is made while pages are rendered lives for a moment: looking for rings in it takes a tenth of the time.
    gc.set_threshold(100_000, 20, 100)
    # Touched only now that the database is known; pytest-django sets Django up after this.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def pytest_sessionstart(session: pytest.Session) -> None:
    # Its imports need Django set up, which is too much for `pytest_plugins`.
    session.config.pluginmanager.import_plugin("tests.cast")
    session.config.pluginmanager.import_plugin("tests.portal.api.programs")
    session.config.pluginmanager.import_plugin("tests.portal.trusted_jobs")
    session.config.pluginmanager.import_plugin("tests.portal.client.in_process")


def pytest_unconfigure(config: pytest.Config) -> None:
    if started := config.stash.get(services, None):
        started.stop()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    if any("prefect_server" in getattr(item, "fixturenames", ()) for item in session.items):
        if started := session.config.stash.get(services, None):
            started.start_prefect()
        else:
            (_folder() / "prefect.wanted").touch()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: object) -> None:
    config: pytest.Config = node.config  # type: ignore[attr-defined]  # xdist is untyped
    started = config.stash[services]
    if (started.folder / "prefect.wanted").exists():
        started.start_prefect()


def _folder() -> Path:
    return Path(os.environ[FOLDER])


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def database_server() -> Server:
    return Server(os.environ["DATABASE_URL"])


@contextlib.contextmanager
def _database(server: Server, name: str, *, template: str) -> Iterator[str]:
    """A copy of the migrated database, which Django and every process started meanwhile use."""
    before = connection.settings_dict["NAME"], os.environ["DATABASE_URL"]
    with psycopg.connect(server.url("postgres"), autocommit=True) as session:
        session.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    connection.close()
    connection.settings_dict["NAME"] = name
    os.environ["DATABASE_URL"] = server.url(name)
    try:
        yield server.url(name)
    finally:
        connection.close()
        connection.settings_dict["NAME"], os.environ["DATABASE_URL"] = before
        with psycopg.connect(server.url("postgres"), autocommit=True) as session:
            session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def migrated_template(
    database_server: Server, django_test_environment: None, django_db_blocker: DjangoDbBlocker
) -> str:
    """The name of a database with every migration applied; the first test process that needs it makes it.

    PORTAL_TEST_TEMPLATE names one that is ready: `tests.sabotage` migrates once for many test runs.
    """
    if ready := os.environ.get("PORTAL_TEST_TEMPLATE"):
        return ready
    template = f"template_{_folder().name}"
    with _one_at_a_time(_folder() / "template.lock"), django_db_blocker.unblock():
        if not (_folder() / "template.made").exists():
            database_server.create(template)
            before = connection.settings_dict["NAME"]
            connection.close()
            connection.settings_dict["NAME"] = template
            call_command("migrate", verbosity=0, interactive=False)
            connection.close()
            connection.settings_dict["NAME"] = before
            (_folder() / "template.made").touch()
    return template


@pytest.fixture(scope="session")
def django_db_setup(database_server: Server, migrated_template: str) -> Iterator[None]:
    name = f"test_{_folder().name}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with _database(database_server, name, template=migrated_template):
        yield


@pytest.fixture
def own_database(
    database_server: Server, migrated_template: str, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """The address of a database for this test alone, where commits are real: append-only tables cannot be flushed."""
    name = f"own_{_folder().name}_{os.getpid()}_{time.monotonic_ns()}"
    with django_db_blocker.unblock(), _database(database_server, name, template=migrated_template) as address:
        yield address


@pytest.fixture(scope="session")
def prefect_server() -> Prefect:
    """Waits for the server that was started in the background when the tests were collected."""
    if address := os.environ.get("PORTAL_TEST_PREFECT_URL"):
        auth = os.environ.get("PORTAL_TEST_PREFECT_AUTH", "")
        return Prefect(address, auth, os.environ.get("PORTAL_TEST_PREFECT_POOL", WORK_POOL))
    deadline = time.monotonic() + PREFECT_PATIENCE
    while time.monotonic() < deadline:
        if (_folder() / "prefect.json").exists():
            return Prefect(*json.loads((_folder() / "prefect.json").read_text()))
        if (_folder() / "prefect.failed").exists():
            pytest.fail((_folder() / "prefect.failed").read_text())
        time.sleep(0.2)
    pytest.fail(f"Prefect did not start in {PREFECT_PATIENCE} s. A test must name the fixture among its arguments.")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser for Playwright's `executable_path`."""
    for name in BROWSERS:
        if found := os.environ.get("PORTAL_CHROMIUM") or shutil.which(name):
            return found
    if os.environ.get("CI"):
        pytest.fail("No Chromium here, and without it the pages would go untested.")
    pytest.skip("No Chromium here: install it, or set PORTAL_CHROMIUM to its path.")


@pytest.fixture(scope="session")
def repository() -> Path:
    return processes.ROOT
