"""Routes of presets: the values of a run form under a name, without secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router, Schema, Status

from flows import parameters as schemas
from flows.models import Deployment
from portal.api import paging
from portal.api.bodies import body
from portal.api.catalog_routes import actor_of, one
from portal.api.catalog_schemas import link
from portal.api.idempotency import idempotent
from portal.api.problems import PROBLEMS, ProblemField
from runs import names
from runs.actors import Actor
from runs.models import Preset
from runs.requests import presets
from runs.requests.preset_listings import PRESETS, with_deployments

router = Router(tags=["Presets"])
PresetFilters = paging.filters_of(PRESETS)


class PresetRow(paging.Row):
    id: int
    environment: str
    deployment: str
    name: str
    owner: str
    is_shared: bool
    parameters: dict[str, Any] | None = Field(
        description="Without secrets; null while the deployment is not deployed, when secrets cannot be told apart."
    )
    profile: str = Field(description="Name of its resource profile; empty for none.")
    problems: list[ProblemField] = Field(description="Values that the deployment would not accept any more.")
    created_at: datetime
    changed_at: datetime
    url: str

    @classmethod
    def of(cls, row: Preset) -> PresetRow:
        """Return a preset that came with its deployment: `with_deployments`."""
        deployment: Deployment | None = getattr(row, "deployed", None)
        errors = presets.errors_of(deployment, row.parameters) if deployment else []
        return cls(
            id=row.pk,
            environment=row.environment.slug,
            deployment=row.full_name,
            name=row.name,
            owner=row.owner.get_username(),
            is_shared=row.is_shared,
            parameters=schemas.mask(deployment.parameter_schema, row.parameters) if deployment else None,
            profile=row.profile,
            problems=[ProblemField(field=each.field, code=each.code, message=each.message) for each in errors],
            created_at=row.created_at,
            changed_at=row.changed_at,
            url=link("runs_preset_change", row.pk),
        )


class NewPreset(Schema):
    model_config = body(
        environment="prod", deployment="monthly/monthly", name="month end", parameters={"region": "EU"}, is_shared=True
    )

    environment: str = Field(max_length=40)
    deployment: str = Field(max_length=601, description="Alias, full name, id, or a name that is unique there.")
    name: str = Field(max_length=100)
    parameters: dict[str, Any] = Field({}, description="Required ones may be missing; secret ones are left out.")
    profile: str = Field("", max_length=100, description="Name of a resource profile.")
    is_shared: bool = Field(False, description="For everyone who can view the parameters of the deployment.")


class PresetChange(Schema):
    model_config = body(name="year end", is_shared=False)

    name: str | None = Field(None, max_length=100)
    is_shared: bool | None = None
    parameters: dict[str, Any] | None = Field(None, description="All values; those before are replaced.")


def preset_of(by: Actor, number: int) -> Preset:
    return one(PRESETS.rows(by), "preset", pk=number)


def read(by: Actor, number: int) -> PresetRow:
    return PresetRow.of(*with_deployments([preset_of(by, number)]))


@router.get("/presets", response={200: paging.page_of(PresetRow), **PROBLEMS}, summary="List presets")
def list_presets(request: HttpRequest, query: Query[PresetFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List your presets, and those that others share of deployments whose parameters you can view."""
    return paging.answer(request, PRESETS, query, PresetRow, PresetRow.of)


@router.get("/presets/{number}", response={200: PresetRow, **PROBLEMS}, summary="Read a preset")
def read_preset(request: HttpRequest, number: int) -> PresetRow:
    return read(actor_of(request), number)


@router.post("/presets", response={201: PresetRow, **PROBLEMS}, summary="Save a preset")
@idempotent
def save_preset(request: HttpRequest, payload: NewPreset) -> Status[PresetRow]:
    by = actor_of(request)
    saved = presets.save(
        names.deployment(payload.environment, payload.deployment, by=by),
        payload.parameters,
        by=by,
        name=payload.name,
        is_shared=payload.is_shared,
        profile=payload.profile,
    )
    return Status(201, read(by, saved.pk))


@router.patch("/presets/{number}", response={200: PresetRow, **PROBLEMS}, summary="Rename, share or change a preset")
@idempotent
def change_preset(request: HttpRequest, number: int, payload: PresetChange) -> PresetRow:
    """Change a preset of your own; what is left out stays."""
    by = actor_of(request)
    preset = preset_of(by, number)
    deployment = None
    if payload.parameters is not None:
        deployment = names.deployment(preset.environment.slug, preset.full_name, by=by)
    presets.change(
        preset,
        by=by,
        name=payload.name,
        is_shared=payload.is_shared,
        deployment=deployment,
        values=payload.parameters,
    )
    return read(by, number)


@router.delete("/presets/{number}", response={200: PresetRow, **PROBLEMS}, summary="Delete a preset")
@idempotent
def delete_preset(request: HttpRequest, number: int) -> PresetRow:
    """Delete a preset of your own, and return it as it was. Administrators can delete what others share."""
    by = actor_of(request)
    (preset,) = with_deployments([preset_of(by, number)])
    deleted = PresetRow.of(preset)
    presets.delete(preset, by=by)
    return deleted
