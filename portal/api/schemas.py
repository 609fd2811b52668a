"""What the API returns: one schema a noun, each made from a row as far as its reader may see it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from ninja import Field

from flows import parameters as schemas
from flows.models import Deployment, Environment
from portal.api.paging import Row
from runs.access.decisions import Permissions
from runs.models import (
    Approval,
    Artifact,
    AuditEntry,
    ChangeRequest,
    Comment,
    Freeze,
    Grant,
    LogLine,
    Policy,
    Run,
    RunRequest,
    StateChange,
    TaskRun,
    Verb,
    Window,
)
from runs.requests import spec_values, visibility


def link(name: str, pk: object) -> str:
    """Return the address of a page of the portal."""
    return f"{settings.PUBLIC_URL.rstrip('/')}{reverse(f'admin:{name}', args=[pk])}"


class EnvironmentRow(Row):
    name: str = Field(examples=["prod"])
    description: str
    is_protected: bool
    needs_approval: bool
    needs_reason: bool
    is_active: bool
    health: str = Field(description="State of the Prefect server at the last check.", examples=["up"])
    checked_at: datetime | None

    @classmethod
    def of(cls, row: Environment) -> EnvironmentRow:
        health = getattr(row.server, "health", None)
        return cls(
            name=row.slug,
            description=row.description,
            is_protected=row.is_protected,
            needs_approval=row.needs_approval,
            needs_reason=row.needs_reason,
            is_active=row.is_active,
            health=health.state if health else "unknown",
            checked_at=health.checked_at if health else None,
        )


class DeploymentRow(Row):
    id: UUID = Field(description="Prefect's id.")
    environment: str
    name: str = Field(description="Full name.", examples=["monthly/monthly"])
    flow: str
    description: str
    tags: list[str]
    is_paused: bool
    status: str
    work_pool: str
    version: str
    synced_at: datetime
    is_deleted: bool
    url: str

    @classmethod
    def of(cls, row: Deployment) -> DeploymentRow:
        return cls(**deployment_columns(row))


class DeploymentDetail(DeploymentRow):
    """A deployment with the schema of its parameters."""

    parameter_schema: dict[str, Any] = Field(description="JSON Schema, without defaults that may hold a secret.")
    parameter_defaults: dict[str, Any] = Field(description="Defaults of the deployment, secrets masked.")
    may_run: bool = Field(description="Whether you can request a run with some values.")
    why: str = Field(description="Why you can, or why not.")

    @classmethod
    def seen(cls, row: Deployment, permissions: Permissions) -> DeploymentDetail:
        decision = permissions.start(row)
        shown = visibility.can_view_parameters(permissions, row)
        return cls(
            **deployment_columns(row),
            parameter_schema=schemas.published(row.parameter_schema, with_values=shown),
            parameter_defaults=schemas.mask(row.parameter_schema, row.parameter_defaults) if shown else {},
            may_run=decision.allowed,
            why=decision.sentence,
        )


def deployment_columns(row: Deployment) -> dict[str, Any]:
    return {
        "id": row.prefect_id,
        "environment": row.environment.slug,
        "name": row.full_name,
        "flow": row.flow_name,
        "description": row.description,
        "tags": row.tags,
        "is_paused": row.is_paused,
        "status": row.status,
        "work_pool": row.work_pool_name,
        "version": row.version,
        "synced_at": row.synced_at,
        "is_deleted": row.deleted_upstream_at is not None,
        "url": link("flows_deployment_change", row.pk),
    }


class RunRow(Row):
    id: UUID = Field(description="Prefect's id.")
    environment: str
    name: str
    deployment: str
    flow: str
    state: str = Field(description="Prefect's state type.", examples=["RUNNING"])
    state_name: str = Field(description="The state as pages show it.", examples=["Running"])
    message: str = Field(description="What Prefect says of the state; empty without permission to view logs.")
    parameters: dict[str, Any] | None = Field(description="Secrets masked; null without permission to view them.")
    tags: list[str]
    request: int | None = Field(description="Number of the run request it was started for.")
    requested_by: str
    parent: UUID | None = Field(description="The run that it is a subflow of.")
    expected_start_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float
    synced_at: datetime
    url: str

    @classmethod
    def of(cls, row: Run, permissions: Permissions) -> RunRow:
        run_request: RunRequest | None = getattr(row, "run_request", None)
        return cls(
            id=row.prefect_id,
            environment=row.environment.slug,
            name=row.name,
            deployment=row.deployment_name,
            flow=row.flow_name,
            state=row.state_type,
            state_name=row.state_label,
            message=row.state_message if visibility.can_view_logs(permissions, row) else "",
            parameters=row.parameters if visibility.can_view_parameters(permissions, row) else None,
            tags=row.tags,
            request=run_request.pk if run_request else None,
            requested_by=run_request.change.requested_by_name if run_request else "",
            parent=row.parent.prefect_id if row.parent else None,
            expected_start_at=row.expected_start_at,
            started_at=row.started_at,
            ended_at=row.ended_at,
            seconds=row.run_seconds,
            synced_at=row.synced_at,
            url=link("runs_run_change", row.pk),
        )


class StateRow(Row):
    state: str
    name: str
    message: str
    at: datetime

    @classmethod
    def of(cls, row: StateChange) -> StateRow:
        return cls(state=row.type, name=row.name, message=row.message, at=row.at)


class TaskRunRow(Row):
    id: UUID
    name: str
    state: str
    state_name: str
    message: str
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float

    @classmethod
    def of(cls, row: TaskRun) -> TaskRunRow:
        return cls(
            id=row.prefect_id,
            name=row.name,
            state=row.state_type,
            state_name=row.state_label,
            message=row.message,
            started_at=row.started_at,
            ended_at=row.ended_at,
            seconds=row.run_seconds,
        )


class LogLineRow(Row):
    at: datetime
    level: int = Field(description="As Python's logging: 20 info, 30 warning, 40 error.")
    message: str
    task_run: UUID | None

    @classmethod
    def of(cls, row: LogLine) -> LogLineRow:
        return cls(at=row.at, level=row.level, message=row.message, task_run=row.task_run_id)


class ArtifactRow(Row):
    id: UUID
    environment: str
    run: UUID
    key: str
    type: str
    description: str
    data: Any = Field(description="Text, rows or a number, depending on the type; null for large ones.")
    created_at: datetime | None

    @classmethod
    def of(cls, row: Artifact) -> ArtifactRow:
        return cls(
            id=row.prefect_id,
            environment=row.environment.slug,
            run=row.run.prefect_id,
            key=row.key,
            type=row.type,
            description=row.description,
            data=row.data,
            created_at=row.created_upstream_at,
        )


class RequestRow(Row):
    id: int = Field(description="Number of the run request.")
    change: int = Field(description="Number of the change request; the same for a request for one run.")
    environment: str
    deployment: str
    state: str = Field(examples=["held"])
    state_name: str = Field(examples=["Waiting for approval"])
    message: str
    scheduled_for: datetime | None
    run: UUID | None = Field(description="Prefect's id of the run it became.")
    run_state: str
    requested_by: str
    requested_at: datetime
    launched_at: datetime | None
    url: str

    @classmethod
    def of(cls, row: RunRequest) -> RequestRow:
        return cls(
            id=row.pk,
            change=row.change_id,
            environment=row.environment.slug,
            deployment=row.spec.deployment_name,
            state=row.state,
            state_name=row.get_state_display(),
            message=row.message,
            scheduled_for=row.scheduled_for,
            run=row.flow_run_id,
            run_state=row.run.state_type if row.run else row.run_state,
            requested_by=row.change.requested_by_name,
            requested_at=row.requested_at,
            launched_at=row.launched_at,
            url=link("runs_runrequest_change", row.pk),
        )


class SpecPart(Row):
    deployment: str
    version: str
    parameters: dict[str, Any] | None = Field(description="Secrets masked; null without permission to view them.")
    tags: list[str]
    run_name: str
    retries: int


class ApprovalPart(Row):
    by: str
    approved: bool
    reason: str
    at: datetime
    counts: bool = Field(description="Whether it is for the request as it is.")

    @classmethod
    def of(cls, row: Approval, change: ChangeRequest) -> ApprovalPart:
        return cls(
            by=row.by_name, approved=row.approved, reason=row.reason, at=row.at, counts=row.digest == change.digest
        )


class CommentPart(Row):
    by: str
    text: str
    at: datetime

    @classmethod
    def of(cls, row: Comment) -> CommentPart:
        return cls(by=row.by_name, text=row.text, at=row.at)


class ChangeRow(Row):
    id: int = Field(description="Number of the change request.")
    kind: str = Field(examples=["run"])
    environment: str = Field(description="Its environment; several for some changes of rules.")
    state: str = Field(examples=["waiting"])
    state_name: str
    message: str
    reason: str
    ticket: str
    requested_by: str
    on_behalf_of: str
    requested_at: datetime
    expires_at: datetime | None
    needs_approval: bool
    approvals_needed: int
    digest: str = Field(description="What an approval is for: give it back when you approve.")
    key: UUID = Field(description="The submission key.")
    specs: list[SpecPart] = Field(description="What would run; those that you can see.")
    requests: list[RequestRow] = Field(description="The runs; those that you can see.")
    approvals: list[ApprovalPart]
    comments: list[CommentPart]

    @classmethod
    def of(cls, row: ChangeRequest, permissions: Permissions) -> ChangeRow:
        visible = [each for each in row.run_requests.all() if permissions.decide(Verb.SEE, each.deployment)]
        by_spec = {each.spec.position: each for each in visible}
        return cls(
            id=row.pk,
            kind=row.kind,
            environment=row.environment_name,
            state=row.state,
            state_name=row.get_state_display(),
            message=row.message,
            reason=row.reason,
            ticket=row.ticket,
            requested_by=row.requested_by_name,
            on_behalf_of=row.on_behalf_of_name,
            requested_at=row.requested_at,
            expires_at=row.expires_at,
            needs_approval=row.needs_approval,
            approvals_needed=row.approvals_needed,
            digest=row.digest,
            key=row.submission_key,
            specs=[spec_part(by_spec[position], permissions) for position in sorted(by_spec)],
            requests=[RequestRow.of(each) for each in visible],
            approvals=[ApprovalPart.of(each, row) for each in row.approvals.all()],
            comments=[CommentPart.of(each) for each in row.comments.all()],
        )


def spec_part(run_request: RunRequest, permissions: Permissions) -> SpecPart:
    spec = run_request.spec
    shown = visibility.can_view_parameters(permissions, run_request)
    return SpecPart(
        deployment=spec.deployment_name,
        version=spec.deployment_version,
        parameters=schemas.mask(run_request.deployment.parameter_schema, spec_values(spec)) if shown else None,
        tags=spec.tags,
        run_name=spec.run_name,
        retries=spec.retries,
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
            risk=row.risk,
            **selection(row),
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
