"""How long the page of a run takes, and its size: `python -m benchmarks.run_page`, in a Postgres it starts and stops.

For runs with few and with thousands of task runs and a log of 100,000 lines: the page as it is opened, the update that
an open page fetches, its graph with one band open, and the log around a line. Prints each beside the smallest run.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.own_postgres import run_module


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--lines", type=int, default=100_000, help="log lines of each run but the first")
    options = parser.parse_args()
    return run_module("run_page_times", str(options.rounds), str(options.lines))


if __name__ == "__main__":
    sys.exit(main())
