"""Find rows by name, as far as a person can see them."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import QuerySet

from flows.catalog import health as healths
from flows.models import Health
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.errors import Refused
from runs.models import Run, RunRequest, Verb
from runs.models.run import STATES
from runs.names import MOST_CANDIDATES, NotVisible, chosen, environment, listing


def health(name: str, *, by: Actor | None = None) -> Health:
    """Check the Prefect server of an environment now."""
    return healths.check(environment(name, by=by).server)


def runs(
    name: str = "", *, by: Actor | None = None, state: str = "", is_stalled: bool = False, limit: int = 20
) -> list[Run]:
    """Return the newest runs; `state` is Prefect's state type in any case."""
    wanted = state.upper()
    if wanted and wanted not in STATES:
        raise Refused(
            "state.unknown",
            f"Unknown state {state}. {listing('States', [each.lower() for each in STATES])}",
            state=state,
        )
    found = visible_runs(by).filter(environment__in=chosen(name, by=by), deleted_upstream_at=None)
    if wanted:
        found = found.filter(state_type=wanted)
    if is_stalled:
        found = found.exclude(stalled_kind="")
    return list(found.order_by("-sort_at", "-pk")[:limit])


def run(reference: str, environment_name: str = "", *, by: Actor | None = None) -> Run:
    """Return a run by Prefect's id, by a unique name, or as `request:12` by its request."""
    places = chosen(environment_name, by=by)
    runs_there = visible_runs(by).filter(environment__in=places, **lookup(reference))
    # One more than is listed, to know whether there are others.
    found = list(runs_there.order_by("-pk")[: MOST_CANDIDATES + 1])
    if not found:
        raise NotVisible("run.unknown", f"Unknown run {reference}.", run=reference)
    if len(found) > 1:
        names = [f"{each.prefect_id} ({each.state_label} in {each.environment})" for each in found]
        raise NotVisible(
            "run.ambiguous",
            f"{reference} matches several runs. {listing('Give the id and the environment of one', names)}",
            run=reference,
        )
    return found[0]


def lookup(reference: str) -> dict[str, Any]:
    """Return the filter for a reference to a run."""
    kind, _, number = reference.partition(":")
    if kind == "request" and number.isdecimal():
        return {"run_request": int(number)}
    try:
        return {"prefect_id": uuid.UUID(reference)}
    except ValueError:
        return {"name": reference}


def visible_runs(by: Actor | None) -> QuerySet[Run]:
    """Return the runs that the actor can see, or all runs without an actor."""
    found = Run.objects.select_related("environment", "access_deployment")
    return found.filter(Permissions.of(by).q(Verb.SEE, deployment="access_deployment__")) if by else found


def status(reference: int | RunRequest, *, by: Actor | None = None) -> RunRequest:
    """Return a request by number, as it is now."""
    pk = reference.pk if isinstance(reference, RunRequest) else reference
    found = RunRequest.objects.select_related(
        "environment", "deployment__environment", "run__environment__server", "change", "spec"
    ).filter(pk=pk)
    if by:
        found = found.filter(Permissions.of(by).q(Verb.SEE, deployment="deployment__"))
    for run_request in found:
        return run_request
    raise NotVisible("request.unknown", f"Unknown request {pk}.", request=pk)
