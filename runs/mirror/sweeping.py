"""Which flow runs are read: those that were named, or all that may have changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import batched
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from flows import connect, health
from flows.models import Environment
from flows.records import FlowRunRecord, PrefectError
from flows.vault import Sealed
from runs import arrivals
from runs.mirror.detailing import detail, growing, tail
from runs.mirror.keeping import BATCH, keep, mark_gone
from runs.models import Run, RunRequest
from runs.models.run import ACTIVE

# Prefect's clock and ours differ, and a run may end while a sweep is reading.
OVERLAP = timedelta(minutes=2)


def refresh(environment: Environment, prefect_ids: Iterable[UUID]) -> int:
    """Read these flow runs again, with their states, tasks and logs; returns how many Prefect still has."""
    found = glance(environment, prefect_ids)
    detail(environment, found)
    return len(found)


def glance(environment: Environment, prefect_ids: Iterable[UUID]) -> list[UUID]:
    """Read only what these flow runs are now; returns those that Prefect still has."""
    wanted = set(prefect_ids)
    if not wanted:
        return []
    records = connect.to(environment).flow_runs(list(wanted))
    keep(environment, records)
    found = [record.id for record in records]
    mark_gone(environment, wanted - set(found))
    return found


def sweep(environment: Environment) -> int:
    """Read every run that is not over and every one that ended since the last sweep; returns how many.

    Raises `PrefectError` after noting it in the health.
    """
    now = timezone.now()
    swept_at = health.of(environment).swept_at
    since = swept_at - OVERLAP if swept_at else now - timedelta(days=settings.HISTORY_DAYS)
    count = 0
    try:
        gateway = connect.to(environment)
        seen: set[UUID] = set()
        for page in batched(chain(gateway.active_flow_runs(), gateway.flow_runs_ended_since(since)), BATCH):
            seen |= {record.id for record in page}
            changed = keep(environment, page)
            detail(environment, [run.prefect_id for run in changed if worth_detail(run, now)])
            count += len(page)
        # What we hold open and Prefect did not list has ended long ago or is gone: ask for it by id.
        held = Run.objects.filter(environment=environment, state_type__in=ACTIVE, gone_at=None)
        awaited = RunRequest.objects.filter(environment=environment, flow_run_id__isnull=False, run=None)
        missing = {*held.values_list("prefect_id", flat=True), *awaited.values_list("flow_run_id", flat=True)} - seen
        count += refresh(environment, [pk for pk in missing if pk])
        tail(environment, list(growing(environment)))
    except (PrefectError, Sealed) as error:
        health.note_error(environment, error)
        raise
    if swept_at is None:
        arrivals.adopt(environment)
    health.note_swept(environment, now)
    return count


def chain(*sources: Iterator[FlowRunRecord]) -> Iterator[FlowRunRecord]:
    """The runs of several listings, each once: one that ends between two listings is in both."""
    seen: set[UUID] = set()
    for source in sources:
        for record in source:
            if record.id not in seen:
                seen.add(record.id)
                yield record


def worth_detail(run: Run, now: datetime) -> bool:
    """Old history gets its states and logs when somebody opens it."""
    return run.started_at is not None and (not run.is_terminal or (run.ended_at or now) > now - timedelta(hours=1))
