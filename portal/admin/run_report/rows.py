"""What the run report says of each run, for its list and its download."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Prefetch, prefetch_related_objects

from portal.admin.runs.page import origin
from portal.ui.approval_labels import approved_by
from portal.ui.text import json_text
from runs.access.decisions import Permissions
from runs.audit.lines import Columns
from runs.models import Action, ChangeRequest, ReportedRun, RunRequest
from runs.models.action import Kind, State
from runs.requests import visibility

HIDDEN = "hidden"
# Joined to every row.
RELATED = [
    "environment",
    "access_deployment__environment",
    "run_request__change__break_glass",
    "run_request__spec",
    "schedule__change__break_glass",
]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the report says of one run; `parameters` is None where the reader cannot view them."""

    requested_by: str
    requested_at: datetime | None
    parameters: Mapping[str, Any] | None
    reason: str
    ticket: str
    approved_by: str
    # Acts after the launch, each in words.
    retries: list[str]
    change: int | None

    @property
    def parameter_line(self) -> str:
        return " · ".join(f"{name}: {json_text(value)}" for name, value in (self.parameters or {}).items())


def add_facts(rows: Sequence[ReportedRun], permissions: Permissions) -> None:
    """Set `facts` on each row, from the same few queries for any number of rows."""
    retried = Action.objects.filter(kind=Kind.RETRY, state=State.DONE).order_by("requested_at")
    prefetch_related_objects(
        rows,
        "run_request__change__approvals",
        "run_request__step_decisions",
        "schedule__change__approvals",
        Prefetch(
            "actions",
            retried.select_related("change__break_glass").prefetch_related("change__approvals"),
            to_attr="retries",
        ),
    )
    for row in rows:
        row.facts = facts_of(row, permissions)  # type: ignore[attr-defined]  # read by `facts`


def facts(run: ReportedRun) -> Facts:
    """Return what `add_facts` set."""
    found: Facts = run.facts  # type: ignore[attr-defined]  # set on the rows of a page
    return found


def facts_of(run: ReportedRun, permissions: Permissions) -> Facts:
    run_request: RunRequest | None = getattr(run, "run_request", None)
    change = change_of(run)
    return Facts(
        requested_by=requester(run, run_request),
        requested_at=run_request.requested_at if run_request else change.requested_at if change else None,
        parameters=run.parameters if visibility.can_view_parameters(permissions, run) else None,
        reason=change.reason if change else "",
        ticket=change.ticket if change else "",
        approved_by=approvers(change, run_request) if change else "",
        retries=[describe_retry(each) for each in run.retries],  # type: ignore[attr-defined]  # prefetched
        change=change.pk if change else None,
    )


def change_of(run: ReportedRun) -> ChangeRequest | None:
    """Return the change request by which the run started: its own, or that of the schedule that Prefect keeps."""
    run_request: RunRequest | None = getattr(run, "run_request", None)
    if run_request:
        return run_request.change
    return run.schedule.change if run.schedule else None


def requester(run: ReportedRun, run_request: RunRequest | None) -> str:
    if run_request is None and run.schedule:
        return f"{run.schedule.change.requester} (schedule)"
    return origin(run, run_request)


def approvers(change: ChangeRequest, run_request: RunRequest | None) -> str:
    """Return who approved the run: its change request, its step at a gate, and its start outside a change window."""
    names = [approved_by(change)]
    if run_request:
        decisions = run_request.step_decisions.all()
        names += [f"{decision.by_name} (at the gate)" for decision in decisions if decision.is_allowed]
        if run_request.overridden_at:
            names.append(f"{run_request.overridden_by_name} (change window)")
    return ", ".join(filter(None, names))


def describe_retry(action: Action) -> str:
    approval = approved_by(action.change) if action.change else ""
    return f"{action.requested_by_name}, approved by {approval}" if approval else action.requested_by_name


def parameters_text(facts: Facts) -> str:
    if facts.parameters is None:
        return HIDDEN
    return json.dumps(facts.parameters, ensure_ascii=False)


COLUMNS: Columns = {
    "run": str,
    "run id": lambda run: run.prefect_id,
    "environment": lambda run: run.environment.slug,
    "deployment": lambda run: run.deployment_name,
    "flow": lambda run: run.flow_name,
    "requested by": lambda run: facts(run).requested_by,
    "requested": lambda run: facts(run).requested_at,
    "parameters": lambda run: parameters_text(facts(run)),
    "reason": lambda run: facts(run).reason,
    "ticket": lambda run: facts(run).ticket,
    "approved by": lambda run: facts(run).approved_by,
    "retried by": lambda run: "; ".join(facts(run).retries),
    "created": lambda run: run.sort_at,
    "started": lambda run: run.started_at,
    "ended": lambda run: run.ended_at,
    "seconds": lambda run: run.run_seconds,
    "outcome": lambda run: run.state_label,
    "change request": lambda run: facts(run).change,
}
