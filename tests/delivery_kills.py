"""Deliveries while the processes that send them are killed: `python -m tests.delivery_kills`.

In a Postgres that it starts and stops, with processes of `manage.py qcluster`, to servers of this machine that answer
slowly, fail, ask to be left alone, close connections, or never answer:

- each delivery arrives, and is repeated only after a failure or an answer that nobody can have recorded
- what is repeated has the same id
- a channel that never answers delays no other
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.own_postgres import own_postgres, run


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--messages", type=int, default=20, help="to each channel, and to each person")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="portal-kills-") as folder, own_postgres() as server:
        log = str(Path(folder) / "background.log")
        words = (log, str(options.kills), str(options.messages))
        return run("tests.delivery_kill_rounds", *words, database=server.url(server.main_database))


if __name__ == "__main__":
    sys.exit(main())
