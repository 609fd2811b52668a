"""Second pipeline of a month: checks and cleans the raw tables, and builds the features."""

from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.crm import checks, corrections, features, findings, lake, months, publication
from flows.crm.findings import Evidence
from flows.crm.lake import Manifest
from flows.crm.retries import DISK
from flows.crm.table_schema import SHAPES, Tables


@task(name="read the raw tables", cache_policy=NO_CACHE, **DISK)
def read_raw(month: str) -> tuple[Manifest, Tables]:
    place = lake.from_environment()
    manifest = place.manifest("raw", month)
    get_run_logger().info("Reading %s, from %s.", manifest.name, manifest.source)
    return manifest, place.read(manifest)


@task(name="clean the tables", cache_policy=NO_CACHE)
def clean_tables(raw: Tables) -> Tables:
    for spelling, cells in corrections.count_corrections(raw).items():
        if cells:
            get_run_logger().info("Corrected the spelling %s %d times.", spelling, cells)
    return corrections.clean(raw)


@task(name="check the tables", cache_policy=NO_CACHE)
def check_tables(raw: Tables, cleaned: Tables, month: str) -> None:
    found = checks.run(Evidence(raw, cleaned))
    # Written before anything is refused: the table explains the refusal.
    create_table_artifact(
        table=[finding.row() for finding in found], key="crm-checks", description=f"Checks of the tables of {month}."
    )
    logger = get_run_logger()
    for finding in found:
        if finding.result != "passed":
            say = logger.error if finding.result == "failed" else logger.warning
            asks, rows = finding.check.asks, len(finding.failing.rows)
            say("Check %s: %s No: %d found, %s%s.", finding.check.name, asks, rows, finding.examples, finding.size)
    findings.require_passed(month, found)
    logger.info("%d of %d checks passed.", sum(finding.result == "passed" for finding in found), len(found))


@task(name="build the features", cache_policy=NO_CACHE)
def build_features(cleaned: Tables, month: str) -> Tables:
    logger = get_run_logger()
    bar = publication.Bar("crm-features", f"Features of {month}")

    def report(group: str, share: float) -> None:
        bar(share)
        logger.info("Features %.0f%%: %s.", 100 * share, group)

    deals = features.build(cleaned, report)
    labelled = int(deals["won"].notna().sum())
    logger.info("Built features of %d deals, %d of them with an outcome.", len(deals), labelled)
    return {"deals": deals}


@task(name="write the tables", cache_policy=NO_CACHE, **DISK)
def write_tables(raw: Manifest, cleaned: Tables, built: Tables) -> tuple[Manifest, Manifest]:
    place = lake.from_environment()
    columns = {name: shape.columns for name, shape in SHAPES.items()}
    # Two manifests, not one transaction: a kill in between leaves old features beside new tables.
    # `source` names the manifest that was read: each layer can be traced to the raw tables.
    processed = place.write("processed", raw.month, cleaned, columns, source=raw.name)
    learnable = place.write("features", raw.month, built, {"deals": features.COLUMNS}, source=processed.name)
    get_run_logger().info("Wrote %s and %s to %s.", processed.name, learnable.name, place.store.name)
    publication.months_held(place)
    return processed, learnable


@flow(name="crm-data-ingestion", validate_parameters=False)
def crm_data_ingestion(snapshot_month: months.Month) -> dict[str, Any]:
    """Check and clean the raw tables of a month, and build the features of its deals.

    A failed blocking check stops the run before anything is written; warnings are listed in the table of checks and in
    the log.

    Args:
        snapshot_month: Month to ingest, as YYYY-MM. It must be acquired.
    """
    months.last_day(snapshot_month)
    manifest, raw = read_raw(snapshot_month)
    cleaned = clean_tables(raw)
    check_tables(raw, cleaned, snapshot_month)
    built = build_features(cleaned, snapshot_month)
    processed, learnable = write_tables(manifest, cleaned, built)
    return {"month": snapshot_month, "processed": processed.rows, "features": learnable.rows}
