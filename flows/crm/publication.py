"""The artifacts of the pipelines: fixed keys, with data that other programs may rely on.

Keys and shapes are a contract, described in docs/pipelines.md. A breaking change needs a new number in the contract's
name.
"""

from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.crm import model_cards, months
from flows.crm.lake import LAYERS, Lake

MONTHS, CARD, DRIFT, REPORT = "crm-months", "crm-model-card", "crm-drift", "crm-drift-report"
SCORES = "crm-scores"
OFFERS = "parameter-offers"
LARGEST_REPORT = 500_000  # bytes


def fields(key: str, values: Mapping[str, Any], *, description: str) -> None:
    """Publish a table of two columns, field and value; the first row names the contract and its version."""
    rows = [{"field": "contract", "value": f"{key}/1"}, *({"field": k, "value": v} for k, v in values.items())]
    create_table_artifact(table=rows, key=key, description=description)


def months_held(lake: Lake) -> None:
    """Publish which months each layer has, and which months each pipeline can run for.

    A damaged model is named in the log: this information never fails a run.
    """
    cards = model_cards.every(lake, get_run_logger().warning)
    available: dict[str, list[str]] = {layer: lake.months(layer) for layer in LAYERS} | {
        "promoted_models": [card["month"] for card in cards if card["promoted"]],
        "models_in_use": [card["month"] for card in cards if model_cards.in_use(card)],
    }
    span = lake.source_months()
    first, last = span if span else (None, None)
    fields(
        MONTHS,
        {"source_first_month": first, "source_last_month": last, **available},
        description=f"Months in the lake {lake.store.name}, by layer.",
    )
    about = "Months with data, by flow and parameter."
    create_table_artifact(table=offers(available, span), key=OFFERS, description=about)


def offers(available: Mapping[str, list[str]], span: tuple[str, str] | None) -> list[dict[str, Any]]:
    """Return which months each pipeline can run for, from the months of each layer and the span of the source."""
    models = available["models_in_use"]
    # A month can be sampled, scored and monitored once it has features and a model that came into use by then.
    modelled = [month for month in available["features"] if models and month >= models[0]]
    values_by_parameter = {
        ("crm-data-acquisition", "snapshot_month"): months.months_between(*span) if span else [],
        ("crm-data-ingestion", "snapshot_month"): available["raw"],
        ("monthly-win-probability-training", "current_month"): available["features"],
        ("reference-data-creation", "reference_period"): modelled,
        ("open-deal-scoring", "current_month"): modelled,
        ("model-drift-monitoring", "current_month"): [
            month for month in modelled if available["reference"] and month > available["reference"][0]
        ],
        ("model-drift-monitoring", "reference_period"): available["reference"],
    }
    # What a layer of the lake lacks, its flow would refuse: binding. The source may have more than at the last look.
    return [
        {"flow": flow, "parameter": name, "values": values, "binding": flow != "crm-data-acquisition"}
        for (flow, name), values in values_by_parameter.items()
    ]


def report(html: str, *, description: str) -> None:
    """Publish an HTML page as a markdown artifact: Prefect has no artifact for HTML."""
    # An error and not a cut: half a page of HTML would be displayed as a whole one.
    if len(html.encode()) > LARGEST_REPORT:
        raise ValueError(f"A report of {len(html.encode())} bytes is too large for an artifact.")
    create_markdown_artifact(markdown=html, key=REPORT, description=description)


def link(key: str, address: str, text: str) -> None:
    """Publish a link to a file of the lake."""
    create_link_artifact(link=address if "://" in address else f"file://{address}", link_text=text, key=key)


class Bar:
    """A progress artifact; call it with the share done, from 0 to 1."""

    def __init__(self, key: str, description: str) -> None:
        self._id = cast(UUID, create_progress_artifact(progress=0.0, key=key, description=description))

    def __call__(self, share: float) -> None:
        update_progress_artifact(self._id, progress=round(100 * share, 1))
