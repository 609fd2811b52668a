"""Routes of backfills: plan one, submit it, pause, resume and cancel the rest of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from portal.api.bodies import body
from portal.api.catalog_routes import actor_of
from portal.api.idempotency import idempotent, submission_key
from portal.api.paging import Row
from portal.api.problems import PROBLEMS
from portal.api.request_routes import Reason, change_of, person, read
from portal.api.request_schemas import ChangeRow, ProfilePart
from runs import changes, names, requests
from runs.models import ChangeRequest

router = Router(tags=["Backfills"])
EXAMPLE: dict[str, Any] = {
    "environment": "prod",
    "deployment": "monthly/monthly",
    "vary": {"month": "2026-01..2026-06"},
    "parameters": {"rows": 500},
}


class Outline(Schema):
    """What a backfill would run."""

    model_config = body(**EXAMPLE)

    environment: str = Field(max_length=40)
    deployment: str = Field(max_length=601, description="Alias, full name, id, or a name that is unique there.")
    vary: dict[str, str | list[Any]] = Field(
        description="One or two parameters, each with a range (2026-01..2026-06, 2026-01-01..2026-03-31/7, 1..50/5), "
        "values with commas between them, or a list. Every combination is an item."
    )
    parameters: dict[str, Any] = Field({}, description="The values that all items share.")
    skip_completed: bool = Field(True, description="Leave out items whose last run with these values completed.")
    skip_open: bool = Field(True, description="Leave out items with an open run or request with these values.")
    profile: str = Field("", max_length=100, description="Name of the resource profile of all its runs.")


class Backfill(Outline):
    """A request for the runs of a plan."""

    model_config = body(**EXAMPLE, at_once=2, reason="Source was corrected")

    at_once: int = Field(requests.AT_ONCE, ge=1, le=requests.MOST_ITEMS, description="Runs that are open at a time.")
    on_failure: ChangeRequest.OnFailure = Field(
        ChangeRequest.OnFailure.STOP, description="Whether no more are started when one did not complete."
    )
    leave_out_refused: bool = Field(False, description="Request the others although some items are refused.")
    plan: str = Field("", max_length=64, description="`digest` of the plan as you read it; refused if it has changed.")
    reason: str = Field("", max_length=1000)
    ticket: str = Field("", max_length=100)
    tags: list[str] = Field([], max_length=50)
    on_behalf_of: str = Field("", max_length=150, description="User name of the person you act for.")
    override_window: bool = Field(False, description="Start despite change windows and freezes, if you may.")
    confirm: str = Field("", max_length=601, description="Full name of the deployment, for runs that delete data.")


class EarlierPart(Row):
    run: UUID | None = Field(description="Prefect's id of the run.")
    request: int | None = Field(description="Number of the run request, if it has no run yet.")
    state: str
    at: datetime

    @classmethod
    def of(cls, row: requests.Earlier) -> EarlierPart:
        return cls(run=row.prefect_id, request=None if row.is_run else row.pk, state=row.state, at=row.at)


class ItemPart(Row):
    position: int
    values: dict[str, Any] = Field(description="Its values of the varied parameters.")
    outcome: requests.Outcome
    code: str = Field(description="Why it is skipped or refused; empty for one that would run.")
    why: str
    earlier: EarlierPart | None = Field(description="The latest run or open request with exactly its values.")

    @classmethod
    def of(cls, item: requests.Item) -> ItemPart:
        return cls(
            position=item.position,
            values=dict(item.varied),
            outcome=item.outcome,
            code=item.code,
            why=item.why,
            earlier=EarlierPart.of(item.earlier) if item.earlier else None,
        )


class PlanRow(Row):
    """What a backfill would do, and the digest that a submission can quote."""

    digest: str
    to_run: int
    skipped: int
    refused: int
    deletes_data: bool = Field(description="Whether the submission needs `confirm`.")
    checks_earlier: bool = Field(description="false without permission to view parameters: nothing is skipped.")
    profile: ProfilePart | None = Field(description="The resource profile, with what it sets; null without one.")
    items: list[ItemPart]

    @classmethod
    def of(cls, plan: requests.Plan) -> PlanRow:
        counts = plan.counts
        return cls(
            digest=plan.digest,
            to_run=counts[requests.Outcome.RUN],
            skipped=counts[requests.Outcome.SKIP],
            refused=counts[requests.Outcome.REFUSE],
            deletes_data=plan.is_destructive,
            checks_earlier=plan.checks_earlier,
            profile=ProfilePart(**plan.profile) if plan.profile else None,
            items=[ItemPart.of(item) for item in plan.items],
        )


@router.post("/backfills/plan", response={200: PlanRow, **PROBLEMS}, summary="Plan a backfill")
def plan(request: HttpRequest, payload: Outline) -> PlanRow:
    """Say what a backfill would run, what exists already, and what is refused and why. Nothing is requested."""
    by = actor_of(request)
    return PlanRow.of(
        requests.plan_backfill(
            names.deployment(payload.environment, payload.deployment, by=by),
            payload.parameters,
            payload.vary,
            by=by,
            skip_completed=payload.skip_completed,
            skip_open=payload.skip_open,
            profile=payload.profile,
        )
    )


@router.post("/backfills", response={201: ChangeRow, **PROBLEMS}, summary="Request a backfill")
@idempotent
def submit(request: HttpRequest, payload: Backfill) -> Status[ChangeRow]:
    """Plan it again, and submit one change request for its runs, which is approved as one.

    Send an `Idempotency-Key`: the same request with the same key is one request, whatever happens to the connection.
    """
    by = actor_of(request)
    made = requests.submit_backfill(
        names.deployment(payload.environment, payload.deployment, by=by),
        payload.parameters,
        payload.vary,
        by=by,
        at_once=payload.at_once,
        on_failure=payload.on_failure,
        skip_completed=payload.skip_completed,
        skip_open=payload.skip_open,
        leave_out_refused=payload.leave_out_refused,
        displayed_plan=payload.plan,
        tags=payload.tags,
        profile=payload.profile,
        reason=payload.reason,
        ticket=payload.ticket,
        on_behalf_of=person(payload.on_behalf_of),
        overrides_windows=payload.override_window,
        confirmation=payload.confirm,
        submission_key=submission_key(request) or uuid.uuid4(),
    )
    return Status(201, read(by, made.pk))


@router.post("/backfills/{number}/pause", response={200: ChangeRow, **PROBLEMS}, summary="Pause a backfill")
@idempotent
def pause(request: HttpRequest, number: int, payload: Reason) -> ChangeRow:
    """Start no more of its runs. What was sent to Prefect goes on."""
    return act(request, number, payload, changes.pause)


@router.post("/backfills/{number}/resume", response={200: ChangeRow, **PROBLEMS}, summary="Resume a backfill")
@idempotent
def resume(request: HttpRequest, number: int, payload: Reason) -> ChangeRow:
    """Go on after a pause, or after the failure at which it stopped."""
    return act(request, number, payload, changes.resume)


@router.post("/backfills/{number}/cancel-rest", response={200: ChangeRow, **PROBLEMS}, summary="Cancel the rest")
@idempotent
def cancel_rest(request: HttpRequest, number: int, payload: Reason) -> ChangeRow:
    """Withdraw what was not sent to Prefect. What was sent goes on."""
    return act(request, number, payload, changes.cancel_rest)


def act(request: HttpRequest, number: int, payload: Reason, service: Callable[..., object]) -> ChangeRow:
    by = actor_of(request)
    service(change_of(by, number), by=by, reason=payload.reason)
    return read(by, number)
