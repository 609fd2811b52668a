"""The cleanup pipeline: lists what the lake no longer needs, and deletes it unless it is a dry run."""

from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.crm import cleanup_plan, lake, publication
from flows.crm.cleanup_plan import Category, Deletable
from flows.crm.failures import BadChoice
from flows.crm.lake import Lake
from flows.crm.retries import DISK


@task(name="list deletable files", cache_policy=NO_CACHE, **DISK)
def list_deletable(place: Lake, categories: list[str], dry_run: bool) -> list[Deletable]:
    logger = get_run_logger()
    deletable = cleanup_plan.find(place, categories, logger.warning)
    for one in deletable:
        logger.info("%s, %s: %d files, %d bytes.", one.category, one.month, len(one.paths), one.size)
    # Written before anything is deleted: afterwards the list is the only record.
    create_table_artifact(
        table=[
            {
                "category": one.category,
                "month": one.month,
                "files": len(one.paths),
                "bytes": one.size,
                "path": one.paths[0],
            }
            for one in deletable
            if one.paths
        ],
        key="crm-cleanup",
        description=f"{'Would be deleted' if dry_run else 'Deleted'} from {place.store.name}.",
    )
    return deletable


@task(name="delete files", cache_policy=NO_CACHE, **DISK)
def delete(place: Lake, deletable: list[Deletable]) -> None:
    cleanup_plan.delete(place, deletable)


@flow(name="crm-data-cleanup", validate_parameters=False)
def crm_data_cleanup(
    # The mark tells what starts runs that these values delete: ask before.
    dry_run: Annotated[bool, Field(json_schema_extra={"x-destructive": [False]})] = True,
    categories: list[Category] = ["leftovers"],  # noqa: B006 - Prefect copies defaults into the schema
) -> dict[str, Any]:
    """List what the lake no longer needs, and delete it unless this is a dry run. Raw tables are never deleted.

    Args:
        dry_run: List only; delete nothing.
        categories: leftovers: files in no manifest, at least a day old. processed, features, reference, scores: all
            months but the newest. models: those that never came into use. reports: all but the newest twelve.
    """
    # The flow's validation is off, and "no" would be true.
    if not isinstance(dry_run, bool):
        raise BadChoice(f"dry_run is {dry_run!r}: choose true or false.")
    # Both parameters are checked before the lake is opened.
    chosen = cleanup_plan.require_categories(categories)
    place = lake.from_environment()
    deletable = list_deletable(place, chosen, dry_run)
    files, size = sum(len(one.paths) for one in deletable), sum(one.size for one in deletable)
    if not dry_run:
        delete(place, deletable)
    # After a dry run too: it is how to renew the offers after the lake was changed by other means.
    publication.months_held(place)
    verb = "would be deleted" if dry_run else "deleted"
    get_run_logger().info("%d files, %d bytes %s.", files, size, verb)
    return {"dry_run": dry_run, "categories": chosen, "files": files, "bytes": size}
