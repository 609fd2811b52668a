"""What each page costs in processor time, of the portal and of Postgres: `python -m benchmarks.page_costs FILE`.

Times of a clock say little on a busy machine; the processor time of one request is nearly the same. Pages are asked for
in this process, and the time of the database is that of its backend, as Linux counts it. The elements of a page are
counted too: one that shows more in a larger database takes longer for that reason alone.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402  (Django must be set up before)
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402

from benchmarks.page_questions import READERS, page_paths, subjects  # noqa: E402

# The best of these counts: the first one fills caches.
TRIES = 4
ELEMENT = re.compile(rb"<[a-z]")


def main(file: Path) -> None:
    pages = {name: "/admin/" + path for name, path in page_paths(subjects()).items()}
    file.write_text(json.dumps({reader: costs(reader, pages) for reader in READERS}))


def costs(reader: str, pages: dict[str, str]) -> dict[str, dict[str, float]]:
    """Return page -> milliseconds of the portal and of Postgres, and the number of its elements."""
    client = Client()
    client.force_login(User.objects.get(username=reader))
    found = {}
    for name, path in pages.items():
        tries = [cost(client, path) for _ in range(TRIES)]
        portal, postgres, elements = min(tries, key=lambda each: each[0] + each[1])
        found[name] = {"portal": round(portal, 1), "postgres": round(postgres, 1), "elements": elements}
    return found


def cost(client: Client, path: str) -> tuple[float, float, int]:
    before, began = backend_milliseconds(), time.process_time()
    response = client.get(path)
    if response.status_code != 200:
        raise SystemExit(f"{path}: {response.status_code}")
    portal, postgres = (time.process_time() - began) * 1000, backend_milliseconds() - before
    return portal, postgres, len(ELEMENT.findall(response.content))


def backend_milliseconds() -> float:
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


if __name__ == "__main__":
    main(Path(sys.argv[1]))
