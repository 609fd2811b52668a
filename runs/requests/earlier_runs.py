"""Find the latest run or open request of a deployment with exactly given parameter values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q

from flows import canonical, deployments
from flows import parameters as schemas
from flows.models import Deployment
from runs.models import Run, RunRequest
from runs.models.request import State
from runs.models.run import TERMINAL, label_of

# Of a deployment with more runs only the newest are looked at: no column of parameters has an index.
LOOKED_AT = 20_000
UNSENT = (State.HELD, State.APPROVED, State.LAUNCHING, State.LAUNCHED)


@dataclass(frozen=True, slots=True)
class Earlier:
    """What exists with the values: a run, or a request that has none yet. `pk` is the key of the one or the other."""

    pk: int
    is_run: bool
    prefect_id: UUID | None
    state: str
    is_completed: bool
    is_open: bool
    at: datetime

    @property
    def label(self) -> str:
        kind = "run" if self.is_run else f"request {self.pk}"
        return f"{self.state} {kind}" if self.is_run else f"{kind.capitalize()} is “{self.state}”"


def earlier_runs(
    deployment: Deployment, names: Sequence[str], wanted: Sequence[Mapping[str, Any]]
) -> dict[str, Earlier]:
    """Return canonical text of the public values -> what exists with them; `names` are those that differ.

    A value that a run was not given is the default of its flow. Secret values are not compared: of a run that was
    started elsewhere only a mask is stored.
    """
    schema = deployment.parameter_schema
    public = [schemas.split(schema, values)[0] for values in wanted]
    keys = {canonical.text(values): list(values) for values in public}
    if not keys:
        return {}
    shapes = {tuple(each) for each in keys.values()}
    properties = schema.get("properties", {})
    defaults = {name: node["default"] for name, node in properties.items() if "default" in node}
    found: dict[str, Earlier] = {}
    # Open requests first: what they ask for comes after any run there is.
    for parameters, earlier in (*open_requests(deployment, names, public), *runs(deployment, names, public)):
        given = {**defaults, **parameters}
        for shape in shapes:
            if all(name in given for name in shape):
                key = canonical.text({name: given[name] for name in shape})
                if key in keys:
                    found.setdefault(key, earlier)
    return found


type Found = Iterator[tuple[dict[str, Any], Earlier]]


def open_requests(deployment: Deployment, names: Sequence[str], public: Sequence[Mapping[str, Any]]) -> Found:
    """Yield the requests that are not runs yet, newest first, with their public values."""
    rows = RunRequest.objects.filter(
        deployment__in=deployments.of_one_name(deployment),
        state__in=UNSENT,
        run=None,
    ).filter(matching("spec__parameters", names, public))
    columns = ("pk", "state", "requested_at", "spec__parameters")
    for pk, state, at, parameters in rows.order_by("-pk").values_list(*columns):
        yield parameters, Earlier(pk, False, None, str(State(state).label), False, True, at)


def runs(deployment: Deployment, names: Sequence[str], public: Sequence[Mapping[str, Any]]) -> Found:
    """Yield the runs, newest first, with their parameters."""
    newest = Run.objects.filter(deployment__in=deployments.of_one_name(deployment)).order_by("-sort_at", "-pk")
    rows = Run.objects.filter(pk__in=newest.values("pk")[:LOOKED_AT], deleted_upstream_at=None).filter(
        matching("parameters", names, public)
    )
    columns = ("pk", "prefect_id", "state_type", "state_name", "sort_at", "parameters")
    for pk, prefect_id, state, name, at, parameters in rows.order_by("-sort_at", "-pk").values_list(*columns):
        yield (
            parameters,
            Earlier(pk, True, prefect_id, label_of(state, name), state == "COMPLETED", state not in TERMINAL, at),
        )


def matching(column: str, names: Sequence[str], public: Sequence[Mapping[str, Any]]) -> Q:
    """Return the condition that leaves out most other rows: those with another value of a varied parameter."""
    condition = Q()
    for name in names:
        values = {canonical.text(each[name]): each[name] for each in public if name in each}
        # A name with two underscores would be read as a lookup of its own.
        if name.isidentifier() and "__" not in name:
            is_given = Q(**{f"{column}__{name}__in": list(values.values())})
            condition &= is_given | ~Q(**{f"{column}__has_key": name})
    return condition
