"""Decide which flow runs to read: those that were named, or all that may have changed.

Prefect has no “changed since” filter. A sweep lists the active runs and those that ended since the last sweep, and
reads by id what should be active but was not listed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import batched, chain
from uuid import UUID

from django.utils import timezone

from flows.catalog import health
from flows.encryption import DecryptionError
from flows.models import Environment
from flows.prefect_api import connect
from flows.prefect_api.records import FlowRunRecord, PrefectError
from flows.shared_servers import read_together
from runs import stalls
from runs.mirror import first_reading
from runs.mirror.details import fetch_details, tail_logs, with_open_logs, without_details
from runs.mirror.families import upsert_families
from runs.mirror.first_reading import Progress
from runs.mirror.owners import has_unknown
from runs.mirror.stalled_runs import context_of, mark_stalled
from runs.mirror.upsert import BATCH, mark_deleted
from runs.models import Run, RunRequest
from runs.models.run import ACTIVE

# Prefect's clock and this one differ, and a run may end while a sweep is reading.
OVERLAP = timedelta(minutes=2)
# How long a sweep is repeated from the same moment for runs of deployments that the catalog does not know.
BEHIND = timedelta(minutes=10)
# Runs whose details are announced together: each costs two calls, and people wait for the first.
DETAILS_AT_ONCE = 50


def refresh(environment: Environment, prefect_ids: Iterable[UUID]) -> int:
    """Read these flow runs with their states, tasks and logs; return how many Prefect still has."""
    found = refresh_state(environment, prefect_ids)
    for each in read_together(environment):
        fetch_details(each, found)
    return len(found)


def refresh_state(environment: Environment, prefect_ids: Iterable[UUID]) -> list[UUID]:
    """Read only the current state of these flow runs; return the ids that Prefect still has."""
    found: list[UUID] = []
    # In batches, so that the first of thousands are visible before the last was read.
    for wanted in batched(sorted(set(prefect_ids)), BATCH):
        records = connect.client_for(environment.server).flow_runs(wanted)
        upsert_families(environment, records)
        here = [record.id for record in records]
        for each in read_together(environment):
            mark_deleted(each, set(wanted).difference(here))
        found += here
    return found


def read_stall(run: Run) -> str:
    """Read a run from Prefect, also into `run`; return how it is stalled now, empty if it is not."""
    refresh(run.environment, [run.prefect_id])
    run.refresh_from_db()
    return stalls.stall_of(run, context_of(run.environment, timezone.now()))[0]


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep read: how many runs, whether it is part of a first reading, and how far that is."""

    count: int
    is_first: bool
    progress: Progress

    @property
    def is_complete(self) -> bool:
        return self.progress == Progress.DONE


def sync(environment: Environment) -> int:
    """Read all active runs and those that ended since the last sweep, then their details; return how many.

    The first time it reads all runs, which can take hours. Raises `PrefectError` after recording it in the health of
    the server.
    """
    count = 0
    while not (swept := sync_step(environment)).is_complete:
        count += swept.count
        if swept.progress == Progress.ELSEWHERE:
            time.sleep(1)
    return count + swept.count


def sync_step(environment: Environment) -> Swept:
    """Sync as `sync` does, but of a first reading only the next step."""
    swept = sync_states(environment)
    for each in read_together(environment) if swept.is_complete else ():
        sync_details(each, is_first=swept.is_first)
    return swept


def sync_states(environment: Environment) -> Swept:
    """Read the states of all active runs and of those that ended since the last sweep.

    The first time, of the others a step: see `runs.mirror.first_reading`.
    """
    # 1. Since when. Noted before reading, so that nothing that ends meanwhile is missed.
    now = timezone.now()
    environments = read_together(environment)
    runs_synced_at = health.runs_synced_at(environment)
    is_first = runs_synced_at is None
    last = runs_synced_at or health.first_reading(environment, now).history_recent_at or now
    count, is_behind = 0, False
    with recorded_failure(environment):
        # 2. What Prefect lists. One batch in memory at a time.
        client = connect.client_for(environment.server)
        listed = chain(client.active_flow_runs(), client.flow_runs_ended_since(last - OVERLAP))
        for page in batched(listed, BATCH):
            upsert_families(environment, once(page))
            count += len(page)
            is_behind |= has_unknown(environments, page, now - BEHIND)
        # 3. What is active here and was not listed, so that it was not written since, ended long ago or was deleted:
        #    read it by id.
        held = Run.objects.filter(
            environment__in=environments, state_type__in=ACTIVE, deleted_upstream_at=None, synced_at__lt=now
        )
        awaited = RunRequest.objects.filter(
            environment__in=environments, flow_run_id__isnull=False, run=None, state=RunRequest.State.LAUNCHED
        )
        missing = {*held.values_list("prefect_id", flat=True), *awaited.values_list("flow_run_id", flat=True)}
        count += len(refresh_state(environment, [pk for pk in missing if pk]))
        # 4. Only after all of them: a sweep that fails is repeated from the same moment. So is one with runs that could
        #    not be assigned yet, for as long as the catalog may need.
        if not is_first:
            health.note_runs_synced(environment, max(last, now - BEHIND) if is_behind else now)
            return Swept(count, is_first, Progress.DONE)
        health.note_recent(environment, now)
        return Swept(count, is_first, first_reading.read_some(environment, now))


def sync_details(environment: Environment, *, is_first: bool = False) -> None:
    """Read the details of what a sweep found, and what that says of stalled runs.

    Apart from the states, because each run costs two calls. What is not reached is found by the next sweep.
    """
    with recorded_failure(environment):
        for some in batched(without_details(environment), DETAILS_AT_ONCE):
            fetch_details(environment, some)
    sync_activity(environment, is_first=is_first)


def sync_activity(environment: Environment, *, is_first: bool = False) -> None:
    """Read what the active runs have logged, and mark those that are stalled: old readings stall nothing."""
    with recorded_failure(environment):
        tail_logs(environment, list(with_open_logs(environment)))
    mark_stalled(environment, is_first=is_first)


@contextmanager
def recorded_failure(environment: Environment) -> Iterator[None]:
    """Record a failed reading in the health of the server."""
    try:
        yield
    except (PrefectError, DecryptionError) as error:
        health.record_failed_reading(environment.server, error, "runs_failure")
        raise


def once(page: Iterable[FlowRunRecord]) -> list[FlowRunRecord]:
    """Return the last reading of each run: one that ends between two listings is in both."""
    return list({record.id: record for record in page}.values())
