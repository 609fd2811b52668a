"""Which environment a flow run belongs to, where several have a scope of one Prefect server.

A run stays where it was first seen. A new one belongs where its request or its deployment is, a subflow run without a
deployment where the run is that called it. What belongs to none of them is not stored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from flows.models import Deployment, Environment, UnassignedDeployment
from flows.prefect_api.records import FlowRunRecord
from runs.governance.loosening import is_guarded
from runs.models import Run, RunRequest


def is_shared(environments: Sequence[Environment]) -> bool:
    """Return whether what is read has to be divided: one environment that covers its whole server has everything."""
    return any(environment.is_scoped for environment in environments)


def owners_of(
    environments: Sequence[Environment], records: Collection[FlowRunRecord], parents: Mapping[UUID, UUID]
) -> dict[UUID, Environment]:
    """Return the environment of each run by Prefect's id, without those that belong to none; `parents` by child."""
    if not is_shared(environments):
        return {record.id: environments[0] for record in records}
    by_key = {environment.pk: environment for environment in environments}
    ids = [record.id for record in records]
    # 1. Where it was seen, or where its launch was recorded.
    seen = Run.objects.filter(environment__in=by_key, prefect_id__in=ids)
    launched = RunRequest.objects.filter(environment__in=by_key, flow_run_id__in=ids)
    keys = {pk: key for pk, key in launched.values_list("flow_run_id", "environment") if pk}
    keys |= dict(seen.values_list("prefect_id", "environment"))
    # 2. Where its deployment is.
    homes = homes_of(environments, {record.deployment_id for record in records if record.deployment_id})
    for record in records:
        if record.id not in keys and record.deployment_id in homes:
            keys[record.id] = homes[record.deployment_id]
    # 3. Where the run is that called it, unless it has a deployment of its own.
    by_id = {record.id: record for record in records}
    for record in records:
        path: list[UUID] = []
        pk: UUID | None = record.id
        while pk and pk not in keys and pk in by_id and by_id[pk].deployment_id is None and pk not in path:
            path.append(pk)
            pk = parents.get(pk)
        if pk in keys:
            keys |= dict.fromkeys(path, keys[pk])
    return {pk: by_key[key] for pk, key in keys.items()}


def homes_of(environments: Sequence[Environment], deployments: Collection[UUID]) -> dict[UUID, int]:
    """Return the key of the environment in which the runs of each deployment are stored.

    Of a deployment that left its scope for that of a protected environment, that is the protected one: there its new
    runs are seen by those only who see everything.
    """
    rows = Deployment.objects.filter(environment__in=environments, prefect_id__in=deployments)
    found: dict[UUID, tuple[bool, int, bool]] = {}
    # The one that Prefect has comes last, and stays.
    for row in rows.only("prefect_id", "environment", "deleted_upstream_at", "left_scope_at", "synced_at").order_by(
        "synced_at"
    ):
        is_there = row.deleted_upstream_at is None
        if is_there or not found.get(row.prefect_id, (False, 0, False))[0]:
            found[row.prefect_id] = is_there, row.environment_id, row.left_scope_at is not None
    homes = {pk: key for pk, (_, key, _) in found.items()}
    left = [pk for pk, (_, _, has_left) in found.items() if has_left]
    guarded = [environment.pk for environment in environments if is_guarded(environment)]
    notes = UnassignedDeployment.objects.filter(server=environments[0].server_id, prefect_id__in=left) if left else ()
    for note in notes:
        stricter = [key for key in guarded if key in note.covered_by]
        if stricter and homes[note.prefect_id] not in guarded:
            homes[note.prefect_id] = stricter[0]
    return homes


def has_unknown(environments: Sequence[Environment], records: Iterable[FlowRunRecord], since: datetime) -> bool:
    """Return whether some of these runs, made since then, are of deployments that the catalog has not read yet."""
    if not is_shared(environments):
        return False
    new = [record for record in records if record.created_at is None or record.created_at >= since]
    ids = {record.deployment_id for record in new if record.deployment_id}
    server = environments[0].server_id
    known = Deployment.objects.filter(environment__server=server, prefect_id__in=ids)
    noted = UnassignedDeployment.objects.filter(server=server, prefect_id__in=ids)
    return bool(ids - {pk for rows in (known, noted) for pk in rows.values_list("prefect_id", flat=True)})
