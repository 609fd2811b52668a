"""Routes of chains: list and save them, run one, follow and resume a run, and decide at its gates."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Status

from portal.api import paging
from portal.api.catalog_routes import actor_of, one
from portal.api.chain_schemas import (
    ChainDetail,
    ChainEdit,
    ChainOutline,
    ChainPlanRow,
    ChainRow,
    ChainRunRow,
    NewChain,
    NewChainRun,
    Version,
)
from portal.api.idempotency import idempotent, submission_key
from portal.api.problems import PROBLEMS
from portal.api.request_routes import Reason, person
from runs import changes, names
from runs.access.decisions import Permissions
from runs.access.whole_chains import sees_whole_chain
from runs.actors import Actor
from runs.automation import chain_pacing, chains
from runs.automation.chain_listings import CHAINS
from runs.automation.chain_plan import plan_run
from runs.automation.chain_progress import read_progress
from runs.models import Chain, ChangeRequest, RunRequest, Verb

router = Router(tags=["Chains"])
ChainFilters = paging.filters_of(CHAINS)


# Chains ---------------------------------------------------------------------------------------------------------------


def chain_of(by: Actor, number: int) -> Chain:
    return one(CHAINS.rows(by), "chain", pk=number)


def read(by: Actor, number: int) -> ChainDetail:
    row, permissions = chain_of(by, number), Permissions.of(by)
    steps = chains.current_steps(row)
    sees = all(permissions.decide(Verb.SEE_INPUTS, each.deployment) for each in steps)
    version = row.versions.get(number=row.number)
    return ChainDetail(**ChainRow.columns(row), definition=version.definition if sees else None)


@router.get("/chains", response={200: paging.page_of(ChainRow), **PROBLEMS}, summary="List chains")
def list_chains(request: HttpRequest, query: Query[ChainFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List the chains of which you see every deployment."""
    return paging.answer(request, CHAINS, query, ChainRow, ChainRow.of)


@router.get("/chains/{number}", response={200: ChainDetail, **PROBLEMS}, summary="Read a chain")
def read_chain(request: HttpRequest, number: int) -> ChainDetail:
    return read(actor_of(request), number)


@router.post("/chains", response={201: ChainDetail, **PROBLEMS}, summary="Create a chain")
@idempotent
def create_chain(request: HttpRequest, payload: NewChain) -> Status[ChainDetail]:
    by = actor_of(request)
    place = names.environment(payload.environment, by=by)
    saved = chains.save(
        place,
        payload.name,
        payload.definition,
        by=by,
        description=payload.description,
        valid_until=payload.valid_until,
    )
    return Status(201, read(by, saved.chain_id))


@router.post("/chains/{number}/versions", response={201: ChainDetail, **PROBLEMS}, summary="Save a version of a chain")
@idempotent
def save_version(request: HttpRequest, number: int, payload: Version) -> Status[ChainDetail]:
    """Save what further runs have, and renew it; the definition that it has already is no new version.

    You are its owner from then on: of a service account its owner is.
    """
    by = actor_of(request)
    chain = chain_of(by, number)
    chains.save(
        chain.environment,
        chain.name if payload.name is None else payload.name,
        payload.definition,
        by=by,
        chain=chain,
        description=chain.description if payload.description is None else payload.description,
        valid_until=payload.valid_until,
    )
    return Status(201, read(by, number))


@router.patch("/chains/{number}", response={200: ChainDetail, **PROBLEMS}, summary="Enable or disable a chain")
@idempotent
def edit_chain(request: HttpRequest, number: int, payload: ChainEdit) -> ChainDetail:
    by = actor_of(request)
    chains.set_enabled(chain_of(by, number), payload.is_enabled, by=by, reason=payload.reason)
    return read(by, number)


@router.post("/chains/{number}/plan", response={200: ChainPlanRow, **PROBLEMS}, summary="Plan a run of a chain")
def plan_chain(request: HttpRequest, number: int, payload: ChainOutline) -> ChainPlanRow:
    """Say which runs a run of the chain would be, and which are refused and why. Nothing is requested."""
    by = actor_of(request)
    return ChainPlanRow.of(plan_run(chain_of(by, number), payload.inputs, by=by, profiles=payload.profiles))


