"""Values of the artifacts that earlier steps of a chain left: for parameters of later ones, and for conditions."""

from __future__ import annotations

from typing import Any

from flows import canonical
from runs import artifact_facts
from runs.automation.chain_graph import Edge
from runs.automation.value_mapping import MISSING, resolve
from runs.models import Artifact, Run

__all__ = ["MISSING", "equals", "is_read", "value_at"]


def is_read(run: Run) -> bool:
    """Return whether the mirror has read what a run left; of one that was deleted there is nothing to read."""
    if run.deleted_upstream_at is not None or run.ended_at is None:
        return run.deleted_upstream_at is not None
    return run.detailed_at is not None and run.detailed_at >= run.ended_at


def value_at(run: Run | None, key: str, pointer: str) -> Any:
    """Return the value in the newest artifact of the run with this key; `MISSING` if there is none.

    A table of the columns field and value is read as an object: `/level` is the value of the field level.
    """
    if run is None:
        return MISSING
    # Flows choose the keys, and one can publish several under the same.
    artifact = Artifact.objects.filter(run=run, key=key).order_by("-created_upstream_at", "-pk").first()
    if artifact is None:
        return MISSING
    return resolve(artifact_facts.facts(artifact) or artifact.data, pointer)


def equals(run: Run | None, edge: Edge) -> bool:
    """Return whether the value that a condition needs is there."""
    if edge.test is None:
        return True
    value = value_at(run, edge.test.artifact, edge.test.pointer)
    return value is not MISSING and canonical.same(value, edge.test.equals)
