"""Parameters side by side with what is usual, with the last run that went well, and with the request they repeat."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse

from flows import canonical, encryption
from flows import parameters as schemas
from flows.models import Deployment
from flows.parameters.description import describe
from portal.admin.runs.page import pretty
from runs.models import Run, RunRequest

NOTHING = "not given"
NO_DEFAULT = "no default"
# Longer than this it is a block of its own.
LINE = 80


@dataclass(frozen=True, slots=True)
class Column:
    """What values are held against; all of them masked. `word` is what a row says that differs from it."""

    title: str
    word: str
    values: Mapping[str, Any]
    link: str = ""
    absent: str = NOTHING


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
        return "\n" in self.text or len(self.text) > LINE


def defaults_of(deployment: Deployment) -> dict[str, Any]:
    """The deployment's and the flow's own defaults, masked."""
    known = describe(deployment.parameter_schema, deployment.parameter_defaults)
    return {each.name: each.default for each in known if each.has_default}


def columns(deployment: Deployment, last: Run | None, earlier: RunRequest | None) -> list[Column]:
    usual = defaults_of(deployment)
    found = [Column("Default", "not the default", usual, absent=NO_DEFAULT)]
    if last:
        # A run that was started elsewhere lists only what it was given.
        link = reverse("admin:runs_run_change", args=[last.pk])
        found.append(Column("Last successful run", "unlike the last run", {**usual, **last.parameters}, link))
    if earlier:
        link = reverse("admin:runs_runrequest_change", args=[earlier.pk])
        title = f"Request {earlier.pk}"
        found.append(Column(title, f"unlike request {earlier.pk}", {**usual, **masked(earlier)}, link))
    return found


def rows(values: Mapping[str, Any], deployment: Deployment, against: Sequence[Column]) -> list[Row]:
    """`values` come masked, too; in the order of the flow's signature.

    Secrets are never compared: a requester could guess one and read here whether the guess is right.
    """
    known = describe(deployment.parameter_schema, deployment.parameter_defaults)
    names = dict.fromkeys([*(each.name for each in known), *values])
    return [row(name, values, against) for name in names]


def row(name: str, values: Mapping[str, Any], against: Iterable[Column]) -> Row:
    text = pretty(values[name]) if name in values else NOTHING
    cells, words = [], []
    for column in against:
        has = name in column.values
        # Where nothing is usual, nothing is unusual.
        differs = not canonical.same(values.get(name), column.values.get(name)) and (has or column.absent == NOTHING)
        cells.append(Cell(column.title, pretty(column.values[name]) if has else column.absent, differs))
        words += [column.word] if differs else []
    return Row(name, text, cells, words, is_secret=schemas.MASK in text)


def last_success(deployment: Deployment, *, before: datetime | None = None, besides: int | None = None) -> Run | None:
    """The last run that went well, as it was at a moment."""
    found = Run.objects.filter(deployment=deployment, state_type="COMPLETED")
    if besides:
        found = found.exclude(pk=besides)
    if before:
        found = found.filter(ended_at__lte=before)
    return found.order_by("-ended_at").first()


def masked(run_request: RunRequest) -> dict[str, Any]:
    return shown(run_request)[0]


def shown(run_request: RunRequest) -> tuple[dict[str, Any], str]:
    """The frozen parameters with the secret ones masked, and a sentence when those cannot be told."""
    if not run_request.sealed_parameters:
        return run_request.parameters, ""
    try:
        names = json.loads(encryption.unseal(run_request.sealed_parameters))
    except encryption.DecryptionError as error:
        return run_request.parameters, f"It has secret parameters too. {error}"
    return schemas.join(run_request.parameters, dict.fromkeys(names, schemas.MASK)), ""
