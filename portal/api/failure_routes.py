"""Routes of failure groups: list, read, own, acknowledge, mute, resolve, comment, and retry their runs."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router, Schema, Status

from portal.api import paging
from portal.api.actions import ActionRow
from portal.api.bodies import body
from portal.api.catalog_routes import actor_of, one
from portal.api.catalog_schemas import link
from portal.api.idempotency import idempotent
from portal.api.problems import PROBLEMS
from runs import failures, names
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.models import Action, FailureGroup

router = Router(tags=["Failures"])
FailureFilters = paging.filters_of(failures.FAILURES)
FAILURE = "/failures/{number}"
# Days and acts of one failure that are returned.
MOST_DAYS, MOST_ACTS = 90, 100


class FailureRow(paging.Row):
    id: int
    environment: str
    deployment: str = Field(description="Its full name; the name of the flow of a run without one.")
    task: str = Field(description="The task that failed first; empty if it is not known, or none did.")
    reason: str = Field(description="Exception and message without what varies; empty without permission to view logs.")
    message: str = Field(description="That of the newest failure. Empty without permission to view logs.")
    state: FailureGroup.State
    state_at: datetime
    state_by: str
    state_reason: str = Field(description="Why it is muted or resolved.")
    muted_until: datetime | None
    owner: str = Field(description="User name; empty without one.")
    failures: int = Field(description="All there were, also of runs that have been deleted since.")
    first_seen_at: datetime
    last_seen_at: datetime
    url: str

    @classmethod
    def of(cls, row: FailureGroup, permissions: Permissions) -> FailureRow:
        sees_message = failures.sees_message(permissions, row)
        return cls(
            id=row.pk,
            environment=row.environment.slug,
            deployment=row.what,
            task=row.task_name,
            reason=row.title if sees_message else "",
            message=row.message if sees_message else "",
            state=row.shown_state,
            state_at=row.state_at,
            state_by=row.state_by_name,
            state_reason=row.reason,
            muted_until=row.muted_until,
            owner=row.owner.get_username() if row.owner else "",
            failures=row.number,
            first_seen_at=row.first_seen_at,
            last_seen_at=row.last_seen_at,
            url=link("runs_failuregroup_change", row.pk),
        )


class FailureDayPart(Schema):
    day: date
    failures: int


class FailureActPart(Schema):
    kind: str = Field(examples=["muted"])
    by: str = Field(description="Empty: the portal.")
    text: str
    at: datetime


class FailureDetail(FailureRow):
    """A failure with its numbers by day, the newest first, and what was done about it. Its runs: `/runs?failure=`."""

    days: list[FailureDayPart]
    acts: list[FailureActPart]


class Owner(Schema):
    model_config = body(owner="otto")

    owner: str = Field("", max_length=150, description="User name; empty for no owner.")


class Acknowledgement(Schema):
    model_config = body(reason="Known outage of the source")

    reason: str = Field("", max_length=1000)


class Mute(Schema):
    model_config = body(until="2026-12-06T12:00:00Z", reason="Fixed with the next release")

    until: datetime = Field(description="In the next 12 months, with an offset.")
    reason: str = Field("", max_length=1000)


class Resolution(Schema):
    model_config = body(reason="Fixed in 1.4")

    reason: str = Field(max_length=1000, description="What resolved it.")


class Note(Schema):
    model_config = body(text="The supplier looks into it")

    text: str = Field(max_length=1000)


class RetryRuns(Schema):
    model_config = body(reason="Network is back", most=20)

    reason: str = Field("", max_length=1000)
    ticket: str = Field("", max_length=100)
    most: int = Field(failures.MOST_AT_ONCE, ge=1, le=failures.MOST_AT_ONCE, description="The newest so many runs.")


class RetriedRun(Schema):
    run: UUID = Field(description="Prefect's id of the run.")
    action: ActionRow | None = Field(description="The retry; null if it waits for approval or was refused.")
    change: int | None = Field(description="Number of the change request that it needs; null if it needs none.")
    code: str = Field(description="Why it was refused; empty if it was not.")
    why: str

    @classmethod
    def of(cls, found: failures.Retried) -> RetriedRun:
        made = found.made
        return cls(
            run=found.run.prefect_id,
            action=ActionRow.of(made) if isinstance(made, Action) else None,
            change=made.pk if made is not None and not isinstance(made, Action) else None,
            code=found.code,
            why=found.why,
        )


class RetriedRuns(Schema):
    items: list[RetriedRun]
    left: int = Field(description="Runs for which there was no time left. Send it again for them.")


def failure_of(by: Actor, number: int) -> FailureGroup:
    return one(failures.FAILURES.rows(by), "failure", pk=number)


def read(by: Actor, number: int) -> FailureDetail:
    found = failure_of(by, number)
    days = found.days.order_by("-day")[:MOST_DAYS]
    acts = found.acts.all()[:MOST_ACTS]
    return FailureDetail(
        **FailureRow.of(found, Permissions.of(by)).model_dump(),
        days=[FailureDayPart(day=each.day, failures=each.number) for each in days],
        acts=[FailureActPart(kind=each.kind, by=each.by_name, text=each.text, at=each.at) for each in acts],
    )


@router.get("/failures", response={200: paging.page_of(FailureRow), **PROBLEMS}, summary="List failures")
def list_failures(request: HttpRequest, query: Query[FailureFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List failure groups, those that failed last first."""
    permissions = Permissions.of(actor_of(request))
    return paging.answer(
        request, failures.FAILURES, query, FailureRow, lambda row: FailureRow.of(row, permissions), permissions
    )


