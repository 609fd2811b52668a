"""Write the rows of runs: one statement and one parameter, however many there are.

Django's own bulk insert has a parameter for each value, 7,000 for 200 runs, and most of its time went into the text of
that statement: `unnest`, which it uses elsewhere, cannot take the tags, which are an array.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from runs.models import Run

KEY = ["environment", "prefect_id"]
# What a reading of a run does not know, and would reset.
OWN = {"id", "created_by_portal", "detailed_at", "active_at", "stalled_kind", "stalled_since"}
INSERTED = [f for f in Run._meta.concrete_fields if f.name != "id" and not f.generated]
UPDATED = [f for f in INSERTED if f.name not in OWN.union(KEY)]
COMPARED = [f.attname for f in UPDATED if f.name != "synced_at"]

NAMES = ", ".join(str(f.column) for f in INSERTED)
NEW_VALUES = ", ".join(f"{f.column} = excluded.{f.column}" for f in UPDATED)
# json and not jsonb: a value reaches its column as it is spelled, without a detour through jsonb's numbers.
UPSERT = f"""
    INSERT INTO runs_run ({NAMES}) SELECT {NAMES} FROM json_populate_recordset(NULL::runs_run, %s::json)
    ON CONFLICT (prefect_id, environment_id) DO UPDATE SET {NEW_VALUES}
"""


def write(rows: Iterable[Run], known: Mapping[UUID, Run], now: datetime) -> None:
    """Insert these runs, or update what a reading knows of them; `known` are the rows of before, by Prefect's id.

    The caller holds the mirror's lock, has compared the states, and has made the values storable.
    """
    # A sweep lists all active runs, and most are as they were: a new time of reading touches no index.
    by_news: dict[bool, list[Run]] = {True: [], False: []}
    for row in rows:
        by_news[has_news(row, known.get(row.prefect_id))].append(row)
    Run.objects.filter(pk__in=[known[row.prefect_id].pk for row in by_news[False]]).update(synced_at=now)
    if not by_news[True]:
        return
    records = [{f.column: spelled(getattr(row, f.attname)) for f in INSERTED} for row in by_news[True]]
    with connection.cursor() as cursor:
        # What is left are times and UUIDs, which Postgres reads as Python writes them.
        cursor.execute(UPSERT, [json.dumps(records, default=str)])


def has_news(row: Run, known: Run | None) -> bool:
    """Return whether a reading differs from the row of before in anything but its time."""
    return known is None or any(getattr(row, name) != getattr(known, name) for name in COMPARED)


def spelled(value: Any) -> Any:
    """Return a value as JSON can hold it: a duration can be infinite or not a number, which JSON knows only as text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
