"""What the flows tell the outside: artifacts with fixed keys, whose data other programs may rely on.

The keys and shapes are a contract, described in docs/pipelines.md. A change that a reader would notice needs a new
number in the contract's name.
"""

from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

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
OFFERS = "parameter-offers"
LARGEST_REPORT = 500_000  # bytes


def fields(key: str, values: Mapping[str, Any], *, description: str) -> None:
    """A table of two columns, field and value; the first field names the contract and its version."""
    rows = [{"field": "contract", "value": f"{key}/1"}, *({"field": k, "value": v} for k, v in values.items())]
    create_table_artifact(table=rows, key=key, description=description)


def months_held(lake: Lake) -> None:
    held: dict[str, list[str]] = {layer: lake.months(layer) for layer in LAYERS} | {"promoted_models": promoted(lake)}
    span = lake.source_months()
    first, last = span if span else (None, None)
    fields(
        MONTHS,
        {"source_first_month": first, "source_last_month": last, **held},
        description=f"The months that the lake {lake.store.name} holds, by layer.",
    )
    about = "The months that there is data for, by flow and parameter."
    create_table_artifact(table=offers(held, span), key=OFFERS, description=about)


def offers(held: Mapping[str, list[str]], span: tuple[str, str] | None) -> list[dict[str, Any]]:
    """Which months each pipeline can be asked for, from the months that each layer has and the span of the source."""
    models = held["promoted_models"]
    modelled = [month for month in held["features"] if models and month >= models[0]]
    able = {
        ("crm-data-acquisition", "snapshot_month"): months.months_between(*span) if span else [],
        ("crm-data-ingestion", "snapshot_month"): held["raw"],
        ("monthly-win-probability-training", "snapshot_month"): held["features"],
        ("reference-data-creation", "snapshot_month"): modelled,
        ("model-drift-monitoring", "current_month"): modelled,
        ("model-drift-monitoring", "reference_month"): held["reference"],
    }
    return [{"flow": flow, "parameter": name, "values": values} for (flow, name), values in able.items()]


def promoted(lake: Lake) -> list[str]:
    return [card["month"] for card in model_cards.every(lake) if card["promoted"]]


def report(html: str, *, description: str) -> None:
    if len(html.encode()) > LARGEST_REPORT:
        raise ValueError(f"A report of {len(html.encode())} bytes is too large for an artifact.")
    create_markdown_artifact(markdown=html, key=REPORT, description=description)


def link(key: str, address: str, text: str) -> None:
    create_link_artifact(link=address if "://" in address else f"file://{address}", link_text=text, key=key)


class Bar:
    """A progress artifact, moved by the share that is done."""

    def __init__(self, key: str, description: str) -> None:
        self._id = cast(UUID, create_progress_artifact(progress=0.0, key=key, description=description))

    def __call__(self, share: float) -> None:
        update_progress_artifact(self._id, progress=round(100 * share, 1))
