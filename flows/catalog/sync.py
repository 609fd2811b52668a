"""The catalog of deployments. The only code that writes `Deployment`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone
from django.utils.crypto import salted_hmac

from flows import definition as definitions
from flows import job_variables, parameters
from flows.catalog import definition_reader, health, placement, pool_catalog
from flows.catalog.placement import Move
from flows.catalog.same_server import require_own_server
from flows.db_text import sanitize_json
from flows.definition import Definition
from flows.encryption import DecryptionError
from flows.models import Deployment, Environment
from flows.prefect_api import connect
from flows.prefect_api.records import JSON, DeploymentRecord, NotFound, PrefectError, ScheduleRecord
from flows.shared_servers import keys_of, read_together

KEY = ["environment", "prefect_id"]
COLUMNS = [f.name for f in Deployment._meta.concrete_fields if f.name not in {"id", *KEY}]

# Deployments whose list takes five calls: it is read whole each time, and so is a longer one after ten minutes. Then
# every row is written; otherwise only those that changed in Prefect.
SHORT = 1_000
WHOLE_EVERY = timedelta(minutes=10)
# Prefect's times are of the beginning of a transaction, so that one can appear late.
OVERLAP = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class DefinitionChange:
    """A deployment whose definition differs from the one last read; `before` is that one."""

    deployment: Deployment
    before: Mapping[str, Any]


# Records changes of definitions; called at most once for each change, in the transaction that stores it.
OnChange = Callable[[Sequence[DefinitionChange]], None]
# Records the deployments that left the scope of their environment, or belong to none; called in the same way.
OnMove = Callable[[Environment, Sequence[Move]], None]


@dataclass(frozen=True, slots=True)
class Sync:
    """The result of a sync, in numbers of deployments."""

    seen: int
    new: int
    deleted: int

    def __str__(self) -> str:
        return f"{self.seen} deployments, {self.new} new, {self.deleted} deleted"


def keep_up(environment: Environment, *, on_change: OnChange | None = None, on_move: OnMove | None = None) -> Sync:
    """Sync the whole list if it is short or was not read for a while, otherwise the deployments that changed."""
    known = Deployment.objects.filter(environment__in=read_together(environment))
    changed_at = known.aggregate(last=Max("updated_upstream_at"))["last"]
    listed_at = health.health_of(environment.server).listed_at
    is_due = listed_at is None or timezone.now() - listed_at > WHOLE_EVERY
    if is_due or changed_at is None or not health.is_synced(environment):
        return sync(environment, on_change=on_change, on_move=on_move)
    since = None if known.count() <= SHORT else changed_at - OVERLAP
    return sync(environment, on_change=on_change, on_move=on_move, since=since, rewrite_unchanged=False)


def sync(
    environment: Environment,
    *,
    on_change: OnChange | None = None,
    on_move: OnMove | None = None,
    since: datetime | None = None,
    rewrite_unchanged: bool = True,
) -> Sync:
    """Read every deployment and work pool of an environment's server and upsert them.

    Where several environments have a scope of the server, into each of them what is its own. With `since` only the
    deployments that changed since then. Without `rewrite_unchanged` only the rows that changed in Prefect are written.
    Those deleted in Prefect are marked when all are read, never deleted: runs and requests refer to them. `on_change`
    is called with the changed definitions, `on_move` with what left a scope. Raises `PrefectError` or `DecryptionError`
    after recording it in the health, and `SameServer` when another environment is this server.
    """
    # 1. Take the time before reading: what changes meanwhile is newer than this sync.
    now = timezone.now()
    try:
        # 2. Read everything before the transaction: HTTP calls under a row lock would block other syncs.
        client = connect.client_for(environment.server)
        records = list(client.deployments() if since is None else client.deployments_changed_since(since))
        pools = client.work_pools()
    except (PrefectError, DecryptionError) as error:
        health.record_failed_sync(environment.server, str(error))
        health.record_failed_reading(environment.server, error, "deployments_failure")
        raise
    with transaction.atomic():
        # 3. One sync at a time: two at once would each mark as deleted what only the other has read.
        environments = locked_together(environment)
        require_own_server(environments, [record.id for record in records])
        known = Deployment.objects.filter(environment__in=environments, deleted_upstream_at=None)
        known_ids = set(known.values_list("prefect_id", flat=True))
        # 4. Upsert what was read, and mark the rest. `synced_at__lt=now` leaves alone what a later sync has written.
        assigned = placement.assign(environments, records, at=now, is_whole=since is None)
        templates = {pool.name: pool.base_job_template for pool in pools}
        changes = []
        for each in environments:
            changes += upsert(each, assigned.records[each.pk], templates, at=now, rewrite_unchanged=rewrite_unchanged)
            pool_catalog.upsert(each, pool_catalog.own(each, pools), at=now)
        seen = {record.id for record in records}
        deleted = since is None and (
            known.filter(synced_at__lt=now).exclude(prefect_id__in=seen).update(deleted_upstream_at=now)
        )
        result = Sync(len(records), len(seen - known_ids), int(deleted))
        health.record_sync(environments, str(result), at=now, is_whole=since is None and rewrite_unchanged)
        # Last: audit entries lock the end of the trail until the commit.
        if on_change:
            on_change(changes)
        if on_move and assigned.moves:
            on_move(environment, assigned.moves)
    return result


def locked_together(environment: Environment) -> list[Environment]:
    """Lock the environments into which a server is read at once, and return them."""
    environments = read_together(environment)
    # In the order of their keys, so that two syncs cannot deadlock.
    locked = Environment.objects.select_for_update().filter(pk__in=keys_of(environments)).order_by("pk")
    stored = {row.pk: row for row in locked}
    for each in environments:
        # A scope that was changed since the caller has loaded its row counts.
        each.scope_kind, each.scope_values = stored[each.pk].scope_kind, stored[each.pk].scope_values
    return environments


def refresh(deployment: Deployment, *, on_change: OnChange, on_move: OnMove) -> None:
    """Sync one deployment, such as after its schedules were paused. Raises `PrefectError`."""
    now = timezone.now()
    environment = deployment.environment
    try:
        client = connect.client_for(environment.server)
        record = client.deployment(deployment.prefect_id)
        templates = {record.work_pool_name: definition_reader.template_of(client, record.work_pool_name)}
    except NotFound:
        Deployment.objects.filter(pk=deployment.pk, deleted_upstream_at=None).update(deleted_upstream_at=now)
        return
    with transaction.atomic():
        # As in `sync`: two readers of one deployment would each report the change.
        environments = locked_together(environment)
        assigned = placement.assign(environments, [record], at=now, is_whole=False)
        changes = []
        for each in environments:
            changes += upsert(each, assigned.records[each.pk], templates, at=now)
        on_change(changes)
        if assigned.moves:
            on_move(environment, assigned.moves)


def upsert(
    environment: Environment,
    records: Sequence[DeploymentRecord],
    templates: Mapping[str, Mapping[str, JSON]],
    *,
    at: datetime,
    rewrite_unchanged: bool = True,
) -> list[DefinitionChange]:
    """Insert or update deployments by their Prefect id; return those whose definition changed.

    `templates` has the base job template of each work pool. Without `rewrite_unchanged` the rows that did
    not change in Prefect only get a new `synced_at`. The caller holds the lock on the environment.
    """
    answers = digests(records, templates)
    if not rewrite_unchanged:
        unchanged = touch_unchanged(environment, answers, at=at)
        records = [each for each in records if each.id not in unchanged]
    if not records:
        return []
    # 1. What is known. A reading that began before the stored one is left out: it would bring back old values.
    known = known_definitions(environment, records)
    fresh = [each for each in records if each.id not in known or known[each.id].synced_at <= at]
    # 2. Write the rows.
    described = {
        each.id: definition_reader.describe(environment, each, templates.get(each.work_pool_name, {})) for each in fresh
    }
    rows = [
        Deployment(
            environment=environment,
            prefect_id=record.id,
            answer_digest=answers[record.id],
            **columns(record, described[record.id], at),
        )
        for record in fresh
    ]
    # Sanitized, because one character that Postgres cannot store would fail the sync of the whole environment.
    Deployment.objects.bulk_create(
        map(sanitize_json, rows), update_conflicts=True, unique_fields=KEY, update_fields=COLUMNS, batch_size=200
    )
    # 3. Compare. A first reading is no change, and neither is one of another format.
    stored = Deployment.objects.select_related("environment").filter(environment=environment)
    before = {
        each.id: known[each.id].definition
        for each in fresh
        if each.id in known
        and known[each.id].definition.get("format") == definitions.FORMAT
        and known[each.id].definition_fingerprint != definitions.fingerprint(described[each.id])
    }
    return [
        DefinitionChange(deployment, before[deployment.prefect_id])
        for deployment in stored.filter(prefect_id__in=before).order_by("full_name")
    ]


def digests(records: Sequence[DeploymentRecord], templates: Mapping[str, Mapping[str, JSON]]) -> dict[UUID, str]:
    """Return a digest of what each row is made of: the deployment in Prefect and the template of its pool."""
    pools = {name: digest(template) for name, template in templates.items()}
    return {each.id: digest([each, pools.get(each.work_pool_name)]) for each in records}


def digest(value: object) -> str:
    # With the portal's key, because a deployment can contain secrets. It need not be canonical: a rewrite does no harm.
    text = json.dumps(value, default=plain, sort_keys=True)
    return salted_hmac("flows.catalog.sync", text, algorithm="sha256").hexdigest()


def plain(value: object) -> dict[str, Any] | str:
    if isinstance(value, DeploymentRecord | ScheduleRecord):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return str(value)


def touch_unchanged(environment: Environment, answers: Mapping[UUID, str], *, at: datetime) -> set[UUID]:
    """Set `synced_at` of the deployments that did not change in Prefect; return their Prefect ids."""
    rows = Deployment.objects.filter(
        environment=environment, deleted_upstream_at=None, left_scope_at=None, synced_at__lte=at
    )
    read = rows.filter(prefect_id__in=answers).values_list("prefect_id", "answer_digest")
    unchanged = {key for key, stored in read if answers[key] == stored}
    rows.filter(prefect_id__in=unchanged).update(synced_at=at)
    return unchanged


def known_definitions(environment: Environment, records: Sequence[DeploymentRecord]) -> dict[UUID, Deployment]:
    """Return the stored deployments of these records by Prefect's id.

    One that Prefect has under a new id is compared with the last of the same name: deleting a deployment and creating
    it again is a change too.
    """
    stored = Deployment.objects.filter(environment=environment).only(
        "prefect_id", "full_name", "synced_at", "definition", "definition_fingerprint"
    )
    if len(records) <= SHORT:
        names = [full_name(record) for record in records]
        stored = stored.filter(Q(prefect_id__in=[record.id for record in records]) | Q(full_name__in=names))
    by_name: dict[str, Deployment] = {}
    by_id: dict[UUID, Deployment] = {}
    for each in stored.order_by("synced_at"):
        by_id[each.prefect_id] = by_name[each.full_name] = each
    found = {record.id: by_id.get(record.id) or by_name.get(full_name(record)) for record in records}
    return {key: each for key, each in found.items() if each}


def full_name(record: DeploymentRecord) -> str:
    return f"{record.flow_name}/{record.name}"


def columns(record: DeploymentRecord, definition: Definition, at: datetime) -> dict[str, Any]:
    """Return the columns of a deployment, without its key."""
    return {
        "flow_id": record.flow_id,
        "flow_name": record.flow_name,
        "name": record.name,
        "full_name": full_name(record),
        "description": record.description,
        "tags": list(record.tags),
        "parameter_schema": record.parameter_schema,
        "parameter_defaults": record.parameter_defaults,
        "schema_fingerprint": parameters.fingerprint(record.parameter_schema),
        "enforces_schema": record.enforces_schema,
        "schedules": [described_schedule(record, each) for each in record.schedules],
        "is_paused": record.is_paused,
        "work_pool_name": record.work_pool_name,
        "work_queue_name": record.work_queue_name,
        "status": record.status,
        "concurrency_limit": record.concurrency_limit,
        "collision_strategy": str(record.concurrency_options.get("collision_strategy") or "")[:20],
        "shared_limit": record.shared_limit[:300],
        "version": record.version,
        "entrypoint": record.entrypoint,
        "job_variables": job_variables.mask(record.job_variables),
        "definition": definition,
        "definition_fingerprint": definitions.fingerprint(definition),
        "created_upstream_at": record.created_at,
        "updated_upstream_at": record.updated_at,
        "synced_at": at,
        "deleted_upstream_at": None,  # it is there again, also after it was marked as deleted
        "left_scope_at": None,
    }


def described_schedule(record: DeploymentRecord, schedule: ScheduleRecord) -> dict[str, Any]:
    """Return a schedule as the row of its deployment has it, with secret parameters masked."""
    return {
        "id": str(schedule.id),
        "slug": schedule.slug[:300],
        "description": schedule.description,
        "is_active": schedule.is_active,
        "rule": schedule.rule,
        "parameters": parameters.mask(record.parameter_schema, schedule.parameters),
    }
