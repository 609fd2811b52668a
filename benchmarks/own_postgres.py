"""A Postgres for one benchmark: started, given an empty database, and stopped."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portal.demo.postgres import FAST_AND_LOOSE, Embedded, Server
from portal.demo.processes import Reaper
from portal.demo.supervisor import Part, Supervisor


@contextmanager
def own_postgres(data: Path | None = None, *, options: tuple[str, ...] = ()) -> Iterator[Server]:
    """Run a Postgres with an empty main database, in a folder that is removed at the end, or in `data`, which stays."""
    with tempfile.TemporaryDirectory(prefix="portal-bench-") as name:
        temporary = Path(name)
        temporary.chmod(0o711)  # Postgres may run as another user, who has to pass through here
        folder = data or temporary
        embedded = Embedded(folder / "postgres", folder / "postgres.log", options=(*FAST_AND_LOOSE, *options))
        server = embedded.prepare()
        supervisor = Supervisor([Part(embedded.program(server))], Reaper(name), lambda line: None)
        supervisor.start()
        try:
            server.create(server.main_database)
            yield server
        finally:
            supervisor.stop()
            embedded.forget_socket()


def module(name: str, *arguments: str, database: str, **settings: str) -> int:
    """Run a module of `benchmarks` beside a database, and return its exit code."""
    return run(f"benchmarks.{name}", *arguments, database=database, **settings)


def run(name: str, *arguments: str, database: str, **settings: str) -> int:
    """Run a module by its full name beside a database, and return its exit code."""
    # A process of its own: Django reads where its database is when it is imported.
    environment = os.environ | {
        "PORTAL_MODE": "test",
        "DATABASE_URL": database,
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        **settings,
    }
    words = [sys.executable, "-m", name, *arguments]
    return subprocess.run(words, env=environment, check=False).returncode


def run_module(name: str, *arguments: str, **settings: str) -> int:
    """Run a module of `benchmarks` beside an empty database, and return its exit code."""
    with own_postgres() as server:
        return module(name, *arguments, database=server.url(server.main_database), **settings)
