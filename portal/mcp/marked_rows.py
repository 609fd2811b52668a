"""Rows as agents get them: what the portal says as plain values, what Prefect says as marked text."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from flows import encryption
from flows import parameters as schemas
from flows.models import Deployment
from portal.api.catalog_schemas import link
from portal.mcp.untrusted import mark, mark_value
from runs import requests
from runs.access.decisions import Permissions
from runs.models import ChangeRequest, LogLine, ResourceProfile, Run, RunRequest
from runs.phases import phase_of
from runs.requests import visibility

# Values of text of one schema.
LONGEST_IN_SCHEMA = 500
MOST_TAGS = 50

type Answer = dict[str, Any]


def time_of(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def deployment_row(row: Deployment, permissions: Permissions) -> Answer:
    return {
        "id": str(row.prefect_id),
        "environment": row.environment.slug,
        "environment_is_protected": row.environment.is_protected,
        "name": mark("deployment name", row.full_name),
        "description": mark("deployment description", row.description),
        "tags": [mark("deployment tag", tag) for tag in row.tags[:MOST_TAGS]],
        "is_paused": row.is_paused,
        "is_deleted": row.deleted_upstream_at is not None,
        "may_run": permissions.start(row).allowed,
        "synced_at": time_of(row.synced_at),
        "url": link("flows_deployment_change", row.pk),
    }


def profile_row(row: ResourceProfile) -> Answer:
    """Return a resource profile that the agent can choose; administrators wrote it."""
    return {
        "name": row.name,
        "description": mark("resource profile", row.description),
        "sets": mark_value("resource profile", row.contents),
    }


def parameters_of(row: Deployment) -> Answer:
    """Return the schema of the parameters. Without any values: they may be someone's."""
    schema = schemas.published(row.parameter_schema, with_values=False)
    return mark_value("parameter schema", schema, longest=LONGEST_IN_SCHEMA)


def run_row(row: Run, permissions: Permissions) -> Answer:
    run_request: RunRequest | None = getattr(row, "run_request", None)
    sees_log = visibility.can_view_logs(permissions, row)
    return {
        "id": str(row.prefect_id),
        "environment": row.environment.slug,
        "name": mark("run name", row.name),
        "deployment": mark("deployment name", row.deployment_name),
        "state": row.state_type,
        "message": mark("state message", row.state_message, secrets=secrets_of(run_request)) if sees_log else None,
        "request": run_request.change_id if run_request else None,
        "requested_by": run_request.change.requester if run_request else None,
        "expected_start_at": time_of(row.expected_start_at),
        "started_at": time_of(row.started_at),
        "ended_at": time_of(row.ended_at),
        "synced_at": time_of(row.synced_at),
        "url": link("runs_run_change", row.pk),
    }


def log_line(row: LogLine, secrets: list[str]) -> Answer:
    return {"at": time_of(row.at), "level": row.level, "message": mark("flow log", row.message, secrets=secrets)}


def change_row(change: ChangeRequest) -> Answer:
    """Return what became of a request; its parameters are left out."""
    run_requests = list(change.run_requests.order_by("pk"))
    runs = [
        {
            "state": each.state,
            "state_name": each.state_label,
            # It quotes what Prefect answered.
            "message": mark("request message", each.message),
            "run": str(each.flow_run_id) if each.flow_run_id else None,
        }
        for each in run_requests
    ]
    return {
        "request": change.pk,
        "environment": change.environment_name,
        "state": change.state,
        "state_name": phase_of(change, [each.state for each in run_requests]).state_label,
        "message": mark("request message", change.message),
        "requested_by": change.requester,
        "needs_approval": change.needs_approval,
        "expires_at": time_of(change.expires_at),
        "runs": runs,
        "url": link("runs_runrequest_change" if change.kind == "run" else "runs_changerequest_change", change.pk),
    }


def plan_row(plan: requests.Plan) -> Answer:
    """Return what a backfill would do: the agent gave the values itself, the reasons can quote the schema."""
    return {
        "digest": plan.digest,
        **plan.counts,
        "checks_earlier": plan.checks_earlier,
        "profile": mark_value("resource profile", dict(plan.profile)) if plan.profile else None,
        "items": [
            {
                "values": dict(item.varied),
                "outcome": item.outcome.value,
                "code": item.code,
                "why": mark("refusal", item.why),
                "earlier": item.earlier.state if item.earlier else None,
            }
            for item in plan.items
        ],
    }


def secrets_of(run_request: RunRequest | None) -> list[str]:
    """Return the secret parameters of a run as text: its log can quote them."""
    sealed = run_request.spec.sealed_parameters if run_request else b""
    if not sealed:
        return []
    try:
        values = json.loads(encryption.unseal(sealed)).values()
    except encryption.DecryptionError:
        return []
    return [text for value in values for text in texts_in(value)]


def texts_in(value: Any) -> list[str]:
    """Return every text and number within a JSON value."""
    match value:
        case dict():
            return [text for each in value.values() for text in texts_in(each)]
        case list():
            return [text for each in value for text in texts_in(each)]
        case None | bool():
            return []
        case _:
            return [str(value)]