@router.post("/chains/{number}/runs", response={201: ChainRunRow, **PROBLEMS}, summary="Run a chain")
@idempotent
def run_chain(request: HttpRequest, number: int, payload: NewChainRun) -> Status[ChainRunRow]:
    """Submit one change request for all steps. Send an `Idempotency-Key`: then it is one, whatever gets lost."""
    by = actor_of(request)
    made = chains.request_run(
        chain_of(by, number),
        payload.inputs,
        by=by,
        profiles=payload.profiles,
        displayed_version=payload.version,
        displayed_plan=payload.plan,
        reason=payload.reason,
        ticket=payload.ticket,
        on_behalf_of=person(payload.on_behalf_of),
        submission_key=submission_key(request) or uuid.uuid4(),
    )
    return Status(201, read_run(by, made.pk))


# Their runs -----------------------------------------------------------------------------------------------------------


def run_of(by: Actor, number: int, permissions: Permissions | None = None) -> ChangeRequest:
    seen = ChangeRequest.objects.filter(sees_whole_chain(permissions or Permissions.of(by)))
    return one(seen.select_related("environment", "requested_by"), "run of a chain", pk=number)


def read_run(by: Actor, number: int) -> ChainRunRow:
    permissions = Permissions.of(by)
    return ChainRunRow.of(read_progress(run_of(by, number, permissions)), permissions)


@router.get("/chain-runs/{number}", response={200: ChainRunRow, **PROBLEMS}, summary="Read a run of a chain")
def read_chain_run(request: HttpRequest, number: int) -> ChainRunRow:
    """Read where each step is. The number is that of the change request."""
    return read_run(actor_of(request), number)


@router.post("/chain-runs/{number}/pause", response={200: ChainRunRow, **PROBLEMS}, summary="Pause a chain")
@idempotent
def pause_chain(request: HttpRequest, number: int, payload: Reason) -> ChainRunRow:
    """Start no more steps until it is resumed. What was sent to Prefect goes on."""
    return act(request, number, payload, chain_pacing.pause)


@router.post("/chain-runs/{number}/resume", response={200: ChainRunRow, **PROBLEMS}, summary="Resume a chain")
@idempotent
def resume_chain(request: HttpRequest, number: int, payload: Reason) -> ChainRunRow:
    """Go on after a pause, or start the failed steps again. What completed is not repeated."""
    return act(request, number, payload, chain_pacing.resume)


@router.post(
    "/chain-runs/{number}/cancel-rest", response={200: ChainRunRow, **PROBLEMS}, summary="Cancel the rest of a chain"
)
@idempotent
def cancel_rest_of_chain(request: HttpRequest, number: int, payload: Reason) -> ChainRunRow:
    """Start no more steps. What was sent to Prefect goes on."""
    return act(request, number, payload, chain_pacing.cancel_rest)


def act(request: HttpRequest, number: int, payload: Reason, service: Callable[..., object]) -> ChainRunRow:
    by = actor_of(request)
    service(run_of(by, number), by=by, reason=payload.reason)
    return read_run(by, number)


@router.post(
    "/chain-runs/{number}/steps/{step}/let-go",
    response={200: ChainRunRow, **PROBLEMS},
    summary="Let a step start that waits at its gate",
)
@idempotent
def let_step_go(request: HttpRequest, number: int, step: str, payload: Reason) -> ChainRunRow:
    return decide(request, number, step, payload, changes.let_go)


@router.post(
    "/chain-runs/{number}/steps/{step}/reject",
    response={200: ChainRunRow, **PROBLEMS},
    summary="Reject a step that waits at its gate",
)
@idempotent
def reject_step(request: HttpRequest, number: int, step: str, payload: Reason) -> ChainRunRow:
    """The step does not start and counts as failed."""
    return decide(request, number, step, payload, changes.reject_step)


def decide(
    request: HttpRequest, number: int, step: str, payload: Reason, service: Callable[..., object]
) -> ChainRunRow:
    by = actor_of(request)
    service(attempt_of(run_of(by, number), step), by=by, reason=payload.reason)
    return read_run(by, number)


def attempt_of(change: ChangeRequest, step: str) -> RunRequest:
    """Return the latest attempt of a step; raises `NotVisible`."""
    latest = read_progress(change).latest
    rows = change.run_requests.select_related("environment", "deployment__environment", "spec", "change")
    if step not in latest:
        return one(rows.none(), "started step", occurrence=step)
    return one(rows, "started step", pk=latest[step].pk)
