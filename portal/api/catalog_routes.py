"""Routes of environments and their deployments."""

from __future__ import annotations

from typing import Annotated

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import register_converter
from django.urls.converters import StringConverter
from ninja import Field, Path, Query, Router, Schema, Status

from flows.models import Deployment
from portal.api import paging
from portal.api.actions import ActionRow
from portal.api.bodies import body
from portal.api.catalog_schemas import DeploymentDetail, DeploymentRow, EnvironmentRow
from portal.api.etags import etag_of, require_match
from portal.api.idempotency import idempotent
from portal.api.problems import PROBLEMS, Problem
from runs import listings, names
from runs.access.decisions import Permissions
from runs.access.who_can import who_can
from runs.actors import Actor
from runs.governance import pausing
from runs.models import Verb
from runs.names import NotVisible


class DeploymentName(StringConverter):
    """A part of an address: an id, an alias, a name that is unique, or a full name with its slash."""

    regex = "[^/]+(?:/[^/]+)?"


router = Router(tags=["Environments and deployments"])
EnvironmentFilters = paging.filters_of(listings.ENVIRONMENTS)
register_converter(DeploymentName, "deployment")
DEPLOYMENT = "/environments/{environment}/deployments/{deployment:deployment}"
DeploymentFilters = paging.filters_of(listings.DEPLOYMENTS)

# Its description in the documentation.
Reference = Annotated[
    str,
    Path(description="Prefect's id, the alias, “flow/deployment”, or a name that is unique there.", max_length=601),
]


def actor_of(request: HttpRequest) -> Actor:
    """Return the actor of the token."""
    return request.auth  # type: ignore[attr-defined, no-any-return]  # set by portal.api.authentication


def one[Row: Model](rows: QuerySet[Row], noun: str, **column: object) -> Row:
    """Return the visible row with this value in a column; raises `NotVisible`."""
    found = rows.filter(**column).first()
    if found is None:
        (name,) = column.values()
        raise NotVisible("row.unknown", f"There is no {noun} {name}, or you cannot see it.")
    return found


def deployment_of(by: Actor, environment: str, name: str) -> Deployment:
    """Return a deployment by id, also one that Prefect does not have any more, or as `names.deployment` finds it."""
    if pk := names.as_uuid(name):
        return one(listings.DEPLOYMENTS.rows(by, {"environment": environment}), "deployment", prefect_id=pk)
    return one(listings.DEPLOYMENTS.rows(by), "deployment", pk=names.deployment(environment, name, by=by).pk)


@router.get("/environments", response={200: paging.page_of(EnvironmentRow), **PROBLEMS}, summary="List environments")
def list_environments(request: HttpRequest, query: Query[EnvironmentFilters]) -> HttpResponse:  # type: ignore[valid-type]
    return paging.answer(request, listings.ENVIRONMENTS, query, EnvironmentRow, EnvironmentRow.of)


@router.get("/environments/{environment}", response={200: EnvironmentRow, **PROBLEMS}, summary="Read an environment")
def read_environment(request: HttpRequest, environment: str) -> EnvironmentRow:
    rows = listings.ENVIRONMENTS.rows(actor_of(request))
    return EnvironmentRow.of(one(rows, "environment", slug=environment))


@router.get("/deployments", response={200: paging.page_of(DeploymentRow), **PROBLEMS}, summary="List deployments")
def list_deployments(request: HttpRequest, query: Query[DeploymentFilters]) -> HttpResponse:  # type: ignore[valid-type]
    return paging.answer(request, listings.DEPLOYMENTS, query, DeploymentRow, DeploymentRow.of)


class Person(Schema):
    name: str
    groups: list[str] = Field(description="Groups through which they have it; empty for a grant of their own.")
    only: str = Field(description="Condition on the values, in words.")
    until: str | None


class WhoCan(Schema):
    verb: str
    allowed: list[Person]
    denied: list[str]


# Before the next route, which would take its end for the name of a deployment.
@router.get(
    f"{DEPLOYMENT}/who-can",
    response={200: list[WhoCan], **PROBLEMS},
    summary="Who can do what with a deployment",
)
def list_people(
    request: HttpRequest,
    environment: str,
    deployment: Reference,
    verb: Annotated[list[Verb], Query(description="Only these verbs.", max_length=20)] = [],  # noqa: B006
) -> list[WhoCan]:
    found = who_can(deployment_of(actor_of(request), environment, deployment), verb or list(Verb))
    return [
        WhoCan(
            verb=each,
            allowed=[
                Person(
                    name=person.name,
                    groups=list(person.groups),
                    only=person.only,
                    until=person.until.isoformat() if person.until else None,
                )
                for person in access.allowed
            ],
            denied=[person.name for person in access.denied],
        )
        for each, access in found.items()
    ]


@router.get(DEPLOYMENT, response={200: DeploymentDetail, **PROBLEMS}, summary="Read a deployment with its parameters")
def read_deployment(
    request: HttpRequest, response: HttpResponse, environment: str, deployment: Reference
) -> DeploymentDetail:
    by = actor_of(request)
    found = deployment_of(by, environment, deployment)
    response["ETag"] = etag_of(found)
    return DeploymentDetail.seen(found, Permissions.of(by))


class DeploymentEdit(Schema):
    model_config = body(is_paused=True, reason="Source system is down")

    is_paused: bool = Field(description="true pauses its schedules, false resumes them.")
    reason: str = Field("", max_length=1000)
    ticket: str = Field("", max_length=100)


@router.patch(
    DEPLOYMENT,
    response={202: ActionRow, **PROBLEMS, frozenset({412, 428}): Problem},
    summary="Pause or resume the schedules of a deployment",
)
@idempotent
def edit_deployment(
    request: HttpRequest, environment: str, deployment: Reference, payload: DeploymentEdit
) -> Status[ActionRow]:
    by = actor_of(request)
    found = deployment_of(by, environment, deployment)
    require_match(request, found)
    verb = pausing.pause if payload.is_paused else pausing.resume
    return Status(202, ActionRow.of(verb(found, by=by, reason=payload.reason, ticket=payload.ticket)))
