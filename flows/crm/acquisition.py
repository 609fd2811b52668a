"""First pipeline of a month: writes the CRM tables, as of the end of the month, unchanged to the lake."""

from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.crm import continuity, lake, months, publication, snapshot, source
from flows.crm.failures import BadLake, MissingMonth
from flows.crm.lake import Manifest
from flows.crm.retries import DISK
from flows.crm.table_schema import SHAPES, Tables


# NO_CACHE here and in all pipelines: Prefect would hash whole tables to look for a cached result.
@task(name="read the source", cache_policy=NO_CACHE, **DISK)
def read_source() -> source.Source:
    found = source.load()
    rows = ", ".join(f"{len(frame):,} {name}" for name, frame in found.tables.items())
    get_run_logger().info("Read %s: %s.", found.name, rows)
    return found


@task(name="take the snapshot", cache_policy=NO_CACHE, **DISK)
def take_snapshot(found: source.Source, month: str) -> tuple[Tables, tuple[str, str]]:
    day = months.last_day(month)
    tables = snapshot.as_of(found.tables, day)
    # Before the span: of a source that was cut, the month may seem to be outside.
    require_continuity(month, tables)
    span = snapshot.span(found.tables)
    months.require_within(month, *span)
    all_deals, deals = found.tables["sales_pipeline"], tables["sales_pipeline"]
    closed = deals["deal_stage"].isin(snapshot.CLOSED).sum()
    get_run_logger().info(
        "Snapshot of %s: %d of %d deals were known, %d closed and %d open.",
        day,
        len(deals),
        len(all_deals),
        closed,
        len(deals) - closed,
    )
    return tables, span


def require_continuity(month: str, tables: Tables) -> None:
    """Compare with the newest month before that the lake can read."""
    warn, place = get_run_logger().warning, lake.from_environment()
    for before in reversed([held for held in place.months("raw") if held < month]):
        try:
            known = place.read(place.manifest("raw", before))
        except (BadLake, MissingMonth) as error:
            warn(f"Not compared with {before}: {error}")
        else:
            continuity.require_continuity(before, known, tables, warn)
            return


@task(name="write the raw tables", cache_policy=NO_CACHE, **DISK)
def write_raw(tables: Tables, month: str, source_name: str, span: tuple[str, str]) -> Manifest:
    # With the declared columns: Parquet files have the same schema every month, also for empty columns.
    columns = {name: shape.columns for name, shape in SHAPES.items()}
    place = lake.from_environment()
    manifest = place.write("raw", month, tables, columns, source=source_name)
    place.remember_source(source_name, *span)
    get_run_logger().info("Wrote %s to %s.", manifest.name, place.store.name)
    create_table_artifact(
        table=[{"table": name, "rows": rows} for name, rows in manifest.rows.items()],
        key="crm-raw-tables",
        description=f"Raw tables of {month}, from {source_name}.",
    )
    publication.months_held(place)
    return manifest


@flow(name="crm-data-acquisition", validate_parameters=False)
def crm_data_acquisition(snapshot_month: months.Month) -> dict[str, Any]:
    """Take the CRM tables as of the end of a month, and store them unchanged in the lake.

    Deals engaged later are left out, deals closed later are still open. The same month of the same source gives the
    same files, so running it again is safe.

    Args:
        snapshot_month: Month to acquire, as YYYY-MM: the data as of the end of its last day.
    """
    # validate_parameters=False and this check: Prefect's own validation would fail with five lines of pydantic.
    months.require_begun(snapshot_month)
    # Fail before reading the source if the lake is not usable.
    lake.from_environment()
    found = read_source()
    tables, span = take_snapshot(found, snapshot_month)
    manifest = write_raw(tables, snapshot_month, found.name, span)
    return {"month": snapshot_month, "source": found.name, "rows": manifest.rows}
