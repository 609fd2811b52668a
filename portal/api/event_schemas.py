"""Events as the API returns them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Field

from portal.api.paging import Row
from runs.events import place_of
from runs.models import RunEvent


class EventRow(Row):
    id: int = Field(description="Its position: later events have higher ones.")
    kind: str = Field(examples=["run moved"])
    environment: str
    deployment: str | None = Field(description="Full name of the deployment.")
    run: UUID | None = Field(description="Prefect's id of the run.")
    request: int | None = Field(description="Number of the run request.")
    change: int | None = Field(description="Number of the change request.")
    data: dict[str, Any] = Field(description="What else the kind says, such as the state of a run.")
    occurred_at: datetime
    observed_at: datetime = Field(description="When the portal recorded it.")

    @classmethod
    def of(cls, row: Any) -> EventRow:
        """Return an event of `listings.EVENTS`, which adds the names to the row."""
        event: RunEvent = row
        return cls(
            id=place_of(event),
            kind=event.kind,
            environment=row.environment_slug or "",
            deployment=row.deployment_name,
            run=row.run_prefect_id,
            request=event.request_id,
            change=event.change_id,
            data=event.data,
            occurred_at=event.occurred_at,
            observed_at=event.observed_at,
        )
