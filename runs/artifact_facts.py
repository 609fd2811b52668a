"""What the newest artifacts say, read from the mirror."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flows.models import Environment
from runs.models import Artifact

OFFERS = "parameter-offers"


def newest(environment: Environment, key: str) -> Artifact | None:
    """The last artifact of that key that a run in this environment made."""
    return (
        Artifact.objects.filter(environment=environment, key=key)
        .select_related("run__deployment", "run__environment")
        .order_by("-created_upstream_at", "-pk")
        .first()
    )


def facts(artifact: Artifact | None) -> dict[str, Any]:
    """The values of a table of fields: rows with `field` and `value`, each field once; empty for anything else."""
    rows = artifact.data if artifact and isinstance(artifact.data, list) else []
    return {
        each["field"]: each.get("value")
        for each in rows
        if isinstance(each, dict) and isinstance(each.get("field"), str)
    }


def offered(artifact: Artifact | None) -> dict[tuple[str, str], list[Any]]:
    """Flow and parameter -> values, from an artifact `parameter-offers`: rows with `flow`, `parameter` and `values`."""
    rows = artifact.data if artifact and isinstance(artifact.data, list) else []
    return {
        (str(each.get("flow")), str(each["parameter"])): each["values"]
        for each in rows
        if isinstance(each, dict) and each.get("parameter") and isinstance(each.get("values"), list)
    }


def offers(environment: Environment, flow_name: str) -> dict[str, list[Any]]:
    """The values that a flow's own data has for its parameters. They are offered, not demanded: the schema judges."""
    found = offered(newest(environment, OFFERS))
    return {parameter: values for (flow, parameter), values in found.items() if flow == flow_name}


def not_offered(environment: Environment, flow_name: str, values: Mapping[str, Any]) -> list[str]:
    """A sentence for every value that the newest offers do not have; it may still run, and may find nothing."""
    return [
        f"There was no {values[name]} among the data for {name} when {flow_name} last looked: it has {few(offer)}."
        for name, offer in offers(environment, flow_name).items()
        if values.get(name) is not None and offer and values[name] not in offer
    ]


def few(values: Sequence[Any]) -> str:
    """The first and the last of many."""
    return ", ".join(map(str, values)) if len(values) <= 3 else f"{values[0]} to {values[-1]}"
