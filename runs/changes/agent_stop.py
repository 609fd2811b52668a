"""Stop and start AI agents, one or all: the only code that writes `AgentStop`, and the stop of an `Agent`.

A stop takes effect with the next call. What the agent asked for and was not sent to Prefect is withdrawn; what
runs goes on, and can be cancelled by people.
"""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils import timezone

from flows.db_text import sanitize
from runs import audit, events
from runs.actors import Actor
from runs.changes.approvals import lock, require_unsent
from runs.changes.states import ChangeState, move_change
from runs.errors import Refused
from runs.governance import agents
from runs.governance.configuration import require_administrator
from runs.governance.tokens import require_interactive
from runs.models import Agent, AgentStop, ChangeRequest, RunEvent

MAX_WHY_LENGTH = 500


def stop(agent: Agent, *, by: Actor, why: str) -> int:
    """Stop an agent: by its owner or an administrator; return how many of its requests were withdrawn."""
    with audit.act("agent.stop", agent, by=by, reason=why) as act:
        require_interactive(by)
        stored = agents.locked(agent)
        agents.require_own(stored, by)
        why = required(why)
        # An administrator's stop replaces the owner's, who could lift it; the owner's never replaces any.
        if stored.stopped_at and (stored.stopped_by_administrator or not by.is_administrator):
            raise Refused("agent.stopped", f"The agent {stored} was already stopped by {stored.stopped_by_name}.")
        stored.stopped_at, stored.stopped_by_name, stored.stopped_why = timezone.now(), by.name, why
        stored.stopped_by_administrator = by.is_administrator
        stored.save(update_fields=["stopped_at", "stopped_by_name", "stopped_why", "stopped_by_administrator"])
        withdrawn = withdraw_all([stored], f"The agent {stored} was stopped by {by.name}: {why}")
        act.after = {"withdrawn": withdrawn}
    return len(withdrawn)


def start(agent: Agent, *, by: Actor, why: str) -> None:
    """Let a stopped agent go on: by an administrator, or by its owner if no administrator stopped it."""
    with audit.act("agent.start", agent, by=by, reason=why) as act:
        require_interactive(by)
        stored = agents.locked(agent)
        agents.require_own(stored, by)
        required(why)
        if not stored.stopped_at:
            raise Refused("agent.not_stopped", f"The agent {stored} is not stopped.")
        if stored.stopped_by_administrator and not by.is_administrator:
            raise Refused(
                "agent.stop_held",
                f"The agent {stored} was stopped by the administrator {stored.stopped_by_name}. Only an administrator "
                "can start it.",
            )
        act.before = {"stopped_by": stored.stopped_by_name, "why": stored.stopped_why}
        stored.stopped_at, stored.stopped_by_name, stored.stopped_why = None, "", ""
        stored.stopped_by_administrator = False
        stored.save(update_fields=["stopped_at", "stopped_by_name", "stopped_why", "stopped_by_administrator"])


def stop_all(*, by: Actor, why: str) -> int:
    """Stop every agent, also those that are added later: by an administrator. Return how many requests it withdrew."""
    with audit.act("agent.stop_all", None, by=by, reason=why, subject_kind="agents", subject_name="all agents") as act:
        require_interactive(by)
        require_administrator(by)
        why = required(why)
        # 1. The stop; a constraint decides which of two at once is stored.
        try:
            with transaction.atomic():
                AgentStop.objects.create(why=why, stopped_by_name=by.name)
        except IntegrityError as error:
            raise Refused("agents.stopped_already", "All agents are stopped already.") from error
        # 2. Locked one after the other: what an agent asks for at this moment is stored before, or refused after.
        rows = list(Agent.objects.select_for_update(no_key=True).order_by("pk"))
        withdrawn = withdraw_all(rows, f"All agents were stopped by {by.name}: {why}")
        act.after = {"withdrawn": withdrawn}
    return len(withdrawn)


def start_all(*, by: Actor, why: str) -> None:
    """Lift the stop of all agents: by an administrator. Those that were stopped by themselves stay so."""
    with audit.act("agent.start_all", None, by=by, reason=why, subject_kind="agents", subject_name="all agents") as act:
        require_interactive(by)
        require_administrator(by)
        required(why)
        found = AgentStop.objects.select_for_update().filter(lifted_at=None).first()
        if found is None:
            raise Refused("agent.not_stopped", "There is no stop of all agents.")
        act.before = {"stopped_by": found.stopped_by_name, "why": found.why}
        found.lifted_at, found.lifted_by_name = timezone.now(), by.name
        found.save(update_fields=["lifted_at", "lifted_by_name"])


def required(why: str) -> str:
    why = sanitize(why.strip())[:MAX_WHY_LENGTH]
    if not why:
        raise Refused("agent.why_required", "Give a reason. The agent is told it, and its page displays it.")
    return why


def withdraw_all(rows: list[Agent], message: str) -> list[int]:
    """Withdraw what these agents asked for and was not sent yet; return the numbers."""
    found = ChangeRequest.objects.filter(agent__in=rows, state__in=[ChangeState.WAITING, ChangeState.APPROVED])
    withdrawn = []
    for change in found.order_by("pk"):
        lock(change)
        if change.state in ChangeRequest.OVER:
            continue
        try:
            require_unsent(change)
        except Refused:
            # It was sent at this moment, and runs.
            continue
        with audit.act("request.withdraw", change.subject, by=Actor.system(), reason=message) as act:
            act.before = {"state": change.state}
            move_change(change, to=ChangeState.WITHDRAWN, message=message)
            events.record(RunEvent.Kind.REQUEST_WITHDRAWN, change=change)
            act.after = {"state": ChangeState.WITHDRAWN}
        withdrawn.append(change.pk)
    return withdrawn
