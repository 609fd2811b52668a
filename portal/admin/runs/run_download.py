"""The columns of the download of runs."""

from __future__ import annotations

from portal.admin.runs.page import origin
from runs.audit.lines import Columns

COLUMNS: Columns = {
    "run": str,
    "id": lambda run: run.prefect_id,
    "state": lambda run: run.state_label,
    "deployment": lambda run: run.deployment_name,
    "flow": lambda run: run.flow_name,
    "environment": lambda run: run.environment.slug,
    "started by": lambda run: origin(run, getattr(run, "run_request", None)),
    "request": lambda run: run.run_request.pk if getattr(run, "run_request", None) else None,
    "tags": lambda run: ", ".join(run.tags),
    "created": lambda run: run.sort_at,
    "started": lambda run: run.started_at,
    "ended": lambda run: run.ended_at,
    "seconds": lambda run: run.run_seconds,
}
