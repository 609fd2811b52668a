"""Which runs Prefect started by an approved schedule that it keeps for the portal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from flows import canonical
from flows.models import Deployment
from flows.prefect_api.records import FlowRunRecord
from runs.models import Schedule


def schedules_of(records: Sequence[FlowRunRecord], deployments: Mapping[UUID, Deployment]) -> dict[UUID, int]:
    """Return the runs of such schedules by Prefect's id, each with the key of its schedule.

    Only with the parameters that were approved: Prefect's copy can have been changed.
    """
    # 1. The slug of the schedule in Prefect that a run was planned by, as last synced.
    slugs: dict[UUID, tuple[int, str]] = {}
    for record in records:
        deployment = deployments.get(record.deployment_id) if record.deployment_id else None
        if deployment and record.auto_scheduled and (slug := slug_of(record, deployment)):
            slugs[record.id] = (deployment.pk, slug)
    if not slugs:
        return {}
    # 2. The schedules with these slugs.
    pks = {deployment for deployment, _ in slugs.values()}
    rows = Schedule.objects.filter(deployment__in=pks, activated_at__isnull=False).exclude(native={})
    by_slug = {(row.deployment_id, str(row.native["slug"])): row for row in rows}
    by_id = {record.id: record for record in records}
    return {
        pk: by_slug[key].pk
        for pk, key in slugs.items()
        if key in by_slug and has_parameters(by_id[pk], by_slug[key], deployments)
    }


def slug_of(record: FlowRunRecord, deployment: Deployment) -> str:
    """Return the slug of the schedule that the key of a planned run names; empty if it has none."""
    word, _, rest = (record.idempotency_key or "").partition(" ")
    found = rest.split(" ")[1:2] if word == "scheduled" else []
    return next((str(each.get("slug") or "") for each in deployment.schedules if each.get("id") in found), "")


def has_parameters(record: FlowRunRecord, schedule: Schedule, deployments: Mapping[UUID, Deployment]) -> bool:
    """Return whether a run has the approved parameters, and no others but the deployment's own."""
    wanted, found = schedule.native["parameters"], record.parameters
    usual = deployments[record.deployment_id].parameter_defaults if record.deployment_id else {}
    return found.keys() <= wanted.keys() | usual.keys() and all(
        name in found and canonical.same(found[name], value) for name, value in wanted.items()
    )
