"""Routes of schedules: read, request, replace, pause, resume and end them, and the next times of a rule."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router, Schema, Status
from pydantic import AwareDatetime

from flows import parameters as schemas
from portal.api import paging
from portal.api.bodies import body
from portal.api.catalog_routes import actor_of, one
from portal.api.catalog_schemas import link
from portal.api.idempotency import idempotent, submission_key
from portal.api.problems import PROBLEMS
from portal.api.request_routes import person
from portal.api.request_schemas import ProfilePart
from runs import names
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation import schedule_copies, schedule_listings, schedules
from runs.automation.schedule_listings import SCHEDULES
from runs.models import RunRequest, Schedule
from runs.requests import spec_values, visibility

router = Router(tags=["Schedules"])
ScheduleFilters = paging.filters_of(SCHEDULES)
RULE = "A cron expression (0 6 * * 1-5), an interval (15m, 6h, 7d) or a recurrence rule (FREQ=MONTHLY;BYDAY=1MO)."
# In place of values that the reader may not view.
HIDDEN = {"ours": "", "theirs": ""}


class ScheduleRow(paging.Row):
    id: int = Field(description="Number of the schedule.")
    change: int = Field(description="Number of the change request with which it is approved.")
    environment: str
    deployment: str
    name: str
    owner: str = Field(description="Who requested it: its runs start with that person's permissions.")
    rule_type: str = Field(examples=["cron"])
    rule: str = Field(examples=["0 6 * * 1-5"])
    time_zone: str
    anchor: datetime | None = Field(description="Where an interval starts to count.")
    catch_up: str = Field(description="none, last or all: what of missed starts is started.")
    valid_until: datetime
    replaces: int | None = Field(description="Number of the schedule that ends when this one becomes active.")
    native: bool = Field(description="Whether Prefect keeps it, and starts its runs without asking the portal.")
    drift: list[dict[str, str]] = Field(
        description="In what Prefect's copy differs: what (state, rule or parameters), ours, theirs. Without the "
        "values of parameters."
    )
    state: str = Field(examples=["active"])
    code: str = Field(description="Why it is paused or has ended; person if someone did it.")
    message: str
    next_due: datetime | None = Field(description="Null while it is not active.")
    last_due: datetime | None
    approves_each: bool = Field(description="Whether each run is a request that needs its own approval.")
    missed: int = Field(description="Starts that were skipped because the portal was down.")
    url: str

    @classmethod
    def columns(cls, row: Schedule) -> dict[str, Any]:
        same = (
            *("name", "rule_type", "rule", "time_zone", "anchor", "catch_up", "valid_until", "approves_each"),
            *("state", "code", "message", "next_due", "last_due", "missed"),
        )
        return {
            **{name: getattr(row, name) for name in same},
            "native": row.is_native,
            "drift": [{**each, **HIDDEN} if each["what"] == "parameters" else each for each in row.drift],
            "id": row.pk,
            "change": row.change_id,
            "environment": row.environment.slug,
            "deployment": row.deployment.full_name,
            "owner": row.change.requested_by_name,
            "replaces": row.replaces_id,
            "url": link("runs_schedule_change", row.pk),
        }

    @classmethod
    def of(cls, row: Schedule) -> ScheduleRow:
        return cls(**cls.columns(row))


class ScheduleDetail(ScheduleRow):
    """A schedule with what it runs, and when next."""

    next_starts: list[datetime] = Field(description="The next ten.")
    parameters: dict[str, Any] | None = Field(description="Secrets masked; null without permission to view them.")
    tags: list[str]
    run_name: str
    profile: ProfilePart | None = Field(description="The resource profile, with what it sets; null without one.")

    @classmethod
    def read(cls, row: Schedule, permissions: Permissions) -> ScheduleDetail:
        spec = row.spec
        run_request = RunRequest(change=row.change, spec=spec, deployment=row.deployment)
        sees = visibility.can_view_parameters(permissions, run_request)
        values = schemas.mask(row.deployment.parameter_schema, spec_values(spec)) if sees else None
        return cls(
            **cls.columns(row),
            next_starts=schedule_listings.next_starts(row),
            parameters=values,
            tags=spec.tags,
            run_name=spec.run_name,
            profile=ProfilePart.of(spec),
        )


class RuleBody(Schema):
    """When something is due."""

    model_config = body(rule_type="cron", rule="0 6 * * 1-5", time_zone="Europe/Vienna")

    rule_type: str = Field(max_length=10, description="cron, interval or rrule.")
    rule: str = Field(max_length=500, description=RULE)
    time_zone: str = Field("UTC", max_length=60)
    anchor: AwareDatetime | None = Field(
        None, description="Where an interval starts to count; null for midnight of 1 January 2020 in the time zone."
    )


class NextTimes(paging.Row):
    times: list[datetime]


class NewSchedule(RuleBody):
    """A request for a schedule."""

    model_config = body(
        environment="prod",
        deployment="monthly/monthly",
        name="nightly",
        rule_type="cron",
        rule="0 6 * * 1-5",
        time_zone="Europe/Vienna",
        valid_until="2027-06-30T00:00:00+02:00",
        parameters={"month": "2026-10"},
        reason="Figures are needed each morning",
    )

    environment: str = Field(max_length=40)
    deployment: str = Field(max_length=601, description="Alias, full name, id, or a name that is unique there.")
    name: str = Field(max_length=100)
    parameters: dict[str, Any] = {}
    valid_until: AwareDatetime = Field(description="Its end, at most a year from now.")
    catch_up: Schedule.CatchUp = Field(Schedule.CatchUp.NONE, description="What of missed starts is started.")
    native: bool = Field(False, description="Have Prefect keep it, where the rules allow that.")
    reason: str = Field("", max_length=1000)
    ticket: str = Field("", max_length=100)
    tags: list[str] = Field([], max_length=50)
    run_name: str = Field("", max_length=300)
    profile: str = Field("", max_length=100, description="Name of a resource profile.")
    on_behalf_of: str = Field("", max_length=150, description="User name of the person you act for.")
    confirm: str = Field("", max_length=601, description="Full name of the deployment, for runs that delete data.")


class Replacement(Schema):
    """What is to be different; the rest stays. With a new end alone it is a renewal."""

    model_config = body(valid_until="2027-12-31T00:00:00+01:00", reason="Still needed")

    valid_until: AwareDatetime
    name: str | None = Field(None, max_length=100)
    rule_type: str | None = Field(None, max_length=10)
    rule: str | None = Field(None, max_length=500, description=RULE)
    time_zone: str | None = Field(None, max_length=60)
    anchor: AwareDatetime | None = None
    catch_up: Schedule.CatchUp | None = None
    is_native: bool | None = Field(None, alias="native", description="Whether Prefect keeps it.")
    parameters: dict[str, Any] | None = Field(
        None, description="All of them; null for those of the schedule, secret ones unseen."
    )
    profile: str | None = Field(None, max_length=100, description="Name of a resource profile, empty for none.")
    reason: str = Field("", max_length=1000)
    ticket: str = Field("", max_length=100)
    confirm: str = Field("", max_length=601, description="Full name of the deployment, for runs that delete data.")


class ReasonAndTicket(Schema):
    model_config = body(reason="Maintenance", ticket="OPS-17")

    reason: str = Field("", max_length=1000)
    ticket: str = Field("", max_length=100)


def schedule_of(by: Actor, number: int, permissions: Permissions | None = None) -> Schedule:
    return one(SCHEDULES.rows(by, permissions=permissions), "schedule", pk=number)


def read(by: Actor, number: int) -> ScheduleDetail:
    permissions = Permissions.of(by)
    return ScheduleDetail.read(schedule_of(by, number, permissions), permissions)


@router.get("/schedules", response={200: paging.page_of(ScheduleRow), **PROBLEMS}, summary="List schedules")
def list_schedules(request: HttpRequest, query: Query[ScheduleFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List the schedules of the portal; those that Prefect has are part of its deployments."""
    return paging.answer(request, SCHEDULES, query, ScheduleRow, ScheduleRow.of)


