"""Rules, grants and audit entries as the API returns them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Field

from portal.api.catalog_schemas import link
from portal.api.paging import Row
from runs.models import (
    AuditEntry,
    Bypass,
    Freeze,
    Grant,
    Policy,
    Window,
)


class Selection(Row):
    """Which deployments a rule applies to; empty means all."""

    environment: str | None
    flow: str
    deployment: str
    tag: str


def selection(row: Grant | Policy | Window) -> dict[str, Any]:
    return {
        "environment": row.environment.slug if row.environment else None,
        "flow": row.flow_name,
        "deployment": row.full_name,
        "tag": row.tag,
    }


class GrantRow(Selection):
    id: int
    person: str | None
    group: str | None
    effect: str = Field(examples=["allow"])
    verbs: list[str]
    condition: dict[str, Any] | None = Field(description="JSON Schema that the parameters must satisfy.")
    valid_from: datetime | None
    valid_until: datetime | None
    reason: str
    ticket: str
    granted_by: str
    granted_at: datetime
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: Grant) -> GrantRow:
        return cls(
            id=row.pk,
            person=row.person.get_username() if row.person else None,
            group=row.group.name if row.group else None,
            effect=row.effect,
            verbs=row.verbs,
            condition=row.predicate,
            valid_from=row.valid_from,
            valid_until=row.valid_until,
            reason=row.reason,
            ticket=row.ticket,
            granted_by=row.granted_by_name,
            granted_at=row.granted_at,
            revoked_at=row.revoked_at,
            **selection(row),
        )


class PolicyRow(Selection):
    id: int
    name: str
    approvals: list[dict[str, Any]] = Field(description="Stages in order: how many of which group.")
    approval_minutes: int | None
    needs_reason: bool
    needs_ticket: bool
    ticket_pattern: str
    needs_confirmation: bool
    refuses_moving_code: bool
    outside_window: str
    token_days: int | None
    schedule_days: int | None
    native_schedules: str = Field(description="Whether Prefect may keep schedules: allow, refuse, or empty.")
    approves_each_run: bool = Field(description="Whether each run of a schedule needs its own approval.")
    risk: str

    @classmethod
    def of(cls, row: Policy) -> PolicyRow:
        return cls(
            id=row.pk,
            name=row.name,
            approvals=[dict(stage) for stage in row.stages],
            approval_minutes=row.approval_minutes,
            needs_reason=row.needs_reason,
            needs_ticket=row.needs_ticket,
            ticket_pattern=row.ticket_pattern,
            needs_confirmation=row.needs_confirmation,
            refuses_moving_code=row.refuse_moving,
            outside_window=row.outside_window,
            token_days=row.token_days,
            schedule_days=row.schedule_days,
            native_schedules=row.native_schedules,
            approves_each_run=row.approve_each_run,
            risk=row.risk,
            **selection(row),
        )


class BypassRow(Row):
    id: int
    environment: str
    kind: Bypass.Kind
    name: str = Field(description="Full name of the deployment, or name of the automation.")
    detail: str
    deployment: str | None = Field(description="Full name; null for an automation that starts what its event names.")
    found_at: datetime
    gone_at: datetime | None
    automations_failure: str = Field(description="Why the automations of the environment could not be read last.")

    @classmethod
    def of(cls, row: Bypass) -> BypassRow:
        health = getattr(row.environment.server, "health", None)
        return cls(
            id=row.pk,
            environment=row.environment.slug,
            kind=Bypass.Kind(row.kind),
            name=row.name,
            detail=row.detail,
            deployment=row.deployment.full_name if row.deployment else None,
            found_at=row.found_at,
            gone_at=row.gone_at,
            automations_failure=health.automations_failure if health else "",
        )


class UnassignedRow(Row):
    id: UUID = Field(description="Prefect's id.")
    name: str = Field(description="Full name.")
    server: str = Field(description="API URL of the server.")
    environment: str | None = Field(description="Where it stays until it is assigned; null if it was in none.")
    in_scope_of: list[str] = Field(description="Names of the environments whose scopes it is in.")
    confirmed: str | None = Field(description="Where the next sync assigns it, as an administrator confirmed.")
    work_pool: str
    tags: list[str]
    found_at: datetime
    synced_at: datetime
    url: str

    @classmethod
    def of(cls, row: Any) -> UnassignedRow:
        """Return a row of `UNASSIGNED`, which adds the names of the environments."""
        return cls(
            id=row.prefect_id,
            name=row.full_name,
            server=row.server.api_url,
            environment=row.environment.slug if row.environment else None,
            in_scope_of=row.places,
            confirmed=row.confirmed.slug if row.confirmed else None,
            work_pool=row.work_pool_name,
            tags=row.tags,
            found_at=row.found_at,
            synced_at=row.synced_at,
            url=link("flows_unassigneddeployment_change", row.pk),
        )


class WindowRow(Selection):
    id: int
    name: str
    effect: str
    cron: str
    minutes: int
    time_zone: str
    is_active: bool

    @classmethod
    def of(cls, row: Window) -> WindowRow:
        return cls(
            id=row.pk,
            name=row.name,
            effect=row.effect,
            cron=row.cron,
            minutes=row.minutes,
            time_zone=row.time_zone,
            is_active=row.is_active,
            **selection(row),
        )


class FreezeRow(Row):
    id: int
    environment: str
    reason: str
    ticket: str
    begun_by: str
    begun_at: datetime
    until: datetime | None
    lifted_at: datetime | None

    @classmethod
    def of(cls, row: Freeze) -> FreezeRow:
        return cls(
            id=row.pk,
            environment=row.environment.slug,
            reason=row.reason,
            ticket=row.ticket,
            begun_by=row.begun_by_name,
            begun_at=row.begun_at,
            until=row.until,
            lifted_at=row.lifted_at,
        )


class AuditRow(Row):
    sequence: int
    at: datetime
    actor_kind: str
    actor: str
    on_behalf_of: str
    channel: str
    token: str = Field(description="Key of the token by which it was done.")
    address: str
    verb: str = Field(examples=["request.approve"])
    subject_kind: str
    subject_id: str
    subject: str
    environment: str
    reason: str
    ticket: str
    outcome: str
    message: str
    before: dict[str, Any]
    after: dict[str, Any]
    digest: str

    @classmethod
    def of(cls, row: AuditEntry) -> AuditRow:
        return cls(
            sequence=row.sequence,
            at=row.at,
            actor_kind=row.actor_kind,
            actor=row.actor_name,
            on_behalf_of=row.on_behalf_of,
            channel=row.channel,
            token=row.token_id,
            address=row.address,
            verb=row.verb,
            subject_kind=row.subject_kind,
            subject_id=row.subject_id,
            subject=row.subject_name,
            environment=row.environment,
            reason=row.reason,
            ticket=row.ticket,
            outcome=row.outcome,
            message=row.message,
            before=row.before,
            after=row.after,
            digest=row.digest,
        )
