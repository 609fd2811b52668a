"""Queue the launches of run requests: one task for each, and for those of a backfill tasks that launch several."""

from __future__ import annotations

from collections.abc import Iterable

from runs import queue
from runs.models import RunRequest

# Each has every second run of a backfill: while one waits for Prefect, the other checks its next ones.
LANES = 2


def queue_launches(run_requests: Iterable[RunRequest]) -> None:
    """Queue these in the current transaction; select their change requests with them."""
    backfills = set()
    for run_request in run_requests:
        if run_request.change.is_backfill:
            backfills.add((run_request.change_id, run_request.pk % LANES))
        else:
            queue.enqueue("runs.tasks.launch", run_request.pk)
    for change_pk, lane in sorted(backfills):
        queue.enqueue("runs.tasks.launch_backfill", change_pk, lane)
