"""Routes of what is allowed: grants, policies, change windows, freezes, explanations, the audit trail."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router, Schema, Status
from pydantic import AwareDatetime

from portal.api import paging
from portal.api.bodies import body
from portal.api.catalog_routes import actor_of, one
from portal.api.idempotency import idempotent
from portal.api.problems import PROBLEMS
from portal.api.rule_schemas import AuditRow, BypassRow, FreezeRow, GrantRow, PolicyRow, UnassignedRow, WindowRow
from runs import listings, names
from runs.access.decisions import Permissions
from runs.bypass_listings import BYPASSES
from runs.governance import freezes, grants, preview
from runs.models import ChangeRequest, Verb
from runs.unassigned_listings import UNASSIGNED

router = Router(tags=["Rules and audit"])
GrantFilters = paging.filters_of(listings.GRANTS)
PolicyFilters = paging.filters_of(listings.POLICIES)
WindowFilters = paging.filters_of(listings.WINDOWS)
FreezeFilters = paging.filters_of(listings.FREEZES)
AuditFilters = paging.filters_of(listings.AUDIT)
BypassFilters = paging.filters_of(BYPASSES)
UnassignedFilters = paging.filters_of(UNASSIGNED)


@router.get("/policies", response={200: paging.page_of(PolicyRow), **PROBLEMS}, summary="List policies")
def list_policies(request: HttpRequest, query: Query[PolicyFilters]) -> HttpResponse:  # type: ignore[valid-type]
    return paging.answer(request, listings.POLICIES, query, PolicyRow, PolicyRow.of)


@router.get("/bypasses", response={200: paging.page_of(BypassRow), **PROBLEMS}, summary="List bypasses")
def list_bypasses(request: HttpRequest, query: Query[BypassFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List what starts runs in protected environments without the portal, newest first.

    `automations_failure` of a row says why the automations of its environment could not be read: then some can be
    missing.
    """
    return paging.answer(request, BYPASSES, query, BypassRow, BypassRow.of)


