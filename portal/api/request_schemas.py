"""Change requests and run requests as the API returns them, as far as their reader may see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Field

from flows import definition
from flows import parameters as schemas
from portal.api.catalog_schemas import link
from portal.api.paging import Row
from runs.access.decisions import Permissions
from runs.models import (
    Approval,
    ChangeRequest,
    Comment,
    RunRequest,
    RunSpec,
    Verb,
)
from runs.phases import phase_of
from runs.requests import spec_values, visibility

# Kinds of change requests of which runs are held back.
PACED = (ChangeRequest.Kind.BACKFILL, ChangeRequest.Kind.CHAIN)


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


class ProfilePart(Row):
    """A resource profile as it was when the run was requested."""

    name: str
    work_queue: str = Field(description="Empty for the queue of the deployment.")
    job_variables: dict[str, Any]

    @classmethod
    def of(cls, spec: RunSpec) -> ProfilePart | None:
        return cls(**spec.profile) if spec.profile else None


class SpecPart(Row):
    deployment: str
    version: str
    parameters: dict[str, Any] | None = Field(description="Secrets masked; null without permission to view them.")
    tags: list[str]
    run_name: str
    retries: int
    profile: ProfilePart | None = Field(description="The resource profile, with what it sets; null without one.")


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
    state_name: str = Field(description="As pages say it: of a backfill also Running, Paused, Stopped, Finished.")
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
    at_once: int | None = Field(description="Of a backfill: how many of its runs are open at a time.")
    on_failure: str = Field(description="Of a backfill: stop or go_on.", examples=["stop"])
    progress: str = Field(description="Of a backfill or a chain: running, paused or stopped.", examples=["running"])
    schedule: int | None = Field(description="Of a schedule, or of one of its runs: its number.")
    specs: list[SpecPart] = Field(description="What would run; those that you can see.")
    requests: list[RequestRow] = Field(description="The runs; those that you can see.")
    approvals: list[ApprovalPart]
    comments: list[CommentPart]

    @classmethod
    def of(cls, row: ChangeRequest, permissions: Permissions) -> ChangeRow:
        visible = [each for each in row.run_requests.all() if permissions.decide(Verb.SEE, each.deployment)]
        by_spec = {each.spec.position: each for each in [*visible, *planned(row)]}
        return cls(
            id=row.pk,
            kind=row.kind,
            environment=row.environment_name,
            state=row.state,
            state_name=phase_of(row, [each.state for each in row.run_requests.all()]).state_label,
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
            at_once=row.pacing.get("at_once"),
            on_failure=row.pacing.get("on_failure", ""),
            progress=row.progress if row.kind in PACED else "",
            schedule=row.schedule.pk if row.is_schedule else row.occurrence_of_id,
            specs=specs_of(row, by_spec, permissions),
            requests=[RequestRow.of(each) for each in visible],
            approvals=[ApprovalPart.of(each, row) for each in row.approvals.all()],
            comments=[CommentPart.of(each) for each in row.comments.all()],
        )


def specs_of(row: ChangeRequest, by_spec: Mapping[int, RunRequest], permissions: Permissions) -> list[SpecPart]:
    """Return what would run, as far as it is visible; of a chain all of its steps, which have no runs at first."""
    if row.kind != ChangeRequest.Kind.CHAIN:
        return [spec_part(by_spec[position], permissions) for position in sorted(by_spec)]
    return [step_part(row, spec, permissions) for spec in row.chain_specs]  # type: ignore[attr-defined]  # prefetched


def step_part(row: ChangeRequest, spec: RunSpec, permissions: Permissions) -> SpecPart:
    """Return one step of a chain; values that come from artifacts are not known before it starts."""
    shown = (
        permissions.user.pk == row.requested_by_id
        or permissions.decide(Verb.SEE_INPUTS, spec.deployment).allowed
        or visibility.can_decide_about(permissions, row, spec)
    )
    return SpecPart(
        deployment=spec.deployment_name,
        version=spec.deployment_version,
        parameters=schemas.mask(spec.deployment.parameter_schema, spec_values(spec)) if shown else None,
        tags=spec.tags,
        run_name=spec.run_name,
        retries=spec.retries,
        profile=ProfilePart.of(spec),
    )


class InboxRow(ChangeRow):
    """A change request that needs your approval, with what an approver has to look at."""

    risk: str = Field(description="As the policies say; empty without one.", examples=["high"])
    changed: list[str] = Field(
        description="What differs in the definition since the last approved run of the deployment, or “first approval”."
    )
    not_pinned: list[str] = Field(
        description="Code that can still change after the approval.", examples=[["branch main"]]
    )

    @classmethod
    def waiting(
        cls, row: ChangeRequest, permissions: Permissions, last: Callable[[RunRequest], RunRequest | None]
    ) -> InboxRow:
        """Return a change request that waits; `last` finds the last approved request for the same deployment."""
        visible = [each for each in row.run_requests.all() if permissions.decide(Verb.SEE, each.deployment)]
        visible += planned(row)
        return cls(
            **ChangeRow.of(row, permissions).model_dump(),
            risk=row.policy.get("risk", ""),
            changed=sorted({name for each in visible for name in changed_fields(each, last(each))}),
            not_pinned=sorted({name for each in visible for name in moving_parts(each)}),
        )


def planned(row: ChangeRequest) -> list[RunRequest]:
    """Return a run of a schedule as it will be. Who sees its change request sees its deployment."""
    if not row.is_schedule:
        return []
    schedule = row.schedule
    deployment = schedule.deployment
    return [RunRequest(change=row, spec=schedule.spec, deployment=deployment, environment=deployment.environment)]


def changed_fields(run_request: RunRequest, last: RunRequest | None) -> list[str]:
    if last is None:
        return ["first approval"]
    return definition.changed_fields(last.spec.definition, run_request.spec.definition)


def moving_parts(run_request: RunRequest) -> list[str]:
    return [definition.moving_label(each) for each in run_request.spec.definition.get("moving", [])]


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
        profile=ProfilePart.of(spec),
    )
