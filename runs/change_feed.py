"""Tells pages that something changed: an id through NOTIFY, in the transaction that changed it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal

from django.db import connection

CHANNEL = "portal_live"
# A NOTIFY carries at most 8,000 bytes.
IDS_PER_NOTIFY = 500

Subject = Literal["run", "request", "environment"]


def publish(subject: Subject, ids: Iterable[int]) -> None:
    """Say that these rows changed; the pages read them again, with the reader's own permissions."""
    pks = sorted(set(ids))
    with connection.cursor() as cursor:
        for start in range(0, len(pks), IDS_PER_NOTIFY):
            payload = json.dumps({subject: pks[start : start + IDS_PER_NOTIFY]})
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
