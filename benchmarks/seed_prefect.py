"""Fills an empty Prefect database, version 3.9.1, on Postgres with the deployments and runs of the seeded portal."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from benchmarks import seed_steps
from benchmarks.seed_steps import Progress, Size


def main(database: str, for_prefect: str, home: Path, runs: int) -> None:
    """Make Prefect's tables and fill them; `for_prefect` is the address of `database` as Prefect takes it."""
    progress = Progress(f"Prefect, {runs:,} runs")
    with progress.step("migrations"):
        subprocess.run(
            [Path(sys.executable).parent / "prefect", "server", "database", "upgrade", "-y"],
            env=os.environ | {"PREFECT_HOME": str(home), "PREFECT_SERVER_DATABASE_CONNECTION_URL": for_prefect},
            check=True,
            capture_output=True,
        )
    with psycopg.connect(database, autocommit=True) as raw:
        seed_steps.prepare(raw)
        seed_steps.draft(raw, Size.of(runs, datetime.now(UTC).replace(microsecond=0)), progress)
        seed_steps.run(raw, "seed_prefect.sql", progress)
        with progress.step("statistics"):
            raw.execute("VACUUM (ANALYZE)")
