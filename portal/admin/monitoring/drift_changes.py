"""When the level of drift changed, from the events of the mirror."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import QuerySet

from flows.models import Environment
from runs.artifact_facts import NOT_MEASURED
from runs.models import Artifact, RunEvent

MOST_CHANGES = 12


@dataclass(frozen=True, slots=True)
class DriftChange:
    """That a report found another level than the one before; levels are pairs of tone and label."""

    event: RunEvent
    report: Artifact
    before: tuple[str, str]
    level: tuple[str, str]


def drift_changes(
    environment: Environment, reports: QuerySet[Artifact], labels: Mapping[str, tuple[str, str]]
) -> list[DriftChange]:
    """Return the last changes, newest first, of those that `reports` has: as long as events and their runs are kept."""
    rows = RunEvent.objects.filter(environment_id=environment.pk, kind=RunEvent.Kind.DRIFT_CHANGED)
    events = list(rows.order_by("-pk")[:MOST_CHANGES])
    keys = [row.data["artifact"] for row in events]
    found = reports.select_related("run").in_bulk(keys) if keys else {}
    return [
        DriftChange(
            row,
            found[row.data["artifact"]],
            labels.get(row.data["before"], labels[NOT_MEASURED]),
            labels.get(row.data["level"], labels[NOT_MEASURED]),
        )
        for row in events
        if row.data["artifact"] in found
    ]
