"""Deployments that leave the scope of their environment, or are in none: what is recorded, and how one is assigned.

A changed tag in Prefect must not change the rules of a deployment. So it stays where it was, and nothing of it can be
run, until an administrator confirms the move; out of a protected environment that needs a second signature.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from flows import scopes
from flows.catalog import placement
from flows.catalog.placement import Move, MoveKind
from flows.models import Deployment, Environment, UnassignedDeployment
from flows.wording import deployment_name
from runs import audit, events, queue
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import loosening_gate, rule_changes
from runs.governance.configuration import require_administrator
from runs.governance.loosening import Loosening, is_guarded
from runs.governance.rule_changes import Proposal
from runs.models import ChangeRequest, RunEvent

VERB = "deployment.assign"
VERBS = {
    MoveKind.FOUND: "deployment.unassigned",
    MoveKind.LEFT: "deployment.left_scope",
    MoveKind.RETURNED: "deployment.returned",
    MoveKind.MOVED: "deployment.assigned",
}
# Deployments that an entry about many, and a message, name.
NAMED = 10


def record_moves(environment: Environment, moves: Sequence[Move]) -> None:
    """Record what a sync found, and have administrators and auditors notified; called in its transaction.

    One entry for each deployment that left a scope, returned to it or was assigned, and one for all that are new in
    Prefect and in no scope.
    """
    by = Actor.system("Prefect")
    keys = {key for move in moves for key in (move.before, move.after, *move.covered_by) if key is not None}
    places = Environment.objects.in_bulk(keys)
    # 1. The audit trail.
    ids = [move.prefect_id for move in moves if move.before is not None]
    stored = Deployment.objects.filter(prefect_id__in=ids, environment__in=places).select_related("environment")
    rows = {(row.environment_id, row.prefect_id): row for row in stored}
    acts = []
    for move in moves:
        if move.kind != MoveKind.FOUND:
            home = places.get(move.before or 0)
            act = audit.Act(VERBS[move.kind], rows.get((move.before or 0, move.prefect_id)), by)
            act.subject_kind, act.subject_name = "deployment", move.full_name
            act.environment = home.slug if home else ""
            act.before = {"environment": act.environment}
            act.after = {
                "environment": names_of([move.after], places),
                "in_scope_of": names_of(sorted(move.covered_by), places),
            }
            acts.append(act)
    if found := [move for move in moves if move.kind == MoveKind.FOUND]:
        act = audit.Act(VERBS[MoveKind.FOUND], environment.server, by)
        act.after = {"deployments": len(found), "names": [move.full_name for move in found[:NAMED]]}
        acts.append(act)
    audit.record_many(acts)
    # 2. The notices: one for all of a sync.
    lines = [describe(move, places) for move in moves if move.kind in (MoveKind.FOUND, MoveKind.LEFT)]
    if lines:
        facts = {"lines": lines[:NAMED], "more": max(len(lines) - NAMED, 0)}
        events.record(RunEvent.Kind.DEPLOYMENTS_UNASSIGNED, data=facts)


def names_of(keys: Iterable[int | None], places: Mapping[int, Environment]) -> str:
    return ", ".join(places[key].slug for key in keys if key is not None and key in places)


def describe(move: Move, places: Mapping[int, Environment]) -> str:
    """Return what happened to a deployment, and under which rules it could come, as a line."""
    now = names_of(sorted(move.covered_by), places)
    where = f"in the scope of {now}" if now else "in no scope"
    name, home = deployment_name(move.full_name), places.get(move.before or 0)
    if home is None:
        return f"{name} is {where}."
    target = places.get(scopes.only(move.covered_by) or 0)
    rules = ""
    if target and is_guarded(target) != is_guarded(home):
        rules = f", whose rules are {'stricter' if is_guarded(target) else 'looser'}"
    return f"{name} was in {home} and is {where}{rules}."


def assign(
    row: UnassignedDeployment,
    *,
    by: Actor,
    reason: str = "",
    confirm: str = "",
    signed: ChangeRequest | None = None,
) -> ChangeRequest | None:
    """Confirm that a deployment belongs to the environment whose scope it is in; the next sync moves it there.

    It takes its new runs along, while its history stays. Out of a protected environment, or where it was in the scope
    of one, that waits as the change request that is returned, until it is approved and comes again as `signed`; then
    `confirm` is the name of that environment. Raises `Refused` with code `move.unclear`, `move.done`, `loosening.…` or
    `rules.…`.
    """
    with audit.act(VERB, row, by=by, reason=reason) as act:
        require_administrator(by)
        stored = UnassignedDeployment.objects.select_for_update(of=["self"]).select_related("environment", "server")
        found = stored.filter(pk=row.pk).first()
        if found is None:
            raise Refused("move.done", f"{row} does not need to be assigned any more. Reload the page.")
        target = target_of(found)
        if target is None:
            raise Refused(
                "move.unclear",
                f"{row} is not in the scope of exactly one enabled environment. Change its tags, name or work pool in "
                "Prefect, or change a scope.",
            )
        before = found.environment.slug if found.environment else ""
        act.environment = before or target.slug
        loosenings = loosened_by(found, target)
        proposal = Proposal(
            subject_id=str(found.pk),
            subject_name=f"deployment {found}",
            before={"environment": before},
            after={"environment": target.slug},
        )
        if waiting := rule_changes.pass_or_submit(loosenings, act, proposal, confirm=confirm, signed=signed):
            return waiting
        placement.confirm(found, target)
        act.before, act.after = {"environment": before}, {"environment": target.slug}
        loosening_gate.record_and_notify(loosenings, act, signed)
        queue.enqueue("runs.tasks.sync", found.server_id)
    return None


def target_of(row: UnassignedDeployment) -> Environment | None:
    """Return the one enabled environment whose scope a deployment was in at the last sync; None if there is not one."""
    key = scopes.only(row.covered_by)
    return Environment.objects.filter(pk=key or 0, server=row.server_id, is_active=True).first()


def loosened_by(row: UnassignedDeployment, target: Environment) -> list[Loosening]:
    """Return what an assignment makes looser: the rules of each other protected environment that could be its own."""
    keys = {row.environment_id or target.pk, *row.earlier} - {target.pk}
    return [
        Loosening("deployment.assigned", each.slug, f"{row} assigned to {target}")
        for each in Environment.objects.filter(pk__in=keys).order_by("slug")
        if is_guarded(each)
    ]
