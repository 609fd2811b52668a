"""What the clock of the schedules costs: `python -m benchmarks.schedules`, in a Postgres it starts and stops.

A thousand hourly schedules, of which each is due once: the processor time of the portal and of its Postgres session for
an hour of looking, adding runs and inspecting, as a share of one core. The launches of the runs are not part of it.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.own_postgres import run_module


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="schedules")
    options = parser.parse_args()
    return run_module("schedule_rounds", str(options.count))


if __name__ == "__main__":
    sys.exit(main())
