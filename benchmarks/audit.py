"""How fast the audit trail is verified and written: `python -m benchmarks.audit`, in a Postgres it starts and stops."""

from __future__ import annotations

import argparse
import sys

from benchmarks.own_postgres import run_module


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    return run_module("audit_rates", str(parser.parse_args().entries))


if __name__ == "__main__":
    sys.exit(main())
