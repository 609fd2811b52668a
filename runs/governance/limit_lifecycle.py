"""Request that global concurrency limits, those of tags among them, are created and deleted in Prefect.

Deleting one lets through what it held back, so that in a protected environment it needs a second signature, as a
higher limit does. Creating one only holds back, and counts at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flows.catalog import limit_rows
from flows.db_text import sanitize
from flows.models import Environment, GlobalLimit
from runs import actions, audit
from runs.access.decisions import Target, require
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import limits, loosening_gate
from runs.governance.loosening import Loosening, is_guarded
from runs.governance.requirements import requirements_for
from runs.governance.rule_changes import Proposal, pass_or_submit
from runs.models import Action, ChangeRequest, Verb
from runs.models.action import LIMITS, OPEN, Kind

LONGEST_NAME = 300
# What Prefect allows in no name.
BANNED = "/%&<>"
# The name of the limit that Prefect keeps for a deployment begins like this; it is changed with the deployment.
OF_DEPLOYMENT = "deployment:"
# What a limit is besides its name, with what it is if that is not named.
DEFAULTS: dict[str, Any] = {"is_active": True, "slot_decay_per_second": 0.0}


def create(
    environment: Environment, name: str, wanted: Mapping[str, Any], *, by: Actor, reason: str = "", ticket: str = ""
) -> Action:
    """Request a limit of this name: `concurrency_limit`, and what of `DEFAULTS` is to be otherwise.

    The name of the limit of a tag begins with “tag:”. Raises `Forbidden` or `Refused`.
    """
    name = sanitize(name.strip())
    with audit.act("global_limit.create", None, by=by, reason=reason, ticket=ticket) as act:
        act.subject_kind, act.subject_name, act.environment = "globallimit", name, environment.slug
        # 1. Who may, and what Prefect would store.
        place = Target.whole(environment)
        require(by, Verb.MANAGE, place)
        require_own_limits(environment)
        require_name(name)
        columns = {**DEFAULTS, **wanted}
        require_valid(columns)
        requirements_for(place).require_reason_and_ticket("change of a limit", reason=reason, ticket=ticket)
        # 2. The row, which is not there until Prefect has the limit. Its lock makes one of two requests the first.
        limit = limit_rows.reserve(environment, name)
        if limit.is_there:
            raise Refused("limit.exists", f"{environment} has a concurrency limit {name} already. Change that one.")
        require_settled(limit)
        act.subject, act.after = limit, columns
        return actions.create(
            Kind.LIMIT,
            limit,
            before=limits.columns({"is_there": False}),
            wanted=limits.columns({"is_there": True, **columns}),
            by=by,
            by_name=by.name,
            reason=reason,
            ticket=ticket,
        )


def delete(
    limit: GlobalLimit,
    *,
    by: Actor,
    reason: str = "",
    ticket: str = "",
    confirm: str = "",
    signed: ChangeRequest | None = None,
) -> Action | ChangeRequest:
    """Request that a limit is deleted; `confirm` and `signed` as in `limits.set_limits`."""
    with audit.act("global_limit.delete", limit, by=by, reason=reason, ticket=ticket) as act:
        place = Target.whole(limit.environment)
        require(by, Verb.MANAGE, place)
        # Another act that was about to end, such as a change of it, has this lock.
        stored = limit_rows.lock(limit)
        if not stored.is_there:
            raise limits.gone(stored)
        requirements_for(place).require_reason_and_ticket("change of a limit", reason=reason, ticket=ticket)
        require_settled(stored)
        before = {name: getattr(stored, name) for name in ("concurrency_limit", *DEFAULTS)}
        found = [
            Loosening("limit.deleted", each.slug, f"concurrency limit {stored} deleted")
            for each in limits.environments_of(stored)
            if is_guarded(each)
        ]
        proposal = Proposal(str(stored.pk), f"concurrency limit {stored} in {stored.environment}", before, {})
        if waiting := pass_or_submit(found, act, proposal, confirm=confirm, signed=signed):
            return waiting
        act.before = before
        made = actions.create(
            Kind.LIMIT,
            stored,
            # Compared with what Prefect has then: a limit that someone has changed since is left alone.
            before=limits.columns({"is_there": True, **before}),
            wanted=limits.columns({"is_there": False}),
            by=by,
            by_name=by.name,
            reason=reason,
            ticket=ticket,
            change=signed,
        )
        loosening_gate.record_and_notify(found, act, signed)
        return made


def require_own_limits(environment: Environment) -> None:
    """Refuse an environment with a scope of its server: a limit holds back the runs of the whole server."""
    if environment.is_scoped:
        raise Refused(
            "limit.scoped",
            f"{environment} is a scope of its Prefect server, and a concurrency limit holds back the runs of all "
            "environments there. Create it in Prefect.",
        )


def require_name(name: str) -> None:
    tag = name.removeprefix("tag:").strip()
    if not 0 < len(name) <= LONGEST_NAME or not tag or set(BANNED) & set(name) or name.startswith(OF_DEPLOYMENT):
        raise Refused(
            "limit.name",
            f"Give the limit a name of 1 to {LONGEST_NAME} characters without {' '.join(BANNED)} that does not begin "
            f"with “{OF_DEPLOYMENT}”.",
            field="name",
        )


def require_valid(columns: Mapping[str, Any]) -> None:
    decay = columns["slot_decay_per_second"]
    others = {name: value for name, value in columns.items() if name != "slot_decay_per_second"}
    limits.require_valid(GlobalLimit(), {"concurrency_limit": None, **others})
    if isinstance(decay, bool) or not isinstance(decay, int | float) or not (math.isfinite(decay) and decay >= 0):
        raise Refused("limit.decay", "Slot decay is a number of slots a second, from 0.", field="slot_decay_per_second")


def require_settled(limit: GlobalLimit) -> None:
    if limits.actions_on(limit).filter(kind__in=LIMITS, state__in=OPEN).exists():
        raise limits.pending(limit)
