"""The whole product for the end-to-end tests: web, background tasks and follower on the run's Postgres and Prefect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.db import connection
from psycopg import sql

from portal.stack.ports import next_free
from portal.stack.postgres import Server
from portal.stack.processes import ROOT, Program, Warden, inherited
from portal.stack.supervisor import Part, Supervisor

PASSWORD = "portal-demo"


@dataclass(frozen=True)
class Portal:
    """A running portal: `address` ends without a slash."""

    address: str
    database: str
    settings: dict[str, str]
    folder: Path

    def manage(self, *arguments: str, code: int = 0) -> str:
        """Run a management command beside it; the standard output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=inherited() | self.settings,
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
    """Look until there is something to see."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.2)
    raise AssertionError(f"{seconds} s passed without {what}.")


@pytest.fixture(scope="session")
def portal(
    prefect_server: Any,
    database_server: Server,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Portal]:
    """Pipelines published, the demo's cast made, everything running."""
    folder = tmp_path_factory.mktemp("portal")
    name = f"e2e_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{os.getpid()}"
    with psycopg.connect(database_server.url("postgres"), autocommit=True) as session:
        session.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(migrated_template))
        )
    database = database_server.url(name)
    port = next_free(0)
    settings = {"DATABASE_URL": database, "PORTAL_MODE": "demo"}
    environment = inherited() | settings
    publish(prefect_server, folder)
    auth = {"PORTAL_DEMO_AUTH_DEV": prefect_server.auth, "PORTAL_DEMO_AUTH_PROD": prefect_server.auth}
    portal = Portal(f"http://127.0.0.1:{port}", database, settings | auth, folder)
    portal.manage("clock")
    pairs = [f"--environment={slug}={prefect_server.api_url}" for slug in ("dev", "prod")]
    portal.manage("demo_cast", *pairs)
    keeper = Warden(str(folder))
    uvicorn = ("-m", "uvicorn", "portal.asgi:application", "--port", str(port), "--timeout-graceful-shutdown", "3")
    supervisor = Supervisor(
        [
            Part(
                Program(
                    name="web",
                    command=(sys.executable, *uvicorn),
                    log=folder / "web.log",
                    environment=environment | {"PORTAL_PROCESS": "web"},
                    ready=lambda: answers(portal.address),
                    waits_for="the sign-in page",
                )
            ),
            *(
                Part(
                    Program(
                        name=command,
                        command=(sys.executable, "manage.py", command),
                        log=folder / f"{command}.log",
                        environment=environment,
                        ready=lambda: True,
                        waits_for="nothing",
                    )
                )
                for command in ("qcluster", "follow")
            ),
        ],
        keeper,
        lambda line: None,
    )
    try:
        supervisor.start()
        yield portal
    finally:
        supervisor.stop()
        keeper.dismiss()
        connection.close()
        with psycopg.connect(database_server.url("postgres"), autocommit=True) as session:
            session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def publish(prefect_server: Any, folder: Path) -> None:
    environment = inherited() | {
        "PREFECT_API_URL": prefect_server.api_url,
        "PREFECT_API_AUTH_STRING": prefect_server.auth,
        "PREFECT_HOME": str(folder / "prefect"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "flows.deploy", "--pool", prefect_server.work_pool],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/admin/login/", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="session")
def accounts() -> dict[str, str]:
    return dict.fromkeys(("vera", "otto", "anna", "ada", "axel"), PASSWORD)


def parsed(text: str) -> Any:
    return json.loads(text)
