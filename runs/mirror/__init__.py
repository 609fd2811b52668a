"""Mirror flow runs from Prefect to Postgres: the only code that writes `Run` and its related rows."""

from runs.mirror.details import (
    begun_or_opened,
    fetch_details,
    recently_active,
    tail_lines,
    tail_logs,
    with_new_lines,
    with_open_logs,
    without_details,
)
from runs.mirror.first_reading import Progress
from runs.mirror.run_counts import rebuild_counts
from runs.mirror.run_retention import sweep_runs
from runs.mirror.stalled_runs import mark_stalled
from runs.mirror.sync import (
    read_stall,
    refresh,
    refresh_state,
    sync,
    sync_activity,
    sync_details,
    sync_states,
    sync_step,
)
from runs.mirror.upsert import upsert

__all__ = [
    "Progress",
    "begun_or_opened",
    "fetch_details",
    "mark_stalled",
    "read_stall",
    "rebuild_counts",
    "recently_active",
    "refresh",
    "refresh_state",
    "sweep_runs",
    "sync",
    "sync_activity",
    "sync_details",
    "sync_states",
    "sync_step",
    "tail_lines",
    "tail_logs",
    "upsert",
    "with_new_lines",
    "with_open_logs",
    "without_details",
]
