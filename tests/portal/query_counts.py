"""Counts the queries of a page, and holds them against the numbers that were agreed on."""

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.expectations import load


def count(client: Client, url: str) -> int:
    """How many queries a page takes that was opened once before: what is cached for a process does not count."""
    assert client.get(url).status_code == 200
    with CaptureQueriesContext(connection) as queries:
        assert client.get(url).status_code == 200
    return len(queries)


def must_be_agreed(page: str, found: int) -> None:
    """Exactly the number in tests/expectations/query_counts.json: fewer is good news that should be kept, too."""
    agreed = load("query_counts").get(page)
    assert found == agreed, f"{page} takes {found} queries, agreed are {agreed}: see query_counts.json."
