"""The processor time of an event with 10 and with 1,000 event rules: `python -m benchmarks.event_rules`.

In a Postgres that it starts and stops.
"""

from __future__ import annotations

import sys

from benchmarks.own_postgres import run_module

if __name__ == "__main__":
    sys.exit(run_module("event_rule_rates"))