@router.get(FAILURE, response={200: FailureDetail, **PROBLEMS}, summary="Read a failure")
def read_failure(request: HttpRequest, number: int) -> FailureDetail:
    return read(actor_of(request), number)


@router.post(f"{FAILURE}/own", response={200: FailureDetail, **PROBLEMS}, summary="Set the owner of a failure")
@idempotent
def own(request: HttpRequest, number: int, payload: Owner) -> FailureDetail:
    by = actor_of(request)
    group = failure_of(by, number)
    failures.assign(group, names.user(payload.owner) if payload.owner else None, by=by)
    return read(by, number)


@router.post(f"{FAILURE}/acknowledge", response={200: FailureDetail, **PROBLEMS}, summary="Mark a failure as known")
@idempotent
def acknowledge(request: HttpRequest, number: int, payload: Acknowledgement) -> FailureDetail:
    """Mark it as known; this also ends a mute, and reopens one that was resolved."""
    by = actor_of(request)
    failures.acknowledge(failure_of(by, number), by=by, reason=payload.reason)
    return read(by, number)


@router.post(f"{FAILURE}/mute", response={200: FailureDetail, **PROBLEMS}, summary="Mute a failure")
@idempotent
def mute(request: HttpRequest, number: int, payload: Mute) -> FailureDetail:
    """Count its failures until then, and notify nobody of them."""
    by = actor_of(request)
    failures.mute(failure_of(by, number), payload.until, by=by, reason=payload.reason)
    return read(by, number)


@router.post(f"{FAILURE}/resolve", response={200: FailureDetail, **PROBLEMS}, summary="Resolve a failure")
@idempotent
def resolve(request: HttpRequest, number: int, payload: Resolution) -> FailureDetail:
    """Mark it as resolved. If it fails again, it has regressed."""
    by = actor_of(request)
    failures.resolve(failure_of(by, number), by=by, reason=payload.reason)
    return read(by, number)


@router.post(f"{FAILURE}/notes", response={200: FailureDetail, **PROBLEMS}, summary="Add a note to a failure")
@idempotent
def comment(request: HttpRequest, number: int, payload: Note) -> FailureDetail:
    by = actor_of(request)
    failures.comment(failure_of(by, number), payload.text, by=by)
    return read(by, number)


@router.post(f"{FAILURE}/retry", response={202: RetriedRuns, **PROBLEMS}, summary="Retry the runs of a failure")
@idempotent
def retry(request: HttpRequest, number: int, payload: RetryRuns) -> Status[RetriedRuns]:
    """Retry its runs that are still failed, each as `POST …/runs/{run}/retry` does. A refusal stops no others."""
    by = actor_of(request)
    runs = list(failures.retryable_runs(failure_of(by, number), Permissions.of(by))[: payload.most])
    found = failures.retry_runs(runs, by=by, reason=payload.reason, ticket=payload.ticket)
    return Status(202, RetriedRuns(items=[RetriedRun.of(each) for each in found], left=len(runs) - len(found)))
