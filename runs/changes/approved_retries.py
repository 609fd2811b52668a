"""Retries that need an approval: what starts one when its change request is approved."""

from __future__ import annotations

from runs import requests
from runs.actors import Actor, Channel
from runs.errors import Refused
from runs.models import ChangeRequest, Run, RunSpec
from runs.models.action import OPEN, Kind
from runs.requests.cancel import locked


def start(change: ChangeRequest) -> None:
    """Queue the retry that a change request was approved for, as its requester.

    Raises `Refused` if the run has moved since: nothing is left to retry, and the change request can only be rejected.
    """
    if change.requested_by is None:
        raise ValueError(f"Change request {change.pk} has no requester.")
    run = run_of(spec_of(change))
    requests.require_retryable(run, requests.request_of(run))
    if run.actions.filter(kind=Kind.RETRY, state__in=OPEN).exists():
        raise Refused("retry.pending", f"A retry of {run} is already under way.")
    by = Actor.person(change.requested_by, channel=Channel(change.channel))
    requests.create_retry(run, by=by, reason=change.reason, ticket=change.ticket, change=change)


def spec_of(change: ChangeRequest) -> RunSpec:
    """Return what a change request for a retry would run."""
    return change.specs.select_related("deployment__environment", "rerun_of__run").get()


def run_of(spec: RunSpec) -> Run:
    """Return the locked run that would be retried."""
    run = spec.rerun_of.run if spec.rerun_of else None
    if run is None:
        raise Refused("run.gone", "The run is no longer kept here, so it cannot be retried.")
    return locked(run)
