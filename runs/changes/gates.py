"""The gates of chains: which steps wait for a person, and whether one let them go. It reads only."""

from __future__ import annotations

from runs.audit import signatures
from runs.errors import Refused
from runs.models import ChainRun, ChangeRequest, RunRequest
from runs.requests.frozen_values import chain_run_of

AT_GATE = "It waits at its gate: a person must let it start."
NOT_APPROVED = "This attempt was not approved with the chain: a person with permission to approve must let it start."


def why_gated(run_request: RunRequest) -> str:
    """Return why a person must let a step of a chain start; empty when none must, or one did.

    What its values are is not asked here: `runs.changes.release`.
    """
    if run_request.change.kind != ChangeRequest.Kind.CHAIN or is_let_go(run_request):
        return ""
    chain_run: ChainRun | None = getattr(run_request.change, "chain_run", None)
    if chain_run is None:
        return "The version of the chain is missing. Find out who changed the database."
    if attempt_of(run_request) == 1:
        if item_of(run_request) > 1 and is_first_let_go(run_request):
            return ""
        return AT_GATE if chain_run.version.step(run_request.spec.position)["gate"] else ""
    # Each approval is for one start, and for the retries that were approved with it.
    return NOT_APPROVED if run_request.change.needs_approval and not is_own_retry(run_request, chain_run) else ""


def is_own_retry(run_request: RunRequest, chain_run: ChainRun) -> bool:
    """Return whether an attempt is one of the retries that the definition gives the step."""
    return attempt_of(run_request) <= 1 + int(chain_run.version.step(run_request.spec.position)["retries"])


def attempt_of(run_request: RunRequest) -> int:
    """Return which attempt of its step a run request is, counted from 1."""
    return int(run_request.occurrence.partition("-")[0])


def item_of(run_request: RunRequest) -> int:
    """Return which run of a step that is a backfill a run request is, counted from 1; 0 of every other step."""
    return int(run_request.occurrence.partition("-")[2] or 0)


def is_of_backfill(run_request: RunRequest) -> bool:
    """Return whether a run request is one of several of a step of a chain."""
    return run_request.change.kind == ChangeRequest.Kind.CHAIN and item_of(run_request) > 0


def occurrence(attempt: int, item: int = 0) -> str:
    """Return the key of an attempt of a step, or of one run of a step that is a backfill."""
    return f"{attempt}-{item}" if item else str(attempt)


def is_first_let_go(run_request: RunRequest) -> bool:
    """Return whether a person let the first run of a step that is a backfill start: that decides about all of them."""
    firsts = RunRequest.objects.filter(spec=run_request.spec_id, occurrence__endswith="-1")
    return any(map(is_let_go, firsts.select_related("change").prefetch_related("step_decisions")))


def is_let_go(run_request: RunRequest) -> bool:
    """Return whether a person let exactly this attempt, with its values, start."""
    # All of them, not a filter: a page prefetches those of every step.
    for each in run_request.step_decisions.all():
        each.run_request = run_request
        if each.is_allowed and signatures.is_signed(each):
            return True
    return False


def require_chain_enabled(change: ChangeRequest) -> None:
    """Refuse to start a step of a chain that was disabled. Called again right before the launch."""
    chain_run = chain_run_of(change)
    if chain_run is None or not chain_run.version.chain.is_enabled:
        raise Refused(
            "chain.disabled",
            f"The chain of request {change.pk} was disabled, so none of its steps start. Enable it, then resume.",
        )
