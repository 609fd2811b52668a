"""Actions as the API returns them: a cancellation, a retry, a pause, another limit."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from ninja import Field, Schema

from runs.models import Action, ChangeRequest


class ActionRow(Schema):
    id: int
    kind: str = Field(examples=["cancel"])
    run: UUID | None = Field(description="Prefect's id of the run, if it is about one.")
    deployment: UUID | None = Field(description="Prefect's id of the deployment, if it is about one.")
    work_pool: str | None = Field(description="Name of the work pool, if it is about one or a queue of one.")
    work_queue: str | None = Field(description="Name of the work queue, if it is about one.")
    concurrency_limit: str | None = Field(description="Name of the global concurrency limit, if it is about one.")
    state: str = Field(description="It is carried out in the background: read it again until it is final.")
    message: str
    requested_by: str
    requested_at: datetime

    @classmethod
    def of(cls, row: Action) -> ActionRow:
        return cls(
            id=row.pk,
            kind=row.kind,
            run=row.run.prefect_id if row.run else None,
            deployment=row.deployment.prefect_id if row.deployment else None,
            work_pool=row.pool.name if row.pool else row.queue.pool.name if row.queue else None,
            work_queue=row.queue.name if row.queue else None,
            concurrency_limit=row.global_limit.name if row.global_limit else None,
            state=row.state,
            message=row.message,
            requested_by=row.requested_by_name,
            requested_at=row.requested_at,
        )


class Requested(Schema):
    """An action, or the change request that has to be approved before."""

    action: ActionRow | None = Field(description="The action; null while it waits for approval.")
    change: int | None = Field(description="Number of the change request that it needs; null if it needs none.")

    @classmethod
    def of(cls, made: Action | ChangeRequest) -> Requested:
        if isinstance(made, Action):
            return cls(action=ActionRow.of(made), change=None)
        return cls(action=None, change=made.pk)
