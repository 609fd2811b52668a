"""Assign the deployments of a server to the environments on it. The only code that writes `UnassignedDeployment`.

Where one environment covers the whole server, all are its own. Among scopes, `flows.scopes` decides; a deployment that
belongs to none, or not to the one that it was in, is noted for administrators.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from django.db.models import Q, QuerySet

from flows import scopes
from flows.db_text import sanitize, sanitize_json
from flows.models import Deployment, Environment, Server, UnassignedDeployment
from flows.prefect_api.records import DeploymentRecord
from flows.scopes import Features, Kind, Placement
from flows.shared_servers import keys_of

COLUMNS = ["full_name", "work_pool_name", "tags", "environment", "covered_by", "earlier", "confirmed", "synced_at"]


class MoveKind(StrEnum):
    FOUND = "found"
    LEFT = "left"
    RETURNED = "returned"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Move:
    """What a sync found of one deployment: it belongs nowhere, it left or returned to a scope, or it was moved.

    `before` and `after` are keys of environments; `covered_by` those whose scopes it is in.
    """

    kind: MoveKind
    prefect_id: UUID
    full_name: str
    before: int | None
    after: int | None
    covered_by: frozenset[int]


@dataclass(frozen=True, slots=True)
class Assignment:
    """The deployments of each environment by its key, and what changed."""

    records: dict[int, list[DeploymentRecord]]
    moves: list[Move] = field(default_factory=list)


@dataclass(slots=True)
class Whereabouts:
    """What is stored of a deployment: its row in an environment that is read now, and where else it was."""

    row: Deployment | None = None
    home: int | None = None
    earlier: set[int] = field(default_factory=set)


def assign(
    environments: Sequence[Environment], records: Sequence[DeploymentRecord], *, at: datetime, is_whole: bool
) -> Assignment:
    """Return the deployments of each environment, and note those that belong to none or have left theirs.

    With `is_whole` the records are all that the server has. The caller holds the locks on the environments, and stores
    the rows. What a later reading has written is left out.
    """
    server = environments[0].server
    found: dict[int, list[DeploymentRecord]] = {each.pk: [] for each in environments}
    rows = stored_rows(server, environments)
    first, *others = environments
    if not others and not first.is_scoped and not rows.exclude(environment=first).exists():
        found[first.pk] = list(records)
        if is_whole:
            UnassignedDeployment.objects.filter(server=server).delete()
        return Assignment(found)
    # 1. What is known of them.
    ids = [record.id for record in records]
    noted = {
        row.prefect_id: row
        for row in UnassignedDeployment.objects.select_for_update(of=["self"])
        .filter(server=server, prefect_id__in=ids)
        .order_by("pk")
    }
    known = whereabouts(rows, environments, records)
    covers = {each.pk: each.scope for each in environments}
    # 2. Where each belongs.
    moves, notes, settled = [], [], []
    left: dict[bool, list[int]] = {False: [], True: []}
    for record in records:
        here, note, features = known[record.id], noted.get(record.id), features_of(record)
        if (here.row and here.row.synced_at > at) or (note and note.synced_at > at):
            continue
        covering = scopes.covering(covers, features)
        earlier = here.earlier | ({*note.earlier, *note.covered_by} if note else set())
        confirmed = note.confirmed_id if note else None
        placement = scopes.scope_of(features, covers, home=here.home, earlier=earlier, confirmed=confirmed)
        kind = kind_of(here, note, placement)
        if kind:
            moves.append(Move(kind, record.id, features.name, here.home, placement.environment, covering))
        if placement.is_settled and placement.environment is not None:
            found[placement.environment].append(record)
            settled.append(record.id)
            continue
        if here.row:
            left[record.is_paused].append(here.row.pk)
        notes.append(
            UnassignedDeployment(
                server=server,
                prefect_id=record.id,
                full_name=features.name,
                work_pool_name=record.work_pool_name,
                tags=list(record.tags),
                environment_id=here.home,
                covered_by=sorted(covering),
                earlier=sorted(earlier),
                # What was confirmed for other scopes than it is in now does not count later either.
                confirmed_id=confirmed if confirmed == scopes.only(covering) else None,
                found_at=at,
                synced_at=at,
            )
        )
    # 3. Note it. The rows of those that left keep what they had in their scope, and nothing of them can be run; only
    #    whether its schedules are paused is needed, by a freeze.
    for move in moves:
        if move.kind == MoveKind.MOVED and move.before is not None:
            gone = Deployment.objects.filter(environment=move.before, prefect_id=move.prefect_id)
            gone.update(deleted_upstream_at=at, left_scope_at=None)
    for is_paused, keys in left.items():
        rows_left = Deployment.objects.filter(pk__in=keys)
        rows_left.filter(left_scope_at=None).update(left_scope_at=at)
        rows_left.update(synced_at=at, deleted_upstream_at=None, is_paused=is_paused)
    UnassignedDeployment.objects.bulk_create(
        map(sanitize_json, notes),
        update_conflicts=True,
        unique_fields=["server", "prefect_id"],
        update_fields=COLUMNS,
        batch_size=200,
    )
    gone_notes = UnassignedDeployment.objects.filter(server=server, synced_at__lt=at)
    (gone_notes if is_whole else gone_notes.filter(prefect_id__in=settled)).delete()
    return Assignment(found, moves)


def stored_rows(server: Server, environments: Sequence[Environment]) -> QuerySet[Deployment]:
    """Return the stored deployments that say where one was.

    An environment that covers the whole server takes over all of it, but for what was in a scope of another one.
    """
    rows = Deployment.objects.filter(environment__server=server)
    if any(each.is_scoped for each in environments):
        return rows
    return rows.exclude(~Q(environment__in=keys_of(environments)), environment__scope_kind=Kind.SERVER)


def whereabouts(
    rows: QuerySet[Deployment], environments: Sequence[Environment], records: Sequence[DeploymentRecord]
) -> dict[UUID, Whereabouts]:
    """Return what is stored of each deployment, by its id, or by its name: deleting and creating one is no way out."""
    ids, names = [record.id for record in records], [full_name(record) for record in records]
    stored = rows.filter(Q(prefect_id__in=ids) | Q(full_name__in=names)).only(
        "prefect_id", "full_name", "environment", "synced_at", "left_scope_at", "deleted_upstream_at"
    )
    by_id: dict[UUID, list[Deployment]] = defaultdict(list)
    by_name: dict[str, list[Deployment]] = defaultdict(list)
    for row in stored:
        by_id[row.prefect_id].append(row)
        by_name[row.full_name].append(row)
    read = set(keys_of(environments))
    found = {}
    for record in records:
        of_it = list({row.pk: row for row in [*by_id[record.id], *by_name[full_name(record)]]}.values())
        inside = [row for row in of_it if row.environment_id in read]
        # The last one counts: what Prefect has by this id, else by this name, else what it had.
        ranked = sorted(
            inside,
            key=lambda row: (row.deleted_upstream_at is None, row.prefect_id == record.id, row.synced_at, row.pk),
        )
        here = Whereabouts(earlier={row.environment_id for row in of_it if row.environment_id not in read})
        if ranked:
            here.home = ranked[-1].environment_id
            of_home = [row for row in inside if row.environment_id == here.home and row.prefect_id == record.id]
            here.row = of_home[0] if of_home else None
        found[record.id] = here
    return found


def kind_of(here: Whereabouts, note: UnassignedDeployment | None, placement: Placement) -> MoveKind | None:
    """Return what is new of a deployment; None if nothing is."""
    if not placement.is_settled:
        has_left = here.row is not None and here.row.left_scope_at is None
        if here.home is not None:
            return MoveKind.LEFT if has_left or note is None else None
        return MoveKind.FOUND if note is None else None
    if here.home != placement.environment:
        # A new deployment is no move.
        return MoveKind.MOVED if here.home is not None or note else None
    return MoveKind.RETURNED if note or (here.row and here.row.left_scope_at) else None


def features_of(record: DeploymentRecord) -> Features:
    return Features(full_name(record), record.work_pool_name, frozenset(record.tags))


def full_name(record: DeploymentRecord) -> str:
    """Return the name as it is stored."""
    return sanitize(f"{record.flow_name}/{record.name}")


def is_here(environment: Environment, environments: Sequence[Environment], record: DeploymentRecord) -> bool:
    """Return whether a deployment, as Prefect has it now, is in the scope of this environment and of no other."""
    covers = {each.pk: each.scope for each in environments}
    return scopes.covering(covers, features_of(record)) == {environment.pk}


def confirm(row: UnassignedDeployment, target: Environment) -> None:
    """Note where an administrator confirmed that a deployment belongs: the next sync assigns it, if it is so still."""
    UnassignedDeployment.objects.filter(pk=row.pk).update(confirmed=target)
