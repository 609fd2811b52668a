"""How long the queue gets, and how long things wait in it: `python -m benchmarks.backlog`, in a Postgres it starts.

Everything is measured with real processes of `manage.py qcluster` and a Prefect that takes 100 ms for each call:

- the longest queue while 300 requests are open and Prefect answers 503
- from a request to its launch, alone and beside 150 refreshes
- the longest wait of a request while every few seconds one of the processes is killed
- what accepting a request costs
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.own_postgres import run_module


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="portal-bench-") as folder:
        log = Path(folder) / "background.log"
        return run_module("backlog_rounds", str(log), DJANGO_SETTINGS_MODULE="benchmarks.stub_settings")


if __name__ == "__main__":
    sys.exit(main())