@router.get(
    "/unassigned-deployments",
    response={200: paging.page_of(UnassignedRow), **PROBLEMS},
    summary="List unassigned deployments",
)
def list_unassigned(request: HttpRequest, query: Query[UnassignedFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List the deployments that are in no environment, or left the scope of theirs, for readers of the audit trail.

    An administrator assigns them on their pages.
    """
    return paging.answer(request, UNASSIGNED, query, UnassignedRow, UnassignedRow.of)


@router.get("/windows", response={200: paging.page_of(WindowRow), **PROBLEMS}, summary="List change windows")
def list_windows(request: HttpRequest, query: Query[WindowFilters]) -> HttpResponse:  # type: ignore[valid-type]
    return paging.answer(request, listings.WINDOWS, query, WindowRow, WindowRow.of)


@router.get("/grants", response={200: paging.page_of(GrantRow), **PROBLEMS}, summary="List grants")
def list_grants(request: HttpRequest, query: Query[GrantFilters]) -> HttpResponse:  # type: ignore[valid-type]
    return paging.answer(request, listings.GRANTS, query, GrantRow, GrantRow.of)


class NewGrant(Schema):
    model_config = body(to="otto", verbs=["see", "trigger"], environment="dev", flow="monthly", reason="On call")

    to: str = Field(max_length=200, description="User name, or “group:NAME”.")
    verbs: list[str] = Field(min_length=1, max_length=20)
    environment: str = Field("", max_length=40, description="Empty: all that are not protected.")
    flow: str = Field("", max_length=300)
    deployment: str = Field("", max_length=601)
    tag: str = Field("", max_length=300)
    effect: Literal["allow", "deny"] = "allow"
    condition: dict[str, Any] | None = Field(None, description="JSON Schema that the parameters must satisfy.")
    valid_from: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    reason: str = Field("", max_length=500)
    ticket: str = Field("", max_length=100)
    confirm: str = Field("", max_length=200, description="Name of the protected environment that it opens.")


class Granted(Schema):
    grant: GrantRow | None = Field(description="The grant; null while it waits for a second administrator.")
    change: int | None = Field(description="Number of the change request that it became.")


@router.post("/grants", response={201: Granted, **PROBLEMS}, summary="Create a grant")
@idempotent
def give(request: HttpRequest, payload: NewGrant) -> Status[Granted]:
    by = actor_of(request)
    made = grants.grant(
        by=by,
        **names.subject(payload.to),
        verbs=[names.verb(each) for each in payload.verbs],
        effect=payload.effect,
        environment=names.environment(payload.environment, by=by) if payload.environment else None,
        flow_name=payload.flow,
        full_name=payload.deployment,
        tag=payload.tag,
        predicate=payload.condition,
        valid_from=payload.valid_from,
        valid_until=payload.valid_until,
        reason=payload.reason,
        ticket=payload.ticket,
        confirm=payload.confirm,
    )
    if isinstance(made, ChangeRequest):
        return Status(201, Granted(grant=None, change=made.pk))
    return Status(201, Granted(grant=GrantRow.of(made), change=None))


class Revocation(Schema):
    model_config = body(reason="Not on call any more")

    reason: str = Field("", max_length=500)
    ticket: str = Field("", max_length=100)
    confirm: str = Field("", max_length=200, description="Name of the protected environment that it opens.")


@router.post("/grants/{number}/revoke", response={200: Granted, **PROBLEMS}, summary="Revoke a grant")
@idempotent
def revoke(request: HttpRequest, number: int, payload: Revocation) -> Granted:
    by = actor_of(request)
    row = one(listings.GRANTS.rows(by), "grant", pk=number)
    waiting = grants.revoke(row, by=by, reason=payload.reason, ticket=payload.ticket, confirm=payload.confirm)
    if waiting:
        return Granted(grant=None, change=waiting.pk)
    return Granted(grant=GrantRow.of(one(listings.GRANTS.rows(by), "grant", pk=number)), change=None)


@router.get("/freezes", response={200: paging.page_of(FreezeRow), **PROBLEMS}, summary="List freezes")
def list_freezes(request: HttpRequest, query: Query[FreezeFilters]) -> HttpResponse:  # type: ignore[valid-type]
    return paging.answer(request, listings.FREEZES, query, FreezeRow, FreezeRow.of)


class NewFreeze(Schema):
    model_config = body(reason="Audit", until="2026-12-01T06:00:00+01:00")

    reason: str = Field(max_length=500)
    ticket: str = Field("", max_length=100)
    until: AwareDatetime | None = Field(None, description="Null: until it is lifted.")


class Lifting(Schema):
    model_config = body(reason="Audit is over", confirm="prod")

    reason: str = Field("", max_length=500)
    ticket: str = Field("", max_length=100)
    confirm: str = Field("", max_length=200, description="Name of the environment, if it is protected.")


class Lifted(Schema):
    change: int | None = Field(description="Number of the change request that waits for a second administrator.")


@router.post("/environments/{environment}/freeze", response={201: FreezeRow, **PROBLEMS}, summary="Freeze")
@idempotent
def freeze(request: HttpRequest, environment: str, payload: NewFreeze) -> Status[FreezeRow]:
    by = actor_of(request)
    place = names.environment(environment, by=by)
    row = freezes.freeze(place, by=by, reason=payload.reason, ticket=payload.ticket, until=payload.until)
    return Status(201, FreezeRow.of(one(listings.FREEZES.rows(by), "freeze", pk=row.pk)))


@router.post("/environments/{environment}/unfreeze", response={200: Lifted, **PROBLEMS}, summary="End a freeze")
@idempotent
def unfreeze(request: HttpRequest, environment: str, payload: Lifting) -> Lifted:
    by = actor_of(request)
    place = names.environment(environment, by=by)
    waiting = freezes.unfreeze(place, by=by, reason=payload.reason, ticket=payload.ticket, confirm=payload.confirm)
    return Lifted(change=waiting.pk if waiting else None)


class Question(Schema):
    model_config = body(
        verb="trigger", environment="prod", deployment="monthly/monthly", parameters={"month": "2026-10"}
    )

    verb: Verb
    environment: str = Field(max_length=40)
    deployment: str = Field(max_length=601, description="Alias, full name, id, or a name that is unique there.")
    parameters: dict[str, Any] | None = Field(None, description="Null: whether with any values at all.")


class Ignored(Schema):
    grant: int
    why: str


class Explanation(Schema):
    allowed: bool
    code: str
    why: str
    decided_by: list[int] = Field(description="Numbers of the grants that decided.")
    ignored: list[Ignored] = Field(description="Your grants that did not count, and why.")


@router.post("/why", response={200: Explanation, **PROBLEMS}, summary="May I, and why not")
def explain(request: HttpRequest, payload: Question) -> Explanation:
    """Say whether you may do something with this token, without doing it."""
    by = actor_of(request)
    place = names.deployment(payload.environment, payload.deployment, by=by)
    found = preview.why(by.user, payload.verb, place, payload.parameters, by=by)
    values = None if payload.parameters is None else preview.resolve_values(place, payload.parameters)
    # The token's own answer: its scopes can say no where the grants say yes.
    decision = Permissions.of(by).decide(payload.verb, place, values)
    return Explanation(
        allowed=decision.allowed,
        code=decision.code,
        why=decision.sentence,
        decided_by=[each.pk for each in decision.grants],
        ignored=[Ignored(grant=each.grant.pk, why=each.why) for each in found.ignored],
    )


@router.get("/audit", response={200: paging.page_of(AuditRow), **PROBLEMS}, summary="Read the audit trail")
def list_entries(request: HttpRequest, query: Query[AuditFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List entries, newest first: those about what was done with this token, or all if it reads the whole trail."""
    return paging.answer(request, listings.AUDIT, query, AuditRow, AuditRow.of)
