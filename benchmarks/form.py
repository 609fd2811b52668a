"""How long the run form takes and how large it is: `python -m benchmarks.form`, in a Postgres it starts and stops.

For forms of one kind of parameter and of all kinds together: the page, the page again with an error beside each input
that may have one, and the request that follows. Called as a browser calls the portal, without the network.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.own_postgres import run_module


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=500, help="inputs in each form")
    parser.add_argument("--only", default="", help="one kind, such as texts")
    options = parser.parse_args()
    return run_module("form_pages", str(options.rounds), str(options.count), options.only)


if __name__ == "__main__":
    sys.exit(main())
