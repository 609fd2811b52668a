"""Read facts from the newest artifacts in the mirror."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flows.models import Environment
from runs.models import Artifact

# Key of the artifact in which a flow lists the values that its data has for the parameters of flows.
OFFERS = "parameter-offers"


def newest(environment: Environment, key: str) -> Artifact | None:
    """Return the newest artifact with that key in an environment, or None."""
    return (
        Artifact.objects.filter(environment=environment, key=key)
        .select_related("run__deployment", "run__environment")
        .order_by("-created_upstream_at", "-pk")
        .first()
    )


def facts(artifact: Artifact | None) -> dict[str, Any]:
    """Return field -> value of a table with rows of `field` and `value`; empty for anything else."""
    # Flows write artifacts, so nothing of their shape can be relied on.
    rows = artifact.data if artifact and isinstance(artifact.data, list) else []
    return {
        each["field"]: each.get("value")
        for each in rows
        if isinstance(each, dict) and isinstance(each.get("field"), str)
    }


def offered(artifact: Artifact | None) -> dict[tuple[str, str], list[Any]]:
    """Return (flow, parameter) -> values from an artifact with rows of `flow`, `parameter` and `values`."""
    rows = artifact.data if artifact and isinstance(artifact.data, list) else []
    return {
        (str(each.get("flow")), str(each["parameter"])): each["values"]
        for each in rows
        if isinstance(each, dict) and each.get("parameter") and isinstance(each.get("values"), list)
    }


def offers(environment: Environment, flow_name: str) -> dict[str, list[Any]]:
    """Return parameter -> suggested values for a flow. Suggestions only: the schema decides what is valid."""
    found = offered(newest(environment, OFFERS))
    return {parameter: values for (flow, parameter), values in found.items() if flow == flow_name}


def not_offered(environment: Environment, flow_name: str, values: Mapping[str, Any]) -> list[str]:
    """Return a warning for each value that the flow's data did not have; the run may find nothing."""
    return [
        f"{name} {values[name]} was not in the data at the last check of {flow_name}. Available: {few(offer)}."
        for name, offer in offers(environment, flow_name).items()
        if values.get(name) is not None and offer and values[name] not in offer
    ]


def few(values: Sequence[Any]) -> str:
    """Return up to three values, or the first and the last of more."""
    return ", ".join(map(str, values)) if len(values) <= 3 else f"{values[0]} to {values[-1]}"
