"""Read facts from the newest artifacts in the mirror."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Q

from flows import canonical
from flows.models import Environment
from runs.models import Artifact, Run

# Key of the artifact in which a flow lists the values that its data has for the parameters of flows.
OFFERS = "parameter-offers"
# Key of the artifact in which a flow reports how far its data has drifted.
DRIFT = "crm-drift"
# From none to the most; a level that is not measured is “UNKNOWN”.
ALERT_LEVELS = ("NONE", "LOW", "MEDIUM", "HIGH")
NOT_MEASURED = "UNKNOWN"
# Offers published less than this apart count together.
TOGETHER = timedelta(minutes=1)
# As SQL: each submission reads it, and compiling a queryset takes three times as long.
NEWEST = """
    SELECT id, data, created_upstream_at FROM runs_artifact WHERE environment_id = %s AND key = %s
    ORDER BY created_upstream_at DESC, id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class BindingOffer:
    """The only values that a parameter can have, and when the flow published them."""

    values: Sequence[Any]
    at: datetime

    def includes(self, value: Any) -> bool:
        """Whether the value, or each item of a list, is on offer."""
        given = value if isinstance(value, list) else [value]
        return all(any(canonical.same(each, one) for one in self.values) for each in given)


def newest(environment: Environment, key: str) -> Artifact | None:
    """Return the newest artifact with that key in an environment, or None; of its columns only data and time."""
    return next(iter(Artifact.objects.raw(NEWEST, [environment.pk, key])), None)


def facts(artifact: Artifact | None) -> dict[str, Any]:
    """Return field -> value of a table with rows of `field` and `value`; empty for anything else."""
    # Flows write artifacts, so nothing of their shape can be relied on.
    rows = artifact.data if artifact and isinstance(artifact.data, list) else []
    return {
        each["field"]: each.get("value")
        for each in rows
        if isinstance(each, dict) and isinstance(each.get("field"), str)
    }


def alert_level(artifact: Artifact | None) -> str:
    """Return the level of a drift report; `NOT_MEASURED` for anything else."""
    level = facts(artifact).get("alert_level")
    return str(level) if level in ALERT_LEVELS else NOT_MEASURED


def offered(artifact: Artifact | None, *, only_binding: bool = False) -> dict[tuple[str, str], list[Any]]:
    """Return (flow, parameter) -> values from an artifact with rows of `flow`, `parameter`, `values` and `binding`."""
    rows = artifact.data if artifact and isinstance(artifact.data, list) else []
    return {
        (str(each.get("flow")), str(each["parameter"])): each["values"]
        for each in rows
        if isinstance(each, dict) and each.get("parameter") and isinstance(each.get("values"), list)
        if each.get("binding") is True or not only_binding
    }


def offers(environment: Environment, flow_name: str) -> dict[str, list[Any]]:
    """Return parameter -> suggested values for a flow. Suggestions only: the schema decides what is valid."""
    return _of_flow(offered(newest(environment, OFFERS)), flow_name)


def offers_for_form(environment: Environment, flow_name: str) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Return the suggested values for a flow, and those that are the only ones, by parameter, from one artifact."""
    last = newest(environment, OFFERS)
    binding = _binding_offers(environment, flow_name, last)
    return _of_flow(offered(last), flow_name), {parameter: list(offer.values) for parameter, offer in binding.items()}


def binding_offers(environment: Environment, flow_name: str) -> dict[str, BindingOffer]:
    """Return parameter -> offer for the rows of a flow with `"binding": true`; empty while the offers may be outdated.

    A run that has ended since may have published newer ones, which are in the mirror only once its details were read.
    """
    return _binding_offers(environment, flow_name, newest(environment, OFFERS))


def _of_flow(found: Mapping[tuple[str, str], list[Any]], flow_name: str) -> dict[str, list[Any]]:
    return {parameter: values for (flow, parameter), values in found.items() if flow == flow_name}


def _binding_offers(environment: Environment, flow_name: str, last: Artifact | None) -> dict[str, BindingOffer]:
    at = last.created_upstream_at if last else None
    if last is None or at is None:
        return {}
    found = {name: list(values) for name, values in _of_flow(offered(last, only_binding=True), flow_name).items()}
    if not found or has_unread_runs(environment, at):
        return {}
    # Two runs that end together can publish in the wrong order: what either of them lists is on offer.
    together = Artifact.objects.filter(environment=environment, key=OFFERS, created_upstream_at__gte=at - TOGETHER)
    for table in map(offered, together.exclude(pk=last.pk)):
        for parameter, values in found.items():
            values += [value for value in table.get((flow_name, parameter), []) if value not in values]
    return {parameter: BindingOffer(values, at) for parameter, values in found.items()}


def has_unread_runs(environment: Environment, since: datetime) -> bool:
    """Return whether a run has ended since then whose details the mirror has not read."""
    unread = Q(detailed_at=None) | Q(detailed_at__lt=F("ended_at"))
    ended = Run.objects.filter(environment=environment, ended_at__gte=since, started_at__isnull=False)
    return ended.filter(unread, deleted_upstream_at=None).exists()


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
