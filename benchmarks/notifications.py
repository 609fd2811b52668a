"""The processor time of an end of a run with 1,000 notification rules: `python -m benchmarks.notifications`.

In a Postgres that it starts and stops.
"""

from __future__ import annotations

import sys

from benchmarks.own_postgres import run_module

if __name__ == "__main__":
    sys.exit(run_module("notification_rates"))
