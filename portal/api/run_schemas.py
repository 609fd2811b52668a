"""Runs as the API returns them, with what belongs to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Field

from portal.api.catalog_schemas import link
from portal.api.paging import Row
from runs.access.decisions import Permissions
from runs.models import (
    Artifact,
    LogLine,
    Run,
    RunRequest,
    StateChange,
    TaskRun,
)
from runs.requests import visibility


class RunRow(Row):
    id: UUID = Field(description="Prefect's id.")
    environment: str
    name: str
    deployment: str
    flow: str
    state: str = Field(description="Prefect's state type.", examples=["RUNNING"])
    state_name: str = Field(description="The state as pages show it.", examples=["Running"])
    message: str = Field(description="What Prefect says of the state; empty without permission to view logs.")
    stalled: str = Field(description="How it is stalled; empty for most runs.", examples=["pending"])
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
        # Of columns, whose types are right: checking them again would take a third of the time of a page.
        return cls.model_construct(
            id=row.prefect_id,
            environment=row.environment.slug,
            name=row.name,
            deployment=row.deployment_name,
            flow=row.flow_name,
            state=row.state_type,
            state_name=row.state_label,
            message=row.state_message if visibility.can_view_logs(permissions, row) else "",
            stalled=row.stalled_kind,
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
    id: int = Field(description="For `after`: lines of one run become known in the order of their ids.")
    at: datetime
    level: int = Field(description="As Python's logging: 20 info, 30 warning, 40 error.")
    message: str
    task_run: UUID | None

    @classmethod
    def of(cls, row: LogLine) -> LogLineRow:
        return cls(id=row.pk, at=row.at, level=row.level, message=row.message, task_run=row.task_run_id)


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
