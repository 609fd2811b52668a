"""How fast the audit trail is verified and written: `python -m benchmarks.audit`, in a Postgres it starts and stops."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from portal.demo.postgres import FAST_AND_LOOSE, Embedded
from portal.demo.processes import Reaper
from portal.demo.supervisor import Part, Supervisor


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    entries = parser.parse_args().entries
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
            environment = os.environ | {"PORTAL_MODE": "test", "DATABASE_URL": server.address}
            words = [sys.executable, "-m", "benchmarks.audit_rates", str(entries)]
            return subprocess.run(words, env=environment, check=False).returncode
        finally:
            supervisor.stop()


if __name__ == "__main__":
    sys.exit(main())
