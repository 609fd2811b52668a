"""The whole product for the end-to-end tests: web, background tasks and follower, on a real Postgres and Prefect."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql

from portal.demo.ports import next_free
from portal.demo.postgres import Server
from portal.demo.prefect_server import PrefectServer
from portal.demo.processes import ROOT, Program, Reaper, inherited_environment, time_zone
from portal.demo.supervisor import Part, Supervisor
from tests.portal import sign_ons

PASSWORD = "portal-demo"
POOL = "prod-pool"


@dataclass(frozen=True)
class Portal:
    """A running portal: `address` ends without a slash."""

    address: str
    database: str
    settings: dict[str, str]
    folder: Path

    def manage(self, *arguments: str, code: int = 0) -> str:
        """Run a management command against its database; returns the standard output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=inherited_environment() | self.settings,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def client(self, name: str, *arguments: str, code: int = 0) -> str:
        """Run the command `portal` with the token of an account; returns the standard output."""
        token = (self.folder / "tokens" / name).read_text()
        done = subprocess.run(
            [sys.executable, "-m", "portal.client.command_line", *arguments],
            cwd=ROOT,
            env=inherited_environment() | {"PORTAL_ADDRESS": self.address, "PORTAL_TOKEN": token},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database, autocommit=True) as session:
            return session.execute(text, values).fetchall()


def wait_for[T](look: Callable[[], T], what: str, seconds: float = 60) -> T:
    """Call `look` until it returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.2)
    raise AssertionError(f"{seconds} s passed without {what}.")


@pytest.fixture(scope="package")
def portal(
    request: pytest.FixtureRequest,
    prefect_server: Any,
    database_server: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Portal]:
    """A running portal with the bundled flows deployed and the users of the demo; stopped after the last test.

    To write a test faster, let PORTAL_TEST_PORTAL_URL name a portal that is already running on DATABASE_URL.
    """
    folder = tmp_path_factory.mktemp("portal")
    if address := os.environ.get("PORTAL_TEST_PORTAL_URL"):
        database = database_server.address
        yield Portal(address, database, {"DATABASE_URL": database, "PORTAL_MODE": "demo"}, folder)
        return
    template = request.getfixturevalue("migrated_template")
    with (
        database_of(database_server, template) as database,
        sign_ons.provider() as issuer,
        running(prefect_server, database, folder, issuer) as portal,
    ):
        yield portal


@contextlib.contextmanager
def database_of(server: Server, template: str) -> Iterator[str]:
    name = f"e2e_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{os.getpid()}"
    made, dropped = "CREATE DATABASE {} TEMPLATE {}", "DROP DATABASE {} WITH (FORCE)"
    with psycopg.connect(server.url("postgres"), autocommit=True) as session:
        session.execute(sql.SQL(made).format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield server.url(name)
        finally:
            session.execute(sql.SQL(dropped).format(sql.Identifier(name)))


@contextlib.contextmanager
def running(prefect_server: Any, database: str, folder: Path, issuer: str) -> Iterator[Portal]:
    port = next_free(0)
    reaper = Reaper(str(folder))
    second = second_server(database, folder)
    # Its worker creates the pool into which the flows are published.
    production = Supervisor([Part(second.server()), Part(second.worker(POOL))], reaper, lambda line: None)
    production.start()
    servers = {"dev": prefect_server, "prod": second}
    for server, pool in ((prefect_server, prefect_server.work_pool), (second, POOL)):
        publish(server, pool, folder)
    auth = {f"PORTAL_DEMO_AUTH_{name.upper()}": server.auth for name, server in servers.items()}
    settings = {"DATABASE_URL": database, "PORTAL_MODE": "demo", **time_zone()}
    settings |= {f"PORTAL_{name}": value for name, value in sign_ons.settings_of(issuer).items()}
    portal = Portal(f"http://127.0.0.1:{port}", database, settings | auth, folder)
    portal.manage("sync_periodic")
    places = (f"--environment={name}={server.api_url}" for name, server in servers.items())
    portal.manage("demo_cast", *places, "--tokens", str(folder / "tokens"))
    begin_windows_in_twelve_hours(portal)
    uvicorn = ("uvicorn", "portal.asgi:application", "--port", str(port), "--timeout-graceful-shutdown", "3")
    commands = {
        "web": ("-m", *uvicorn),
        "qcluster": ("manage.py", "qcluster"),
        "follow": ("manage.py", "follow"),
    }
    parts = [
        Part(
            Program(
                name=name,
                command=(sys.executable, *command),
                log=folder / f"{name}.log",
                environment=inherited_environment()
                | settings
                | {"PORTAL_PROCESS": "web" if name == "web" else "command"},
                ready=(lambda: is_up(portal.address)) if name == "web" else lambda: True,
                waits_for="the sign-in page",
            )
        )
        for name, command in commands.items()
    ]
    supervisor = Supervisor(parts, reaper, lambda line: None)
    try:
        supervisor.start()
        yield portal
    finally:
        supervisor.stop()
        production.stop()
        reaper.dismiss()


def begin_windows_in_twelve_hours(portal: Portal) -> None:
    """Move the window in which the demo's production starts no runs away from the time of these tests."""
    hour = (datetime.now(UTC) + timedelta(hours=12)).hour
    assert portal.query("UPDATE runs_window SET cron = %s RETURNING name", f"0 {hour} * * *") == [("Weekly backup",)]


def second_server(database: str, folder: Path) -> PrefectServer:
    """Return the Prefect of prod: one server can be only one active environment."""
    server = Server(database)
    # Named after the folder of the session, which drops all databases of that name when it ends.
    name = f"prefect_prod_{Path(os.environ['PORTAL_TEST_FOLDER']).name}"
    server.create(name)
    return PrefectServer(
        name="prod",
        port=next_free(0),
        auth="portal:for-tests-only",
        database=server.asyncpg_url(name),
        home=folder / "prefect-prod",
        logs=folder,
        has_pages=False,
    )


def publish(prefect_server: Any, pool: str, folder: Path) -> None:
    environment = inherited_environment() | {
        "PREFECT_API_URL": prefect_server.api_url,
        "PREFECT_API_AUTH_STRING": prefect_server.auth,
        "PREFECT_HOME": str(folder / "prefect"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "flows.deploy", "--pool", pool],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def is_up(address: str) -> bool:
    try:
        return httpx.get(f"{address}/admin/login/", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def parsed(text: str) -> Any:
    return json.loads(text)
