"""Compares parameters with the defaults, the last successful run and the request that is repeated."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse

from flows import canonical, deployments, encryption
from flows import parameters as schemas
from flows.models import Deployment
from flows.parameters.description import describe
from portal.admin.runs.page import pretty
from runs.models import Run, RunRequest

NOT_GIVEN = "not given"
NO_DEFAULT = "no default"
# Longer values are shown in a block of their own.
MAX_LINE = 80


@dataclass(frozen=True, slots=True)
class Column:
    """Values to compare with, masked. `word` marks a row that differs from them."""

    title: str
    word: str
    values: Mapping[str, Any]
    link: str = ""
    absent: str = NOT_GIVEN


@dataclass(frozen=True, slots=True)
class Cell:
    column: str
    text: str
    differs: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One parameter, its value, and its value in each column."""

    name: str
    text: str
    cells: list[Cell]
    words: list[str]
    is_secret: bool

    @property
    def is_long(self) -> bool:
        return "\n" in self.text or len(self.text) > MAX_LINE


def defaults_of(deployment: Deployment) -> dict[str, Any]:
    """Return the defaults of the deployment and of the flow's code, masked."""
    known = describe(deployment.parameter_schema, deployment.parameter_defaults)
    return {each.name: each.default for each in known if each.has_default}


def columns(
    deployment: Deployment, last: Run | None, earlier: RunRequest | None, like: Run | None = None
) -> list[Column]:
    """Return what to compare with: the defaults, the last success, the request that is repeated or the run copied."""
    defaults = defaults_of(deployment)
    found = [Column("Default", "changed", defaults, absent=NO_DEFAULT)]
    if last:
        # Prefect lists only the parameters that a run was given, so the defaults fill in the rest.
        link = reverse("admin:runs_run_change", args=[last.pk])
        found.append(Column("Last successful run", "differs from last run", {**defaults, **last.parameters}, link))
    if earlier:
        link = reverse("admin:runs_runrequest_change", args=[earlier.pk])
        title = f"Request {earlier.pk}"
        found.append(Column(title, f"differs from request {earlier.pk}", {**defaults, **masked(earlier)}, link))
    if like and (last is None or like.pk != last.pk):
        link = reverse("admin:runs_run_change", args=[like.pk])
        found.append(Column(f"Run {like.name}", f"differs from {like.name}", {**defaults, **like.parameters}, link))
    return found


def rows(values: Mapping[str, Any], deployment: Deployment, against: Sequence[Column]) -> list[Row]:
    """Compare `values`, which are masked, in the order of the flow's signature.

    Secrets are never compared: a requester could guess one and read here whether the guess is right.
    """
    known = describe(deployment.parameter_schema, deployment.parameter_defaults)
    # Values that the schema no longer has come last.
    names = dict.fromkeys([*(each.name for each in known), *values])
    # Left out of what is sent: Prefect fills it in when it creates the run, so there is no value to compare yet.
    left = {each.name: each.source for each in known if each.source and each.name not in values}
    return [row(name, values, against, left.get(name, "")) for name in names]


def row(name: str, values: Mapping[str, Any], against: Iterable[Column], source: str = "") -> Row:
    text = pretty(values[name]) if name in values else source or NOT_GIVEN
    cells, words = [], []
    for column in against:
        has = name in column.values
        # A parameter without a default cannot differ from it.
        is_same = bool(source) or canonical.same(values.get(name), column.values.get(name))
        differs = not is_same and (has or column.absent == NOT_GIVEN)
        cells.append(Cell(column.title, pretty(column.values[name]) if has else column.absent, differs))
        words += [column.word] if differs else []
    return Row(name, text, cells, words, is_secret=schemas.MASK in text)


def last_success(deployment: Deployment, *, before: datetime | None = None, besides: int | None = None) -> Run | None:
    """Return the last successful run that had finished `before` a moment, other than the run `besides`."""
    found = Run.objects.filter(deployment__in=deployments.of_one_name(deployment), state_type="COMPLETED")
    if besides:
        found = found.exclude(pk=besides)
    if before:
        found = found.filter(ended_at__lte=before)
    return found.order_by("-sort_at", "-pk").first()


def masked(run_request: RunRequest) -> dict[str, Any]:
    return masked_with_note(run_request)[0]


def masked_with_note(run_request: RunRequest) -> tuple[dict[str, Any], str]:
    """Return the parameters of the run with secrets masked, and a sentence if the names of those are unreadable."""
    spec = run_request.spec
    values = {**spec.parameters, **run_request.mapped_values}
    if not spec.sealed_parameters:
        return values, ""
    try:
        # Which parameters are secret is encrypted together with their values.
        names = json.loads(encryption.unseal(spec.sealed_parameters))
    except encryption.DecryptionError as error:
        return values, f"It also has secret parameters. {error}"
    return schemas.join(values, dict.fromkeys(names, schemas.MASK)), ""
