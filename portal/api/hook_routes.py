"""Routes of inbound hooks: which there are, and what their messages did. Hooks are managed on pages only."""

from __future__ import annotations

from datetime import datetime

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router

from portal.api import paging
from portal.api.catalog_routes import actor_of, one
from portal.api.problems import PROBLEMS
from runs.automation import hook_listings
from runs.models import Hook, HookDelivery

router = Router(tags=["Hooks"])
HookFilters = paging.filters_of(hook_listings.HOOKS)
DeliveryFilters = paging.filters_of(hook_listings.DELIVERIES, "hook")


class HookRow(paging.Row):
    key: str = Field(description="It names the hook in its address and in the audit trail.")
    name: str
    kind: str = Field(description="standard or github.")
    environment: str
    deployment: str
    account: str = Field(description="The service account that it acts as.")
    is_enabled: bool
    valid_until: datetime = Field(description="When it ends, unless its owner renews it.")
    obstacle: str = Field(description="Why it could not run when last checked; empty if nothing prevents it.")
    created_at: datetime

    @classmethod
    def of(cls, row: Hook) -> HookRow:
        return cls(
            key=row.key,
            name=row.name,
            kind=row.kind,
            environment=row.deployment.environment.slug,
            deployment=row.deployment.full_name,
            account=row.account.user.get_username(),
            is_enabled=row.is_enabled,
            valid_until=row.valid_until,
            obstacle=row.obstacle,
            created_at=row.created_at,
        )


class DeliveryRow(paging.Row):
    id: int
    message_id: str = Field(description="Id that the sender gave the message.")
    received_at: datetime
    outcome: str = Field(description="accepted, ignored or refused.")
    code: str = Field(description="Why it was ignored or refused; empty if it was accepted.")
    message: str
    request: int | None = Field(description="Number of the request that it became.")
    attempts: int = Field(description="How often the sender sent it.")

    @classmethod
    def of(cls, row: HookDelivery) -> DeliveryRow:
        return cls(
            id=row.pk,
            message_id=row.message_id,
            received_at=row.received_at,
            outcome=row.outcome,
            code=row.code,
            message=row.message,
            request=row.run_request_id,
            attempts=row.attempts,
        )


@router.get("/hooks", response={200: paging.page_of(HookRow), **PROBLEMS}, summary="List hooks")
def list_hooks(request: HttpRequest, query: Query[HookFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List the hooks of your service accounts, or of the service account that calls."""
    return paging.answer(request, hook_listings.HOOKS, query, HookRow, HookRow.of)


@router.get(
    "/hooks/{key}/deliveries",
    response={200: paging.page_of(DeliveryRow), **PROBLEMS},
    summary="List what the messages to a hook did",
)
def list_deliveries(request: HttpRequest, key: str, query: Query[DeliveryFilters]) -> HttpResponse:  # type: ignore[valid-type]
    hook = one(hook_listings.HOOKS.rows(actor_of(request)), "hook", key=key)
    return paging.answer(request, hook_listings.DELIVERIES, query, DeliveryRow, DeliveryRow.of, hook=hook.pk)
