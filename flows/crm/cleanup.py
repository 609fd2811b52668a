"""The pipeline that makes room: it lists what nobody needs any more, and deletes it when it is told to."""

from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.crm import cleanup_plan, lake, publication
from flows.crm.cleanup_plan import Category, Doomed
from flows.crm.failures import BadChoice
from flows.crm.lake import Lake
from flows.crm.retries import DISK


@task(name="list what may go", cache_policy=NO_CACHE, **DISK)
def list_doomed(place: Lake, categories: list[str], dry_run: bool) -> list[Doomed]:
    doomed = cleanup_plan.find(place, categories)
    logger = get_run_logger()
    for one in doomed:
        logger.info("%s, %s: %d files, %d bytes.", one.category, one.month, len(one.paths), one.size)
    # Written before anything is deleted: the list is what is left of it.
    create_table_artifact(
        table=[
            {
                "category": one.category,
                "month": one.month,
                "files": len(one.paths),
                "bytes": one.size,
                "path": one.paths[0],
            }
            for one in doomed
            if one.paths
        ],
        key="crm-cleanup",
        description=f"{'Would be deleted' if dry_run else 'Deleted'} from {place.store.name}.",
    )
    return doomed


@task(name="delete it", cache_policy=NO_CACHE, **DISK)
def delete(place: Lake, doomed: list[Doomed]) -> None:
    cleanup_plan.delete(place, doomed)
    publication.months_held(place)


@flow(name="crm-data-cleanup", validate_parameters=False)
def crm_data_cleanup(
    dry_run: bool = True,
    categories: list[Category] = ["leftovers"],  # noqa: B006 - Prefect copies defaults into the schema
) -> dict[str, Any]:
    """List what the lake no longer needs, and delete it unless this is a dry run. Raw tables are never deleted.

    Args:
        dry_run: Only list; nothing is deleted.
        categories: leftovers are files that no manifest names any more, a day old at least; processed, features and
            reference are all months but the newest; models are those that were not promoted; reports are all but the
            newest twelve.
    """
    if not isinstance(dry_run, bool):
        raise BadChoice(f"dry_run is {dry_run!r}: choose true or false.")
    chosen = cleanup_plan.require_categories(categories)
    place = lake.from_environment()
    doomed = list_doomed(place, chosen, dry_run)
    files, size = sum(len(one.paths) for one in doomed), sum(one.size for one in doomed)
    if not dry_run:
        delete(place, doomed)
    verb = "would be deleted" if dry_run else "deleted"
    get_run_logger().info("%d files, %d bytes %s.", files, size, verb)
    return {"dry_run": dry_run, "categories": chosen, "files": files, "bytes": size}
