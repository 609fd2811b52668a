"""Request that work pools and queues are paused or resumed, and that limits are changed.

In a protected environment a higher limit, and the end of someone else's pause, lets more runs start: it loosens, and
needs a second signature as a change of rules does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from flows.models import Deployment, Environment, GlobalLimit, WorkPool, WorkQueue
from runs import actions, audit
from runs.access.decisions import Target, require
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import loosening_gate
from runs.governance.in_scope import require_in_scope
from runs.governance.loosening import Loosening, is_guarded
from runs.governance.requirements import requirements_for
from runs.governance.rule_changes import Proposal, pass_or_submit
from runs.models import Action, ChangeRequest, Verb
from runs.models.action import LIMITS, OPEN, PAUSES, Before, Capacity, Kind, State

# kind of target -> the first part of the verb of its audit entry, what it is called, and which limits it has
SUBJECTS: dict[type, tuple[str, str, tuple[str, ...]]] = {
    Deployment: ("deployment", "deployment", ("concurrency_limit", "collision_strategy")),
    WorkPool: ("pool", "work pool", ("concurrency_limit",)),
    WorkQueue: ("queue", "work queue", ("concurrency_limit", "priority")),
    GlobalLimit: ("global_limit", "concurrency limit", ("concurrency_limit", "is_active")),
}
# What Prefect does with runs beyond the limit of a deployment.
STRATEGIES = {"ENQUEUE": "wait", "CANCEL_NEW": "are cancelled"}
# What Prefect stores; the least is 0 for pools and queues, which stops them.
HIGHEST = 2**31 - 1


def pause(target: WorkPool | WorkQueue, *, by: Actor, reason: str = "", ticket: str = "") -> Action | ChangeRequest:
    """Request that a work pool or queue gives out no more runs; those that a worker has picked up go on."""
    return request(target, Kind.PAUSE, {"is_paused": True}, by=by, reason=reason, ticket=ticket)


def resume(
    target: WorkPool | WorkQueue,
    *,
    by: Actor,
    reason: str = "",
    ticket: str = "",
    confirm: str = "",
    signed: ChangeRequest | None = None,
) -> Action | ChangeRequest:
    """Request that a work pool or queue gives out runs again; `confirm` and `signed` as in `set_limits`."""
    consent: dict[str, Any] = {"reason": reason, "ticket": ticket, "confirm": confirm, "signed": signed}
    return request(target, Kind.RESUME, {"is_paused": False}, by=by, **consent)


def set_limits(
    target: Capacity,
    wanted: Mapping[str, Any],
    *,
    by: Actor,
    reason: str = "",
    ticket: str = "",
    confirm: str = "",
    signed: ChangeRequest | None = None,
) -> Action | ChangeRequest:
    """Request other limits, of those in `SUBJECTS`; None is no limit, and what is not named stays.

    `confirm` is the typed name of a protected environment: a higher limit there waits as the change request that is
    returned, until it is approved and comes again as `signed`. Raises `Forbidden` or `Refused`.
    """
    consent: dict[str, Any] = {"reason": reason, "ticket": ticket, "confirm": confirm, "signed": signed}
    return request(target, Kind.LIMIT, wanted, by=by, **consent)


def request(
    target: Capacity,
    kind: Kind,
    wanted: Mapping[str, Any],
    *,
    by: Actor,
    reason: str = "",
    ticket: str = "",
    confirm: str = "",
    signed: ChangeRequest | None = None,
) -> Action | ChangeRequest:
    """Check permission and requirements, and create the action, or the change request that it needs first."""
    subject, noun, _ = SUBJECTS[type(target)]
    verb = f"{subject}.{kind.value}"
    with audit.act(verb, target, by=by, reason=reason, ticket=ticket) as act:
        # 1. Who may, and whether it is there.
        place = place_of(target)
        require(by, Verb.PAUSE if kind in PAUSES else Verb.MANAGE, place)
        if target.deleted_upstream_at:
            raise gone(target)
        if isinstance(target, Deployment):
            require_in_scope(target)
        # 2. What would change. The mirrored values; Prefect's own are read before the action is sent.
        if kind in LIMITS:
            require_valid(target, wanted)
        before = {name: getattr(target, name) for name in wanted}
        changed = {name: value for name, value in wanted.items() if before[name] != value}
        if not changed:
            raise Refused("target.unchanged", f"The {noun} {target} is like that already.")
        before = {name: before[name] for name in changed}
        requirements_for(place).require_reason_and_ticket("change of a limit", reason=reason, ticket=ticket)
        if kind in LIMITS and actions_on(target).filter(kind__in=LIMITS, state__in=OPEN).exists():
            raise pending(target)
        # 3. More than before in a protected environment.
        found = list(loosenings(target, changed, by))
        proposal = Proposal(str(target.pk), f"{noun} {target} in {target.environment}", before, changed)
        if waiting := pass_or_submit(found, act, proposal, confirm=confirm, signed=signed):
            return waiting
        act.before, act.after = before, changed
        made = actions.create(
            kind,
            target,
            before=columns(before),
            wanted=columns(changed) if kind in LIMITS else None,
            by=by,
            by_name=by.name,
            reason=reason,
            ticket=ticket,
            change=signed,
        )
        loosening_gate.record_and_notify(found, act, signed)
        return made


def place_of(target: Capacity) -> Target:
    """Return what a grant must cover: a pool has runs of all deployments that use it, so the whole environment."""
    return Target.of(target) if isinstance(target, Deployment) else Target.whole(target.environment)


def gone(target: Capacity) -> Refused:
    _, noun, _ = SUBJECTS[type(target)]
    return Refused("target.gone", f"Prefect no longer has the {noun} {target} in {target.environment}.")


def pending(target: Capacity) -> Refused:
    return Refused(
        "limit.pending", f"Another change of the limits of {target} is pending. Try again when it has finished."
    )


def columns(values: Mapping[str, Any]) -> Before:
    # `require_valid` has checked the names.
    return cast(Before, dict(values))


def actions_on(target: Capacity) -> Any:
    return Action.objects.filter(**{actions.COLUMNS[type(target)]: target})


def require_valid(target: Capacity, wanted: Mapping[str, Any]) -> None:
    """Refuse values that Prefect would not store, and limits that the target does not have alone."""
    _, noun, names = SUBJECTS[type(target)]
    if others := sorted(set(wanted) - set(names)):
        raise Refused("limit.unknown", f"A {noun} has no {others[0].replace('_', ' ')}.", field=others[0])
    actions.require_own_limit(target)
    # 0 stops a pool or a queue; a deployment without runs is paused or deleted instead, and Prefect refuses it.
    lowest = {"concurrency_limit": 1 if isinstance(target, Deployment) else 0, "priority": 1}
    # No limit is a limit too; every queue has a priority, and a global limit that limits nothing is inactive.
    needed = {"priority", *(["concurrency_limit"] if isinstance(target, GlobalLimit) else [])}
    for name, least in lowest.items():
        value = wanted.get(name, least)
        is_number = isinstance(value, int) and not isinstance(value, bool) and least <= value <= HIGHEST
        if not is_number and (value is not None or name in needed):
            label = name.replace("_", " ")
            raise Refused("limit.number", f"The {label} must be a whole number from {least}.", field=name)
    if not isinstance(wanted.get("is_active", True), bool):
        raise Refused("limit.active", "A concurrency limit is active or inactive.", field="is_active")
    if "collision_strategy" in wanted and wanted["collision_strategy"] not in STRATEGIES:
        raise Refused(
            "limit.strategy", f"Runs beyond the limit can be {' or '.join(STRATEGIES)}.", field="collision_strategy"
        )


def loosenings(target: Capacity, changed: Mapping[str, Any], by: Actor) -> Iterator[Loosening]:
    """Yield what a change lets through in a protected environment that did not pass before."""
    _, noun, _ = SUBJECTS[type(target)]
    name = f"{noun} {target}"
    for slug in [each.slug for each in environments_of(target) if is_guarded(each)]:
        if "concurrency_limit" in changed and is_higher(target.concurrency_limit, changed["concurrency_limit"]):
            was, becomes = display(target.concurrency_limit), display(changed["concurrency_limit"])
            yield Loosening("limit.concurrency_limit", slug, f"{name}, concurrency limit: {was} → {becomes}")
        if changed.get("is_active") is False:
            yield Loosening("limit.is_active", slug, f"{name} deactivated")
        if changed.get("is_paused") is False and not was_paused_by(target, by):
            yield Loosening("limit.is_paused", slug, f"{name} resumed")


def environments_of(target: Capacity) -> list[Environment]:
    """Return the environments whose runs a limit holds back: of a global one all that share the server."""
    if not isinstance(target, GlobalLimit):
        return [target.environment]
    others = Environment.objects.filter(server=target.environment.server_id, is_active=True)
    return [target.environment, *others.exclude(pk=target.environment_id).order_by("slug")]


def is_higher(before: int | None, after: int | None) -> bool:
    """Compare limits; None is no limit."""
    return before is not None and (after is None or after > before)


def display(limit: int | None) -> str:
    return "none" if limit is None else str(limit)


def was_paused_by(target: Capacity, by: Actor) -> bool:
    """Return whether the pause that would end is the actor's own, as far as the portal knows."""
    latest = actions_on(target).filter(kind__in=PAUSES, state=State.DONE).order_by("-pk").first()
    return latest is not None and latest.kind == Kind.PAUSE and by.is_same_person_as(latest.requested_by_id)
