"""Fifth pipeline: compares a month with a reference, and publishes the drift and its alert level."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from flows.crm import (
    column_counts,
    drift,
    html_report,
    lake,
    lineage,
    model_cards,
    model_training,
    months,
    outcome_drift,
    publication,
    results,
    sales_activity,
    scorer,
)
from flows.crm.column_counts import Counts
from flows.crm.drift import Found
from flows.crm.failures import BadChoice, BadLake
from flows.crm.lake import Lake, Manifest
from flows.crm.results import Result
from flows.crm.retries import DISK


@dataclass(frozen=True, slots=True)
class Material:
    reference: pd.DataFrame
    current: pd.DataFrame  # deals engaged in the current month
    closed: pd.DataFrame  # deals closed in it, with their outcome
    earlier: pd.DataFrame  # deals closed before, from which the model did not learn
    counts: Counts  # of all deals that the reference is a sample of
    activity: sales_activity.Activity
    card: model_cards.Card
    source: str


@task(name="read the reference and the month", cache_policy=NO_CACHE, **DISK)
def read_material(place: Lake, current_month: str, reference_period: str) -> Material:
    warn = get_run_logger().warning
    lineage.require_current(place, "reference", reference_period, warn)
    lineage.require_current(place, "features", current_month, warn)
    kept = place.manifest("reference", reference_period)
    features, processed = (place.manifest(layer, current_month) for layer in ("features", "processed"))
    manifest, card = model_cards.require_champion(place, reference_period, warn)
    model = scorer.decode(place.document(manifest, model_cards.MODEL))
    kept_tables = place.read(kept)
    reference = kept_tables["deals"]
    deals, tables = place.read(features)["deals"], place.read(processed)
    current = deals[_in_month(deals["engage_date"], current_month)]
    ended = model_training.closed_deals(deals, tables["sales_pipeline"])
    closed = ended[_in_month(ended["close_date"], current_month)]
    learned_until = pd.Timestamp(card["parts"]["learning"]["closed_until"])
    earlier = outcome_drift.since_learning(ended, learned_until, reference_period)
    if not len(reference):
        raise BadLake(f"The reference of {reference_period} is empty: create it again.")
    # Predicted again for both: the model may have been retrained since the reference was created.
    material = Material(
        reference.assign(prediction=model(reference)),
        current.assign(prediction=model(current)),
        closed.assign(prediction=model(closed)),
        earlier.assign(prediction=model(earlier)),
        column_counts.from_tables(kept_tables, reference_period),
        sales_activity.measure(tables, current_month, reference_period),
        card,
        f"{features.name} against {kept.name}",
    )
    get_run_logger().info(
        "Read %d deals engaged in %s and %d closed in it, %d reference deals, model %s.",
        len(material.current),
        current_month,
        len(material.closed),
        len(reference),
        card["version"],
    )
    return material


def _in_month(days: pd.Series, month: str) -> pd.Series:
    found: pd.Series = days.dt.strftime("%Y-%m") == month
    return found


@task(name="measure the drift", cache_policy=NO_CACHE)
def measure(material: Material, month: str) -> Found:
    logger, bar = get_run_logger(), publication.Bar("crm-monitoring", f"Drift of {month}")
    found = drift.compare(
        material.reference,
        material.current,
        counts=material.counts,
        earlier=material.earlier,
        closed=material.closed,
        activity=material.activity,
        baseline=material.card["quality"],
        report=bar,
    )
    for column in found.drifted:
        logger.warning("%s drifted: %s %.4g, p = %.3g.", column.name, column.test, column.statistic, column.p_value)
    for reading in found.readings:
        shown = "not known" if reading.value is None else f"{reading.value:.4f} of {reading.measured:.4f} measured"
        say = logger.info if reading.level in ("NONE", "UNKNOWN") else logger.warning
        say("%s: %s, %s.", reading.level, reading.measure.title, shown)
    return found


@task(name="write the report", cache_policy=NO_CACHE, **DISK)
def write_report(place: Lake, material: Material, result: Result) -> tuple[Manifest, str]:
    logger, month = get_run_logger(), result["current_month"]
    # The month's own earlier result is replaced, and need not be readable.
    others = results.history(place, logger.warning, without=month)
    history = sorted([*others, results.remember(result)], key=lambda row: str(row["current_month"]))
    page = html_report.page(result, history, material.reference, material.current)
    documents = {results.RESULT: lake.encode(result), results.PAGE: page.encode()}
    manifest = place.write("reports", month, {}, {}, source=material.source, documents=documents)
    logger.info("Wrote %s to %s: a page of %d kB.", manifest.name, place.store.name, len(page.encode()) // 1000)
    return manifest, page


@task(name="publish the drift", cache_policy=NO_CACHE)
def publish(place: Lake, result: Result, manifest: Manifest, page: str) -> None:
    about = f"{result['current_month']} against {result['reference_period']}"
    # Damaged reports are named in the log when the page is written.
    history = results.history(place, get_run_logger().debug)
    publication.fields(publication.DRIFT, {**result, "history": history}, description=f"Drift of {about}.")
    publication.report(page, description=f"Drift report of {about} (HTML).")
    create_markdown_artifact(markdown=summary(result), key="crm-drift-summary", description=f"Drift of {about}.")
    publication.link("crm-drift-file", place.address(manifest, results.PAGE), f"Drift report of {about}")
    publication.months_held(place)


def summary(result: Result) -> str:
    drifted = ", ".join(f"`{column['name']}`" for column in result["drifted_columns"]) or "none"
    rows = "\n".join(
        f"| {row['title']} | {_known(row['measured'])} | {_known(row['value'])} | {row['level']} |"
        for row in result["measures"]
    )
    advice = "\n".join(f"- **{row['level']}** {row['text']}" for row in result["recommendations"])
    return (
        f"# {result['alert_level']}: {result['current_month']} against {result['reference_period']}\n\n"
        f"Drifted columns: {drifted}. Model {result['model_version']}.\n\n"
        f"| Measure | Measured | Beyond chance | Level |\n|---|---|---|---|\n{rows}\n\n{advice}\n"
    )


def _known(value: float | None) -> str:
    return "not known" if value is None else f"{value:g}"


@flow(name="model-drift-monitoring", validate_parameters=False)
def model_drift_monitoring(current_month: months.Month, reference_period: months.Month | None = None) -> dict[str, Any]:
    """Check whether the deals of a month, and their predictions, have drifted from a reference.

    The level NONE, LOW, MEDIUM or HIGH follows from one table of measures and thresholds; it is UNKNOWN if nothing was
    found, but not every measure is known. If enough deals closed in the month, the report includes the quality of their
    predictions.

    Args:
        current_month: Month to monitor, as YYYY-MM. It must be ingested.
        reference_period: Month of the reference to compare with. Default: the month before.
    """
    months.last_day(current_month)
    reference_period = months.previous(current_month) if reference_period is None else reference_period
    months.last_day(reference_period)
    # Months as YYYY-MM sort as text.
    if current_month <= reference_period:
        raise BadChoice(
            f"current_month {current_month} is not after reference_period {reference_period}: "
            "choose an earlier reference month."
        )
    place = lake.from_environment()
    material = read_material(place, current_month, reference_period)
    found = measure(material, current_month)
    # One result for everything that is published: artifacts, report and history.
    result = results.describe(found, current_month=current_month, reference_period=reference_period, card=material.card)
    manifest, page = write_report(place, material, result)
    publish(place, result, manifest, page)
    get_run_logger().info("Drift of %s against %s: %s.", current_month, reference_period, found.level)
    return {"month": current_month, "reference": reference_period, "alert_level": found.level}
