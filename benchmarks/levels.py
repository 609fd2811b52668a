"""The processor time of evaluating service levels at 10,000 deployments: `python -m benchmarks.levels`.

In a Postgres that it starts and stops.
"""

from __future__ import annotations

import sys

from benchmarks.own_postgres import run_module

if __name__ == "__main__":
    sys.exit(run_module("level_rates"))
