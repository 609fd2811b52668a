"""Actions as the API returns them: a cancellation, a retry, a pause."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from ninja import Field, Schema

from runs.models import Action


class ActionRow(Schema):
    id: int
    kind: str = Field(examples=["cancel"])
    run: UUID | None = Field(description="Prefect's id of the run, if it is about one.")
    deployment: UUID | None = Field(description="Prefect's id of the deployment, if it is about one.")
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
            state=row.state,
            message=row.message,
            requested_by=row.requested_by_name,
            requested_at=row.requested_at,
        )
