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
from portal.api.limit_routes import Confirmed, Consent, answered, consent, wanted
from portal.api.problems import PROBLEMS
from runs.access.decisions import Permissions
from runs.global_limits import GLOBAL_LIMITS
from runs.governance import limit_lifecycle, limits

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


class NewLimit(Consent):
    model_config = body(environment="dev", name="licences", concurrency_limit=4, reason="Four licences")

    environment: str
    name: str = Field(max_length=300, description="Its name in Prefect; that of the limit of a tag begins with “tag:”.")
    concurrency_limit: int = Field(ge=0, description="Slots at a time.")
    is_active: bool = Field(True, description="Inactive, it limits nothing.")
    slot_decay_per_second: float = Field(0, ge=0, description="Slots that become free by themselves; 0 for none.")


class Deletion(Confirmed):
    model_config = body(reason="Not used any more")


@router.get(
    "/concurrency-limits", response={200: paging.page_of(LimitRow), **PROBLEMS}, summary="List concurrency limits"
)
def list_limits(request: HttpRequest, query: Query[LimitFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List global limits and those of tags; work pools, queues and deployments have their own."""
    return paging.answer(request, GLOBAL_LIMITS, query, LimitRow, LimitRow.of)


@router.post("/concurrency-limits", response={202: Requested, **PROBLEMS}, summary="Create a concurrency limit")
@idempotent
def create_limit(request: HttpRequest, payload: NewLimit) -> Status[Requested]:
    """Create a global limit, or that of a tag. It is listed as soon as Prefect has it."""
    by = actor_of(request)
    place = one(Permissions.of(by).environments(), "environment", slug=payload.environment)
    columns = payload.dict(include={"concurrency_limit", "is_active", "slot_decay_per_second"})
    consented = {"reason": payload.reason, "ticket": payload.ticket}
    return answered(limit_lifecycle.create(place, payload.name, columns, by=by, **consented))


@router.post(
    "/concurrency-limits/{number}/delete", response={202: Requested, **PROBLEMS}, summary="Delete a concurrency limit"
)
@idempotent
def delete_limit(request: HttpRequest, number: int, payload: Deletion) -> Status[Requested]:
    """Delete it in Prefect: what asks for its slots starts without a limit, and deployments that share it have none."""
    by = actor_of(request)
    row = one(GLOBAL_LIMITS.rows(by), "concurrency limit", pk=number)
    return answered(limit_lifecycle.delete(row, by=by, **consent(payload)))


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
