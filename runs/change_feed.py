"""Publish changed row ids with Postgres NOTIFY, inside the changing transaction.

Postgres delivers them at the commit, so a subscriber never reads a row that is not visible yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal

from django.db import connection

CHANNEL = "portal_live"
# A NOTIFY payload has at most 8,000 bytes.
IDS_PER_NOTIFY = 500

# "event": the position up to which events have one. "rights": something by which it is decided what somebody may see;
# the database announces most of these itself (`announce_rights` in runs/migrations/triggers.sql). "inbox": the users
# whose messages changed.
Subject = Literal["run", "request", "environment", "event", "rights", "inbox"]


def publish(subject: Subject, ids: Iterable[int]) -> None:
    """Announce that these rows changed. Only ids: subscribers read the rows with their own permissions."""
    pks = sorted(set(ids))
    with connection.cursor() as cursor:
        for start in range(0, len(pks), IDS_PER_NOTIFY):
            payload = json.dumps({subject: pks[start : start + IDS_PER_NOTIFY]})
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
