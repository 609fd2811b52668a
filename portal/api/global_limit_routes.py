"""Routes of global concurrency limits, those of tags among them."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router, Status

from flows.models import GlobalLimit
from portal.api import paging
from portal.api.actions import Requested
from portal.api.bodies import body
from portal.api.catalog_routes import actor_of, one
from portal.api.catalog_schemas import link
from portal.api.idempotency import idempotent
from portal.api.limit_routes import Confirmed, answered, consent, wanted
from portal.api.problems import PROBLEMS
from runs.global_limits import GLOBAL_LIMITS
from runs.governance import limits

router = Router(tags=["Concurrency limits"])
LimitFilters = paging.filters_of(GLOBAL_LIMITS)


class LimitRow(paging.Row):
    id: int
    environment: str
    name: str = Field(description="Its name in Prefect.")
    tag: str = Field(description="The tag whose task runs it limits; empty for a global limit.")
    concurrency_limit: int
    active_slots: int = Field(description="Slots in use when it was read.")
    is_active: bool = Field(description="Inactive, it limits nothing.")
    slot_decay_per_second: float = Field(description="Slots that become free by themselves; 0 for none.")
    synced_at: datetime
    url: str

    @classmethod
    def of(cls, row: GlobalLimit) -> LimitRow:
        same = ("name", "tag", "concurrency_limit", "active_slots", "is_active", "slot_decay_per_second", "synced_at")
        return cls(
            id=row.pk,
            environment=row.environment.slug,
            url=link("flows_globallimit_change", row.pk),
            **{name: getattr(row, name) for name in same},
        )


class LimitChange(Confirmed):
    model_config = body(concurrency_limit=4, reason="Fewer licences")

    concurrency_limit: int | None = Field(None, ge=0, description="Slots at a time. Left out, it stays.")
    is_active: bool | None = Field(None, description="Whether it limits anything. Left out, it stays.")


@router.get(
    "/concurrency-limits", response={200: paging.page_of(LimitRow), **PROBLEMS}, summary="List concurrency limits"
)
def list_limits(request: HttpRequest, query: Query[LimitFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List global limits and those of tags; work pools, queues and deployments have their own."""
    return paging.answer(request, GLOBAL_LIMITS, query, LimitRow, LimitRow.of)


@router.patch(
    "/concurrency-limits/{number}",
    response={202: Requested, **PROBLEMS},
    summary="Change or deactivate a concurrency limit",
)
@idempotent
def change_limit(request: HttpRequest, number: int, payload: LimitChange) -> Status[Requested]:
    by = actor_of(request)
    row = one(GLOBAL_LIMITS.rows(by), "concurrency limit", pk=number)
    return answered(limits.set_limits(row, wanted(payload), by=by, **consent(payload)))
