"""Upsert runs together with the runs that they are part of: a subflow belongs to the run that called it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from flows.models import Environment
from flows.prefect_api import connect
from flows.prefect_api.records import FlowRunRecord
from flows.shared_servers import read_together
from runs.mirror.owners import owners_of
from runs.mirror.upsert import Family, upsert
from runs.models import Run, TaskRun


def upsert_families(environment: Environment, records: Sequence[FlowRunRecord]) -> list[Run]:
    """Upsert runs, their unknown parents first; return those that are new or changed state.

    Each into its own environment, where several have a scope of the server.
    """
    environments = read_together(environment)
    # 1. Whose children they are, asked before any lock is held. A parent is read with its new children, to know whether
    #    it ran when they began.
    found = {record.id: record for record in records}
    parents: dict[UUID, UUID] = {}
    unread: Collection[FlowRunRecord] = records
    while unread:
        new = parents_of(environments, unread)
        parents |= new
        missing = set(new.values()) - found.keys()
        unread = connect.client_for(environment.server).flow_runs(list(missing)) if missing else ()
        found |= {record.id: record for record in unread}
    family = Family(parents, flow_names(environment, found.values()))
    owners = owners_of(environments, found.values(), parents)
    # 2. Parents before children, which refer to their rows.
    waves: dict[tuple[int, int], list[FlowRunRecord]] = {}
    by_key = {each.pk: each for each in environments}
    for record in found.values():
        if owner := owners.get(record.id):
            waves.setdefault((depth(record.id, parents, found), owner.pk), []).append(record)
    return [run for place in sorted(waves) for run in upsert(by_key[place[1]], waves[place], family)]


def parents_of(environments: Sequence[Environment], records: Collection[FlowRunRecord]) -> dict[UUID, UUID]:
    """Return the parents of those subflow runs whose parent the mirror does not know, by Prefect's ids."""
    children = {record.id: record.parent_task_run_id for record in records if record.parent_task_run_id}
    if not children:
        return {}
    known = Run.objects.filter(environment__in=environments, prefect_id__in=children, parent__isnull=False)
    for pk in known.values_list("prefect_id", flat=True):
        del children[pk]
    # Prefect gives a subflow run the task run that stands for it in its parent.
    tasks = TaskRun.objects.filter(run__environment__in=environments, prefect_id__in=children.values())
    runs = dict(tasks.values_list("prefect_id", "run__prefect_id"))
    if missing := set(children.values()) - runs.keys():
        runs |= connect.client_for(environments[0].server).flow_runs_of_tasks([pk for pk in missing if pk])
    return {child: runs[task] for child, task in children.items() if task in runs and runs[task] != child}


def flow_names(environment: Environment, records: Collection[FlowRunRecord]) -> Mapping[UUID, str]:
    """Return the names of the flows of runs without a deployment, by the flow's id."""
    flows = {record.flow_id for record in records if record.deployment_id is None}
    return connect.client_for(environment.server).flow_names(flows) if flows else {}


def depth(pk: UUID, parents: Mapping[UUID, UUID], found: Collection[UUID]) -> int:
    """Return how many of its ancestors are among the runs that were found."""
    ancestors: set[UUID] = set()
    while (parent := parents.get(pk)) in found and parent not in ancestors and parent is not None:
        ancestors.add(parent)
        pk = parent
    return len(ancestors)
