"""How long the queue gets, and how long things wait in it: `python -m benchmarks.backlog`, in a Postgres it starts.

Everything is measured with real processes of `manage.py qcluster` and a Prefect that takes 100 ms for each call:

- the longest queue while 300 requests are open and Prefect answers 503
- from a request to its launch, alone and beside 150 refreshes
- the longest wait of a request while every few seconds one of the processes is killed
- what accepting a request costs
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from portal.demo.postgres import FAST_AND_LOOSE, Embedded
from portal.demo.processes import Reaper
from portal.demo.supervisor import Part, Supervisor


def main() -> int:
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
                "DJANGO_SETTINGS_MODULE": "benchmarks.stub_settings",
            }
            words = [sys.executable, "-m", "benchmarks.backlog_rounds", str(folder / "background.log")]
            return subprocess.run(words, env=environment, check=False).returncode
        finally:
            supervisor.stop()


if __name__ == "__main__":
    sys.exit(main())
