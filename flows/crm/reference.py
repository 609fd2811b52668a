"""Fourth pipeline: the reference, a sample of a month's deals with their predictions."""

from typing import Annotated, Any

import pandas as pd
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.crm import column_counts, features, lake, lineage, model_cards, months, publication, scorer
from flows.crm import sample as crm_sample
from flows.crm.lake import Lake, Manifest
from flows.crm.retries import DISK
from flows.crm.table_schema import Columns, typed

COLUMNS: Columns = {**features.COLUMNS, "prediction": "number"}


@task(name="read the deals and the model", cache_policy=NO_CACHE, **DISK)
def read_deals(place: Lake, month: str) -> tuple[Manifest, pd.DataFrame, model_cards.Card, scorer.Model]:
    lineage.require_current(place, "features", month, get_run_logger().warning)
    manifest = place.manifest("features", month)
    kept, card = model_cards.require_champion(place, month, get_run_logger().warning)
    deals = place.read(manifest)["deals"]
    get_run_logger().info("Read %d deals of %s, and the model %s.", len(deals), manifest.name, card["version"])
    return manifest, deals, card, scorer.decode(place.document(kept, model_cards.MODEL))


@task(name="take the sample", cache_policy=NO_CACHE)
def take_sample(deals: pd.DataFrame, size: int, month: str, model: scorer.Model) -> pd.DataFrame:
    sample = crm_sample.stratified(deals, size, month)
    # Predictions are stored with the sample for people; monitoring predicts again, with the then current model.
    predicted = typed(COLUMNS, sample.assign(prediction=model(sample)))
    create_table_artifact(
        table=composition(deals, predicted),
        key="crm-reference",
        description=f"The reference of {month}: {len(predicted)} of {len(deals)} deals.",
    )
    get_run_logger().info("Took %d of %d deals.", len(predicted), len(deals))
    return predicted


def composition(deals: pd.DataFrame, sample: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the share of each outcome in all deals and in the sample."""
    rows = []
    for outcome in ("won", "lost", "open"):
        parts = [frame[crm_sample.outcome(frame) == outcome] for frame in (deals, sample)]
        rows.append(
            {
                "outcome": outcome,
                "deals": len(parts[0]),
                "sampled": len(parts[1]),
                "share_of_deals": round(len(parts[0]) / len(deals), 4),
                "share_of_sample": round(len(parts[1]) / len(sample), 4),
                "mean_prediction": round(float(parts[1]["prediction"].mean()), 4) if len(parts[1]) else None,
            }
        )
    return rows


@task(name="save the reference", cache_policy=NO_CACHE, **DISK)
def save(place: Lake, month: str, sample: pd.DataFrame, deals: pd.DataFrame, version: str, source: str) -> Manifest:
    about = lake.encode({"month": month, "model_version": version, "rows": len(sample), "drawn_from": len(deals)})
    tables = {"deals": sample, column_counts.TABLE: column_counts.as_table(column_counts.count(deals))}
    columns = {"deals": COLUMNS, column_counts.TABLE: column_counts.COLUMNS}
    manifest = place.write("reference", month, tables, columns, source=source, documents={crm_sample.ABOUT: about})
    get_run_logger().info("Wrote %s to %s.", manifest.name, place.store.name)
    publication.months_held(place)
    return manifest


@flow(name="reference-data-creation", validate_parameters=False)
def reference_data_creation(
    reference_period: months.Month,
    sample_size: Annotated[int, Field(ge=crm_sample.SMALLEST, le=crm_sample.LARGEST)] = 1000,
) -> dict[str, Any]:
    """Save a sample of a month's deals with their predictions as the reference for later months.

    Won, lost and open deals of every product are sampled in proportion. The predictions are those of the model that was
    current at the end of the month.

    Args:
        reference_period: Month to sample, as YYYY-MM. It must be ingested, and a model trained.
        sample_size: Number of deals, from 100 to 5000.
    """
    months.last_day(reference_period)
    # Checked here as well, because the flow's own validation is off.
    size = crm_sample.require_size(sample_size)
    place = lake.from_environment()
    manifest, deals, card, model = read_deals(place, reference_period)
    sample = take_sample(deals, size, reference_period, model)
    save(place, reference_period, sample, deals, card["version"], manifest.name)
    return {"month": reference_period, "deals": len(sample), "model_version": card["version"]}
