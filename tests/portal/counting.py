"""Counts the queries of a page, and holds them against the numbers that were agreed on."""

import json
from pathlib import Path

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

AGREED = Path(__file__).with_name("query_counts.json")


def count(client: Client, url: str) -> int:
    """How many queries a page takes that was opened once before: what is cached for a process does not count."""
    assert client.get(url).status_code == 200
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return len(queries)


def must_be_agreed(page: str, found: int) -> None:
    """Exactly the number in query_counts.json: fewer is good news that should be kept, too."""
    agreed = json.loads(AGREED.read_text()).get(page)
    assert found == agreed, f"{page} takes {found} queries, agreed are {agreed}: see {AGREED.name}."
