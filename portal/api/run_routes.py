"""Routes of runs: their states, task runs, log and artifacts; cancel and retry."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router, Schema, Status

from flows.models import GlobalLimit
from portal.api import paging
from portal.api.actions import ActionRow, Requested
from portal.api.bodies import body
from portal.api.catalog_routes import actor_of, one
from portal.api.idempotency import idempotent
from portal.api.problems import PROBLEMS
from portal.api.run_schemas import ArtifactRow, LogLineRow, RunRow, StateRow, TaskRunRow
from runs import listings, requests
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.global_limits import sees_row
from runs.models import Action, Run, Verb
from runs.work_pools import WORK_POOLS

router = Router(tags=["Runs"])
RunFilters = paging.filters_of(listings.RUNS)
LogFilters = paging.filters_of(listings.LOGS, "run")
TaskRunFilters = paging.filters_of(listings.TASK_RUNS, "run")
ArtifactFilters = paging.filters_of(listings.ARTIFACTS)
RUN = "/environments/{environment}/runs/{run}"


def run_of(by: Actor, environment: str, pk: UUID) -> Run:
    return one(listings.RUNS.rows(by, {"environment": environment}), "run", prefect_id=pk)


def with_log(by: Actor, environment: str, pk: UUID) -> Run:
    """Return a run whose log the actor can view; its task runs, states and artifacts quote it."""
    found = run_of(by, environment, pk)
    Permissions.of(by).require(Verb.SEE_LOGS, Target.of_run(found))
    return found


class RunDetail(RunRow):
    """A run with its states, which are empty without permission to view logs."""

    states: list[StateRow]


@router.get("/runs", response={200: paging.page_of(RunRow), **PROBLEMS}, summary="List runs")
def list_runs(request: HttpRequest, query: Query[RunFilters]) -> HttpResponse:  # type: ignore[valid-type]
    permissions = Permissions.of(actor_of(request))
    return paging.answer(request, listings.RUNS, query, RunRow, lambda row: RunRow.of(row, permissions), permissions)


@router.get(RUN, response={200: RunDetail, **PROBLEMS}, summary="Read a run")
def read_run(request: HttpRequest, environment: str, run: UUID) -> RunDetail:
    by = actor_of(request)
    found, permissions = run_of(by, environment, run), Permissions.of(by)
    sees_log = permissions.decide(Verb.SEE_LOGS, Target.of_run(found))
    states = [StateRow.of(each) for each in found.state_changes.all()] if sees_log else []
    return RunDetail(**RunRow.of(found, permissions).model_dump(), states=states)


@router.get(f"{RUN}/logs", response={200: paging.page_of(LogLineRow), **PROBLEMS}, summary="Read the log of a run")
def list_logs(
    request: HttpRequest,
    environment: str,
    run: UUID,
    query: Query[LogFilters],  # type: ignore[valid-type]
) -> HttpResponse:
    """List the lines of a log by their times. With `after`, follow it: 0 first, then the id of the last line."""
    found = with_log(actor_of(request), environment, run)
    listing = listings.LOGS if query.after is None else listings.LOGS_AS_FOUND  # type: ignore[attr-defined]
    return paging.answer(request, listing, query, LogLineRow, LogLineRow.of, run=found.pk)


@router.get(f"{RUN}/task-runs", response={200: paging.page_of(TaskRunRow), **PROBLEMS}, summary="List task runs")
def list_task_runs(
    request: HttpRequest,
    environment: str,
    run: UUID,
    query: Query[TaskRunFilters],  # type: ignore[valid-type]
) -> HttpResponse:
    found = with_log(actor_of(request), environment, run)
    return paging.answer(request, listings.TASK_RUNS, query, TaskRunRow, TaskRunRow.of, run=found.pk)


@router.get("/artifacts", response={200: paging.page_of(ArtifactRow), **PROBLEMS}, summary="List artifacts")
def list_artifacts(request: HttpRequest, query: Query[ArtifactFilters]) -> HttpResponse:  # type: ignore[valid-type]
    return paging.answer(request, listings.ARTIFACTS, query, ArtifactRow, ArtifactRow.of)


class Cancellation(Schema):
    model_config = body(reason="Wrong month")

    reason: str = Field("", max_length=1000)
    ticket: str = Field("", max_length=100)
    force: bool = Field(False, description="Mark it as cancelled, when an ordinary cancellation had no effect.")


class Retry(Schema):
    model_config = body(reason="Network was down")

    reason: str = Field("", max_length=1000)
    ticket: str = Field("", max_length=100)


class Recovery(Schema):
    model_config = body(kind="put back", reason="The host was rebooted")

    kind: Literal["put back", "fail"] = Field(description="Back to Scheduled, so that a worker starts it; or failed.")
    reason: str = Field("", max_length=1000, description="How you know that no process is working on it.")
    ticket: str = Field("", max_length=100)


@router.post(f"{RUN}/cancel", response={202: ActionRow, **PROBLEMS}, summary="Cancel a run")
@idempotent
def cancel(request: HttpRequest, environment: str, run: UUID, payload: Cancellation) -> Status[ActionRow]:
    by = actor_of(request)
    verb = requests.force_cancel if payload.force else requests.cancel
    made = verb(run_of(by, environment, run), by=by, reason=payload.reason, ticket=payload.ticket)
    return Status(202, ActionRow.of(made))


# What is done about a stalled run -> the service
RECOVERIES = {"put back": requests.put_back, "fail": requests.mark_failed}


@router.post(f"{RUN}/recover", response={202: ActionRow, **PROBLEMS}, summary="Recover a stalled run")
@idempotent
def recover(request: HttpRequest, environment: str, run: UUID, payload: Recovery) -> Status[ActionRow]:
    """Put a stalled run back to Scheduled, or mark it as failed. It is left alone if it has moved meanwhile."""
    by = actor_of(request)
    verb = RECOVERIES[payload.kind]
    made = verb(run_of(by, environment, run), by=by, reason=payload.reason, ticket=payload.ticket)
    return Status(202, ActionRow.of(made))


@router.post(f"{RUN}/retry", response={202: Requested, **PROBLEMS}, summary="Retry a failed run in place")
@idempotent
def retry(request: HttpRequest, environment: str, run: UUID, payload: Retry) -> Status[Requested]:
    by = actor_of(request)
    made = requests.retry(run_of(by, environment, run), by=by, reason=payload.reason, ticket=payload.ticket)
    return Status(202, Requested.of(made))


@router.get("/actions/{number}", response={200: ActionRow, **PROBLEMS}, summary="Read what became of an action")
def read_action(request: HttpRequest, number: int) -> ActionRow:
    by = actor_of(request)
    pools = WORK_POOLS.rows(by).values("pk")
    visible = (
        Q(run__in=listings.RUNS.rows(by).values("pk"))
        | Q(deployment__in=listings.DEPLOYMENTS.rows(by).values("pk"))
        | Q(pool__in=pools)
        | Q(queue__pool__in=pools)
        | Q(global_limit__in=GlobalLimit.objects.filter(sees_row(Permissions.of(by))).values("pk"))
    )
    return ActionRow.of(one(Action.objects.filter(visible), "action", pk=number))