# Before the route of one: a number is any text to the router.
@router.post("/schedules/next", response={200: NextTimes, **PROBLEMS}, summary="Compute the next times of a rule")
def next_times(request: HttpRequest, payload: RuleBody) -> NextTimes:
    """Return the next ten times that a rule is due. Nothing is requested."""
    rule = (payload.rule_type, payload.rule, payload.time_zone)
    return NextTimes(times=schedule_listings.preview(*rule, anchor=payload.anchor))


@router.get("/schedules/{number}", response={200: ScheduleDetail, **PROBLEMS}, summary="Read a schedule")
def read_schedule(request: HttpRequest, number: int) -> ScheduleDetail:
    return read(actor_of(request), number)


@router.post("/schedules", response={201: ScheduleDetail, **PROBLEMS}, summary="Request a schedule")
@idempotent
def submit(request: HttpRequest, payload: NewSchedule) -> Status[ScheduleDetail]:
    """Submit a change request for a schedule: one approval is for all its runs until it ends.

    Send an `Idempotency-Key`: the same request with the same key is one request, whatever happens to the connection.
    """
    by = actor_of(request)
    made = schedules.request(
        names.deployment(payload.environment, payload.deployment, by=by),
        payload.parameters,
        by=by,
        name=payload.name,
        rule_type=payload.rule_type,
        rule=payload.rule,
        time_zone=payload.time_zone,
        anchor=payload.anchor,
        valid_until=payload.valid_until,
        catch_up=payload.catch_up,
        is_native=payload.native,
        tags=payload.tags,
        run_name=payload.run_name,
        profile=payload.profile,
        reason=payload.reason,
        ticket=payload.ticket,
        on_behalf_of=person(payload.on_behalf_of),
        confirmation=payload.confirm,
        submission_key=submission_key(request) or uuid.uuid4(),
    )
    return Status(201, read(by, made.pk))


