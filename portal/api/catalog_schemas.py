"""Environments and deployments as the API returns them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from ninja import Field, Schema

from flows import parameters as schemas
from flows.models import Deployment, Environment
from portal.api.paging import Row
from runs.access.decisions import Permissions
from runs.requests import visibility


def link(name: str, pk: object) -> str:
    """Return the address of a page of the portal."""
    return address_of(settings.PUBLIC_URL, name).replace(PLACE, str(pk))


# Stands for the key: an address is looked up once, and not for every row.
PLACE = "9" * 18


@cache
def address_of(portal: str, name: str) -> str:
    return f"{portal.rstrip('/')}{reverse(f'admin:{name}', args=[PLACE])}"


class EnvironmentRow(Row):
    name: str = Field(examples=["prod"])
    display_name: str = Field(description="What pages call it; empty for its name.", examples=["Production"])
    description: str
    scope_kind: str = Field(
        description="What of the server belongs to it: server is everything, else pools, tags or names.",
        examples=["tags"],
    )
    scope_values: list[str] = Field(description="Names of work pools, tags, or patterns of full names.")
    is_protected: bool
    needs_approval: bool
    needs_reason: bool
    is_active: bool
    health: str = Field(description="State of the Prefect server at the last check.", examples=["up"])
    checked_at: datetime | None
    first_reading_percent: int | None = Field(
        description="How much of its history the first reading of all runs has covered; null when there is none.",
        examples=[42],
    )
    first_reading_runs: int | None = Field(description="How many runs it has read.", examples=[420_000])
    automations_synced_at: datetime | None = Field(description="When the automations were last read; null is never.")
    automations_failure: str = Field(description="Why they could not be read last; empty if they were.")

    @classmethod
    def of(cls, row: Environment) -> EnvironmentRow:
        health = getattr(row.server, "health", None)
        percent = health.history_percent if health and row.pk in health.synced_for else None
        return cls(
            name=row.slug,
            display_name=row.display_name,
            description=row.description,
            scope_kind=row.scope_kind,
            scope_values=row.scope_values,
            is_protected=row.is_protected,
            needs_approval=row.needs_approval,
            needs_reason=row.needs_reason,
            is_active=row.is_active,
            health=health.state if health else "unknown",
            checked_at=health.checked_at if health else None,
            first_reading_percent=percent,
            # The runs that were read are those of the whole server.
            first_reading_runs=health.history_runs if health and percent is not None and not row.is_scoped else None,
            automations_synced_at=health.automations_synced_at if health else None,
            automations_failure=health.automations_failure if health else "",
        )


class DeploymentRow(Row):
    id: UUID = Field(description="Prefect's id.")
    environment: str
    name: str = Field(description="Full name.", examples=["monthly/monthly"])
    aliases: list[str] = Field(description="Other names of it there.")
    flow: str
    description: str
    tags: list[str]
    is_paused: bool
    status: str
    work_pool: str
    version: str
    synced_at: datetime
    is_deleted: bool
    has_left_scope: bool = Field(
        description="No longer in the scope of its environment: an administrator must confirm where it belongs first."
    )
    url: str

    @classmethod
    def of(cls, row: Deployment) -> DeploymentRow:
        return cls(**deployment_columns(row))


class PrefectSchedule(Schema):
    """A schedule that Prefect has: from code, made there, or kept there for the portal."""

    id: UUID = Field(description="Prefect's id.")
    slug: str = Field(description="Its name in the code; empty if it has none.")
    description: str = Field(description="When it is due.", examples=["cron 0 6 * * * (UTC)"])
    is_active: bool

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> PrefectSchedule:
        names = ("id", "description", "is_active")
        return cls(slug=found.get("slug") or "", **{name: found[name] for name in names})


class DeploymentDetail(DeploymentRow):
    """A deployment with the schema of its parameters."""

    prefect_schedules: list[PrefectSchedule] = Field(description="The schedules that Prefect has, as last synced.")

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
            prefect_schedules=[PrefectSchedule.of(each) for each in row.schedules],
            parameter_schema=schemas.published(row.parameter_schema, with_values=shown),
            parameter_defaults=schemas.mask(row.parameter_schema, row.parameter_defaults) if shown else {},
            may_run=decision.allowed,
            why=decision.sentence,
        )


def deployment_columns(row: Any) -> dict[str, Any]:
    """Return the columns of a deployment of `listings.DEPLOYMENTS`, which adds the aliases to the row."""
    return {
        "id": row.prefect_id,
        "environment": row.environment.slug,
        "name": row.full_name,
        "aliases": row.aliases,
        "flow": row.flow_name,
        "description": row.description,
        "tags": row.tags,
        "is_paused": row.is_paused,
        "status": row.status,
        "work_pool": row.work_pool_name,
        "version": row.version,
        "synced_at": row.synced_at,
        "is_deleted": row.deleted_upstream_at is not None,
        "has_left_scope": row.left_scope_at is not None,
        "url": link("flows_deployment_change", row.pk),
    }
