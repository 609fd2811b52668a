"""What it costs to copy from a large Prefect: `python -m benchmarks.mirror`, in a Postgres it starts.

- the first reading of an environment: time, memory
- 2,000 state changes at once, half of them of requested runs: the time until all are in Postgres
- the same with the follower up, when half of the events are lost; and 100 changes a second
- reading the deployments while nothing changes, with 200 and with 10,000

Prefect is a stub that answers at once, so that only the portal's part is measured. The figures are kept in
benchmarks/mirror.json.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.own_postgres import run_module


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=100_000, help="of the first reading")
    options = parser.parse_args()
    return run_module("mirror_rounds", str(options.runs), DJANGO_SETTINGS_MODULE="benchmarks.mirror_settings")


if __name__ == "__main__":
    sys.exit(main())