@router.post("/schedules/{number}/replace", response={201: ScheduleDetail, **PROBLEMS}, summary="Replace a schedule")
@idempotent
def replace(request: HttpRequest, number: int, payload: Replacement) -> Status[ScheduleDetail]:
    """Request a schedule that replaces this one when it is approved: an edit, a renewal, or another owner."""
    by = actor_of(request)
    given = {name: getattr(payload, name) for name in schedules.EDITABLE if getattr(payload, name) is not None}
    made = schedules.edit(
        schedule_of(by, number),
        by=by,
        parameters=payload.parameters,
        profile=payload.profile,
        valid_until=payload.valid_until,
        reason=payload.reason,
        ticket=payload.ticket,
        confirmation=payload.confirm,
        submission_key=submission_key(request) or uuid.uuid4(),
        **given,
    )
    return Status(201, read(by, made.pk))


@router.post("/schedules/{number}/pause", response={200: ScheduleDetail, **PROBLEMS}, summary="Pause a schedule")
@idempotent
def pause(request: HttpRequest, number: int, payload: ReasonAndTicket) -> ScheduleDetail:
    """Start no more runs until it is resumed. Runs that were not sent to Prefect are withdrawn."""
    return act(request, number, payload, schedules.pause)


@router.post("/schedules/{number}/resume", response={200: ScheduleDetail, **PROBLEMS}, summary="Resume a schedule")
@idempotent
def resume(request: HttpRequest, number: int, payload: ReasonAndTicket) -> ScheduleDetail:
    """Start runs again, from the next due time on."""
    return act(request, number, payload, schedules.resume)


@router.post("/schedules/{number}/end", response={200: ScheduleDetail, **PROBLEMS}, summary="End a schedule")
@idempotent
def end(request: HttpRequest, number: int, payload: ReasonAndTicket) -> ScheduleDetail:
    """End it for good. Runs that were not sent to Prefect are withdrawn."""
    return act(request, number, payload, schedules.end)


@router.post("/schedules/{number}/put-back", response={200: ScheduleDetail, **PROBLEMS}, summary="Put back a schedule")
@idempotent
def put_back(request: HttpRequest, number: int, payload: ReasonAndTicket) -> ScheduleDetail:
    """Save Prefect's copy of a schedule again as it was approved, after it was changed there."""
    return act(request, number, payload, schedule_copies.put_back)


def act(request: HttpRequest, number: int, payload: ReasonAndTicket, service: Callable[..., None]) -> ScheduleDetail:
    by = actor_of(request)
    service(schedule_of(by, number), by=by, reason=payload.reason, ticket=payload.ticket)
    return read(by, number)
