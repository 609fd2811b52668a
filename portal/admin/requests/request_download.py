"""The columns of the download of run requests."""

from __future__ import annotations

from portal.ui.approval_labels import approved_by
from runs.audit.lines import Columns

COLUMNS: Columns = {
    "request": lambda row: row.pk,
    "change request": lambda row: row.change_id,
    "state": lambda row: row.state_label,
    "deployment": lambda row: row.spec.deployment_name,
    "environment": lambda row: row.change.environment_name,
    "requested by": lambda row: row.change.requester,
    "approved by": lambda row: approved_by(row.change),
    "requested": lambda row: row.requested_at,
    "reason": lambda row: row.change.reason,
    "ticket": lambda row: row.change.ticket,
    "run": lambda row: row.run or row.flow_run_name,
    "run id": lambda row: row.flow_run_id,
}
