"""Routes of change requests and their runs: submit, approve, reject, withdraw, comment, rerun, override."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router, Schema, Status
from pydantic import AwareDatetime

from portal.api import paging
from portal.api.bodies import body
from portal.api.catalog_routes import actor_of, one
from portal.api.idempotency import idempotent, submission_key
from portal.api.problems import PROBLEMS
from portal.api.request_schemas import ChangeRow, InboxRow, RequestRow
from runs import changes, listings, names, requests
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.changes import queries
from runs.models import ChangeRequest, RunRequest
from runs.requests import presets

router = Router(tags=["Requests"])
ChangeFilters = paging.filters_of(listings.CHANGES)
RequestFilters = paging.filters_of(listings.REQUESTS)


class Submission(Schema):
    """A request for one run."""

    model_config = body(
        environment="prod", deployment="monthly/monthly", parameters={"month": "2026-10"}, reason="Month end"
    )

    environment: str = Field(max_length=40)
    deployment: str = Field(max_length=601, description="Alias, full name, id, or a name that is unique there.")
    parameters: dict[str, Any] = {}
    preset: str = Field("", max_length=100, description="Name of a preset whose values fill in the other parameters.")
    reason: str = Field("", max_length=1000)
    ticket: str = Field("", max_length=100)
    scheduled_for: AwareDatetime | None = Field(None, description="Start time with its offset; null for now.")
    tags: list[str] = Field([], max_length=50)
    run_name: str = Field("", max_length=300)
    profile: str = Field("", max_length=100, description="Name of a resource profile; empty for that of the preset.")
    retries: int = Field(0, ge=0, le=requests.MOST_RETRIES, description="Retries in place, approved with the run.")
    on_behalf_of: str = Field("", max_length=150, description="User name of the person you act for.")
    override_window: bool = Field(False, description="Start despite change windows and freezes, if you may.")
    confirm: str = Field("", max_length=601, description="Full name of the deployment, for a run that deletes data.")
    rerun_of: int | None = Field(None, ge=1, le=2**63 - 1, description="Number of the run request that it repeats.")


class Decision(Schema):
    model_config = body(digest="5f2b" * 16, reason="Figures checked")

    digest: str = Field(min_length=64, max_length=64, description="`digest` of the change request as you read it.")
    reason: str = Field("", max_length=1000)


class Reason(Schema):
    model_config = body(reason="Wrong month")

    reason: str = Field("", max_length=1000)


class Text(Schema):
    model_config = body(text="Why now?")

    text: str = Field(min_length=1, max_length=2000)


def change_of(by: Actor, pk: int, permissions: Permissions | None = None) -> ChangeRequest:
    return one(listings.CHANGES.rows(by, permissions=permissions), "change request", pk=pk)


def read(by: Actor, pk: int) -> ChangeRow:
    # Read again: what was allowed before the act need not be now.
    permissions = Permissions.of(by)
    return ChangeRow.of(change_of(by, pk, permissions), permissions)


@router.get("/changes", response={200: paging.page_of(ChangeRow), **PROBLEMS}, summary="List change requests")
def list_changes(request: HttpRequest, query: Query[ChangeFilters]) -> HttpResponse:  # type: ignore[valid-type]
    permissions = Permissions.of(actor_of(request))
    return paging.answer(
        request, listings.CHANGES, query, ChangeRow, lambda row: ChangeRow.of(row, permissions), permissions
    )


@router.get("/inbox", response={200: list[InboxRow], **PROBLEMS}, summary="What needs your approval")
def read_inbox(request: HttpRequest) -> list[InboxRow]:
    by = actor_of(request)
    permissions = Permissions.of(by)
    rows = listings.CHANGES.rows(by).filter(pk__in=queries.waiting_for(permissions)).order_by("expires_at", "pk")
    last = queries.last_approved_of_each()
    return [InboxRow.waiting(row, permissions, last) for row in rows]


@router.post("/changes", response={201: ChangeRow, **PROBLEMS}, summary="Request a run")
@idempotent
def submit(request: HttpRequest, payload: Submission) -> Status[ChangeRow]:
    """Submit a request for one run. It is queued for launch, or waits for approval.

    Send an `Idempotency-Key`: the same request with the same key is one request, whatever happens to the connection.
    """
    by = actor_of(request)
    key = submission_key(request)
    deployment = names.deployment(payload.environment, payload.deployment, by=by)
    filled_in: dict[str, Any] = {}
    profile = payload.profile
    if payload.preset:
        preset = presets.find(deployment, payload.preset, by=by)
        filled_in, _ = presets.load(preset, deployment)
        profile = profile or preset.profile
    made = requests.submit(
        deployment,
        {**filled_in, **payload.parameters},
        by=by,
        reason=payload.reason,
        ticket=payload.ticket,
        scheduled_for=payload.scheduled_for,
        tags=payload.tags,
        run_name=payload.run_name,
        retries=payload.retries,
        profile=profile,
        on_behalf_of=person(payload.on_behalf_of),
        overrides_windows=payload.override_window,
        confirmation=payload.confirm,
        rerun_of=request_of(by, payload.rerun_of) if payload.rerun_of else None,
        submission_key=key or uuid.uuid4(),
    )
    return Status(201, read(by, made.change_id))


def person(name: str) -> User | None:
    return names.user(name) if name else None


@router.get("/changes/{number}", response={200: ChangeRow, **PROBLEMS}, summary="Read a change request")
def read_change(request: HttpRequest, number: int) -> ChangeRow:
    return read(actor_of(request), number)


@router.post("/changes/{number}/approve", response={200: ChangeRow, **PROBLEMS}, summary="Approve a change request")
@idempotent
def approve(request: HttpRequest, number: int, payload: Decision) -> ChangeRow:
    by = actor_of(request)
    changes.approve(change_of(by, number), by=by, reason=payload.reason, displayed_digest=payload.digest)
    return read(by, number)


@router.post("/changes/{number}/reject", response={200: ChangeRow, **PROBLEMS}, summary="Reject a change request")
@idempotent
def reject(request: HttpRequest, number: int, payload: Reason) -> ChangeRow:
    by = actor_of(request)
    changes.reject(change_of(by, number), by=by, reason=payload.reason)
    return read(by, number)


@router.post("/changes/{number}/withdraw", response={200: ChangeRow, **PROBLEMS}, summary="Withdraw a change request")
@idempotent
def withdraw(request: HttpRequest, number: int, payload: Reason) -> ChangeRow:
    by = actor_of(request)
    changes.withdraw(change_of(by, number), by=by, reason=payload.reason)
    return read(by, number)


@router.post("/changes/{number}/comments", response={201: ChangeRow, **PROBLEMS}, summary="Comment on a change request")
@idempotent
def comment(request: HttpRequest, number: int, payload: Text) -> Status[ChangeRow]:
    by = actor_of(request)
    changes.comment(change_of(by, number), payload.text, by=by)
    return Status(201, read(by, number))


def request_of(by: Actor, pk: int) -> RunRequest:
    return one(listings.REQUESTS.rows(by), "run request", pk=pk)


@router.get("/requests", response={200: paging.page_of(RequestRow), **PROBLEMS}, summary="List run requests")
def list_requests(request: HttpRequest, query: Query[RequestFilters]) -> HttpResponse:  # type: ignore[valid-type]
    return paging.answer(request, listings.REQUESTS, query, RequestRow, RequestRow.of)


@router.get("/requests/{number}", response={200: RequestRow, **PROBLEMS}, summary="Read a run request")
def read_request(request: HttpRequest, number: int) -> RequestRow:
    return RequestRow.of(request_of(actor_of(request), number))


class Repetition(Schema):
    """A request that repeats an earlier one."""

    model_config = body(parameters={"month": "2026-10"}, reason="The source was corrected")

    parameters: dict[str, Any] = Field({}, description="Values to replace; the others, secret ones too, are reused.")
    profile: str | None = Field(
        None, max_length=100, description="Name of a resource profile, empty for none; null keeps that of the request."
    )
    reason: str = Field("", max_length=1000)
    ticket: str = Field("", max_length=100)
    confirm: str = Field("", max_length=601, description="Full name of the deployment, for a run that deletes data.")


@router.post("/requests/{number}/rerun", response={201: ChangeRow, **PROBLEMS}, summary="Re-run a request")
@idempotent
def rerun(request: HttpRequest, number: int, payload: Repetition) -> Status[ChangeRow]:
    """Submit a new request with the values of an earlier one, some of them replaced. It needs its own approvals."""
    by = actor_of(request)
    made = requests.rerun(
        request_of(by, number),
        by=by,
        changes=payload.parameters,
        profile=payload.profile,
        reason=payload.reason,
        ticket=payload.ticket,
        confirmation=payload.confirm,
        submission_key=submission_key(request),
    )
    return Status(201, read(by, made.change_id))


@router.post("/requests/{number}/override", response={200: RequestRow, **PROBLEMS}, summary="Start despite a window")
@idempotent
def override(request: HttpRequest, number: int, payload: Reason) -> RequestRow:
    """Start a request that a change window or a freeze holds. The approvals that it needs are still needed."""
    by = actor_of(request)
    changes.override(request_of(by, number), by=by, reason=payload.reason)
    return RequestRow.of(request_of(by, number))
