"""A Postgres for one benchmark: started, given an empty database, and stopped."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from portal.demo.postgres import FAST_AND_LOOSE, Embedded
from portal.demo.processes import Reaper
from portal.demo.supervisor import Part, Supervisor


def run_module(module: str, *arguments: str, **settings: str) -> int:
    """Run a module of `benchmarks` beside an empty database, and return its exit code."""
    with tempfile.TemporaryDirectory(prefix="portal-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # Postgres may run as another user, who has to pass through here
        embedded = Embedded(folder / "postgres", folder / "postgres.log", options=FAST_AND_LOOSE)
        server = embedded.prepare()
        supervisor = Supervisor([Part(embedded.program(server))], Reaper(name), lambda line: None)
        supervisor.start()
        try:
            server.create(server.main_database)
            # A process of its own: Django reads where its database is when it is imported.
            environment = os.environ | {
                "PORTAL_MODE": "test",
                "DATABASE_URL": server.url(server.main_database),
                "DJANGO_SETTINGS_MODULE": "portal.settings",
                **settings,
            }
            words = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
            return subprocess.run(words, env=environment, check=False).returncode
        finally:
            supervisor.stop()
