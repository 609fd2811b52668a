"""Read all runs of an environment for the first time, in steps: where there are a million that takes hours.

It goes from the newest run to the oldest. Its position is stored after each batch, so that what is interrupted goes on
from there: a batch whose position was not stored is read again, and an upsert doubles nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import batched

from django.conf import settings
from django.db import connection

from flows.catalog import health
from flows.models import Environment
from flows.prefect_api import connect
from flows.shared_servers import read_together
from runs.mirror import external_runs
from runs.mirror.families import upsert_families
from runs.mirror.upsert import BATCH

# A step is part of a sweep, which may take a minute; in between active runs are read.
STEP_SECONDS = 20.0
# First key of the advisory lock; any constant that nothing else uses.
HISTORY_LOCK = 0x68697374


class Progress(StrEnum):
    DONE = "done"
    MORE = "more"
    # Another process is reading.
    ELSEWHERE = "elsewhere"


def read_some(environment: Environment, now: datetime) -> Progress:
    """Read the next runs for up to `STEP_SECONDS`, at least one batch.

    After the last one, record that all runs are read as of `now`: active runs, and those that ended since this began,
    were read just before.
    """
    deadline = time.monotonic() + STEP_SECONDS
    with only_reader(environment) as is_only:
        if not is_only:
            return Progress.ELSEWHERE
        if health.runs_synced_at(environment):
            return Progress.DONE
        # 1. From where the step before has stopped. Inclusive, because runs can share the time.
        reading = health.first_reading(environment, now)
        begun_at, start = reading.history_begun_at or now, reading.history_position or now
        since = begun_at - timedelta(days=settings.HISTORY_DAYS)
        # 2. The position only after the rows: what is lost by a kill is read again.
        for page in batched(connect.client_for(environment.server).flow_runs_ended_since(since, until=start), BATCH):
            new = upsert_families(environment, page)
            position = min(run.ended_at or begun_at for run in page)
            if not health.note_history(environment, position, len(new)):
                return Progress.DONE  # another environment has taken the server over
            # Never from the same time again, however many share it.
            if position < start and time.monotonic() > deadline:
                return Progress.MORE
        # 3. One entry in the audit trail for all of it.
        for each in read_together(environment):
            external_runs.record_first_history(each)
        health.note_runs_synced(environment, now)
        return Progress.DONE


@contextmanager
def only_reader(environment: Environment) -> Iterator[bool]:
    """Say whether this session is the only one that reads: the follower and the background tasks both do.

    A lock of the session, which ends with a process that is killed.
    """
    # All that read into one server are one reader.
    key = [HISTORY_LOCK, read_together(environment)[0].pk]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", key)
        is_only = cursor.fetchone() == (True,)
    try:
        yield is_only
    finally:
        if is_only:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", key)
