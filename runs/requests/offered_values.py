"""Which values a run can have where its flow publishes what its data has as binding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils import timezone

from flows.models import Deployment, Environment
from flows.parameters import Invalid, ParameterError
from runs import artifact_facts
from runs.artifact_facts import BindingOffer
from runs.errors import Refused
from runs.shared_reads import shared

CODE = "parameter.not_offered"


def offers_of(deployment: Deployment) -> Mapping[str, BindingOffer]:
    key = "offers", deployment.environment_id, deployment.flow_name
    return shared(key, lambda: artifact_facts.binding_offers(deployment.environment, deployment.flow_name))


def offer_errors(
    deployment: Deployment, values: Mapping[str, Any], offers: Mapping[str, BindingOffer] | None = None
) -> list[ParameterError]:
    """Return an error for each value that is not among the binding offers of the flow, read here by default."""
    offers = offers_of(deployment) if offers is None else offers
    return [
        ParameterError((name,), CODE, sentence(offer, deployment.environment))
        for name, offer in offers.items()
        # A parameter without a value is left to the flow, which has a default of its own.
        if values.get(name) is not None and not offer.includes(values[name])
    ]


def require_offered(runs: Iterable[tuple[Deployment, Mapping[str, Any]]]) -> None:
    """Raise `Invalid` for values that are not on offer when runs are requested that start now."""
    # Read once a deployment: the runs of a backfill share one.
    offers: dict[int, Mapping[str, BindingOffer]] = {}
    for deployment, values in runs:
        if deployment.pk not in offers:
            offers[deployment.pk] = offers_of(deployment)
        if errors := offer_errors(deployment, values, offers[deployment.pk]):
            raise Invalid(*errors)


def require_still_offered(deployment: Deployment, values: Mapping[str, Any]) -> None:
    """Refuse a launch with values that are not on offer; while a request waits, what is on offer can change."""
    if errors := offer_errors(deployment, values):
        raise Refused("parameters.not_offered", " ".join(map(str, errors)), parameters=[each.field for each in errors])


def sentence(offer: BindingOffer, environment: Environment) -> str:
    """Say what is on offer, as of when, and what to do; never the value itself."""
    at = f"{timezone.localtime(offer.at):%d %b %Y, %H:%M}"
    if not offer.values:
        return f"No value is available in {environment} yet, as of {at}. Run the flows that come before this one first."
    available = f"Available, as of {at}: {artifact_facts.few(offer.values)}."
    return f"Not available in {environment}. {available} Choose one of these, or run the flows that produce it first."
