"""Tells pages that something changed: an id through NOTIFY, in the transaction that changed it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal

from django.db import connection

CHANNEL = "portal_live"
# A NOTIFY carries at most 8,000 bytes.
IDS_A_NUDGE = 500

Subject = Literal["run", "request", "environment"]


def nudge(subject: Subject, ids: Iterable[int]) -> None:
    """Say that these rows changed; the pages read them again, with the reader's own permissions."""
    pks = sorted(set(ids))
    with connection.cursor() as cursor:
        for start in range(0, len(pks), IDS_A_NUDGE):
            payload = json.dumps({subject: pks[start : start + IDS_A_NUDGE]})
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
