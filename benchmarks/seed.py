"""Fill a database with a million runs and what belongs to them: `python -m benchmarks.seed --runs 1000000`.

2,000 deployments, 100,000 requests, 5,000,000 log lines, 1,000,000 audit entries and 10,000 grants come with a million
runs; fewer runs come with fewer of all. The states, names, tags, parameters and times are spread as in an installation
of 180 days. With DATABASE_URL it fills that database, which must be empty; without, a Postgres of its own in a folder
that is kept, and that `--serve` starts again.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from benchmarks.own_postgres import module, own_postgres
from portal.demo.processes import ROOT


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, default=ROOT / "var" / "seed", help="folder of its own Postgres")
    parser.add_argument("--serve", action="store_true", help="run that Postgres until Ctrl-C")
    options = parser.parse_args()
    if database := os.environ.get("DATABASE_URL"):
        return module("seed_rows", str(options.runs), database=database)
    options.data.mkdir(mode=0o711, parents=True, exist_ok=True)
    is_new = not (options.data / "postgres").exists()
    with own_postgres(options.data, options=("-c", "max_wal_size=4GB")) as server:
        address = server.url(server.main_database)
        if is_new and (code := module("seed_rows", str(options.runs), database=address)):
            return code
        if not options.serve:
            print(f"The database is in {options.data}; make seed ARGS=--serve runs its Postgres.")
            return 0
        print(f"Sign in as administrator, broad or narrow with the password portal-seed. Ctrl-C stops.\n{address}")
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    sys.exit(main())
