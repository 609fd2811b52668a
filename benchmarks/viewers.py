"""A hundred people with the list of runs open: `python -m benchmarks.viewers`, beside an empty database."""

from __future__ import annotations

import sys

from benchmarks.own_postgres import run_module

if __name__ == "__main__":
    sys.exit(run_module("viewer_rounds", *sys.argv[1:]))
