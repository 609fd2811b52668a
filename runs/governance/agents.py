"""Add and change AI agents, and what they are limited to: the only code that adds and changes `Agent` and `AgentUse`.

An agent is given nothing: it acts with the grants of its owner, within the scopes of its tokens, and its budget limits
that further. So nothing here loosens the rules of an environment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import (
    Aggregate,
    Case,
    Count,
    Exists,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.utils import timezone

from flows.db_text import sanitize
from runs import audit
from runs.actors import Actor
from runs.errors import Refused
from runs.governance.configuration import difference
from runs.governance.rule_changes import oversees
from runs.governance.service_accounts import is_service_account
from runs.governance.tokens import require_interactive
from runs.models import Action, Agent, AgentStop, AgentUse, ChangeRequest, RunRequest, RunSpec
from runs.models.chain import MOST_ATTEMPTS
from runs.models.request import State

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
MAX_PURPOSE_LENGTH = 500
MOST_PER_DAY, MOST_AT_ONCE = 1000, 50
# Over which requests are counted. Not a calendar day, at whose end twice as many would be possible.
DAY = timedelta(hours=24)
# Its run requests in these states are open: not started yet, or running.
OPEN = (State.HELD, State.APPROVED, State.LAUNCHING, State.LAUNCHED)
# Counts a call: one row for each agent and tool.
COUNT = """
    INSERT INTO runs_agentuse AS known (agent_id, tool, calls, refused, last_at)
    VALUES (%(agent)s, %(tool)s, 1, %(refused)s, %(now)s)
    ON CONFLICT (agent_id, tool) DO UPDATE SET
        calls = known.calls + 1, refused = known.refused + %(refused)s, last_at = %(now)s
"""


# How many runs a spec is for: one, but of a step of a chain that is a backfill one for each item.
RUNS = Case(
    When(change__kind=ChangeRequest.Kind.CHAIN, then=F("max_runs") / MOST_ATTEMPTS),
    default=Value(1),
    output_field=IntegerField(),
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What an agent has used of its budget: runs and cancellations of 24 hours; runs that are open or will come."""

    in_day: int
    at_once: int


# Add and change -------------------------------------------------------------------------------------------------------


def create(name: str, *, purpose: str, requests_per_day: int, requests_at_once: int, by: Actor) -> Agent:
    """Add an agent of the person who acts. Raises `Refused` with a code `agent.…` or `token.interactive`."""
    name = name.strip()
    with audit.act("agent.create", None, by=by, subject_kind="agent", subject_name=sanitize(name)[:60]) as act:
        require_interactive(by)
        if is_service_account(by.user) or not by.user.is_staff:
            raise Refused("agent.owner", f"{by.name} cannot own an agent: only people who can sign in can.")
        if not NAME.fullmatch(name) or Agent.objects.filter(name=name).exists():
            raise Refused(
                "agent.name",
                "Choose a name that no agent has: up to 60 lower-case letters, digits, dots, dashes and underscores.",
            )
        agent = Agent(name=name, owner=by.user)
        apply(agent, purpose, requests_per_day, requests_at_once)
        agent.save(force_insert=True)
        agent.refresh_from_db(fields=["created_at"])
        act.subject, act.after = agent, describe(agent)
    return agent


def change(agent: Agent, *, purpose: str, requests_per_day: int, requests_at_once: int, by: Actor) -> None:
    """Change the purpose and the budget: by its owner or an administrator."""
    with audit.act("agent.change", agent, by=by) as act:
        require_interactive(by)
        stored = locked(agent)
        require_own(stored, by)
        before = describe(stored)
        apply(stored, purpose, requests_per_day, requests_at_once)
        stored.save(update_fields=["purpose", "requests_per_day", "requests_at_once"])
        act.before, act.after = difference(before, describe(stored))


def apply(agent: Agent, purpose: str, requests_per_day: int, requests_at_once: int) -> None:
    """Set the columns that can be changed; raises `Refused`."""
    agent.purpose = sanitize(purpose.strip())[:MAX_PURPOSE_LENGTH]
    if not agent.purpose:
        raise Refused("agent.purpose_required", "Say what the agent is for.")
    if not 0 <= requests_per_day <= MOST_PER_DAY or not 0 <= requests_at_once <= MOST_AT_ONCE:
        raise Refused(
            "agent.budget", f"An agent has at most {MOST_PER_DAY} requests a day and {MOST_AT_ONCE} runs at once."
        )
    agent.requests_per_day, agent.requests_at_once = requests_per_day, requests_at_once


def require_own(agent: Agent, by: Actor) -> None:
    """Refuse everyone but the owner and administrators."""
    if not by.is_administrator and not by.is_same_person_as(agent.owner_id):
        raise Refused("agent.not_own", f"The agent {agent} belongs to someone else.")


def describe(agent: Agent) -> dict[str, Any]:
    return {
        "owner": agent.owner.get_username(),
        "purpose": agent.purpose,
        "requests_per_day": agent.requests_per_day,
        "requests_at_once": agent.requests_at_once,
    }


def locked(agent: Agent) -> Agent:
    """Return the agent as it is now, locked: its budget is counted, and it is stopped, one at a time."""
    # Without the key, which the rows that it asks for refer to: two of them would wait for each other.
    return Agent.objects.select_for_update(of=["self"], no_key=True).select_related("owner").get(pk=agent.pk)


# What limits it -------------------------------------------------------------------------------------------------------


def require_running(agent: Agent) -> None:
    """Refuse while the agent, or every agent, is stopped; reads both again."""
    everyone = stop_of_all()
    if everyone:
        raise Refused(
            "agent.stopped",
            f"All agents were stopped by {everyone.stopped_by_name} {moment(everyone.stopped_at)}: {everyone.why}",
        )
    now = Agent.objects.get(pk=agent.pk)
    if now.stopped_at:
        raise Refused(
            "agent.stopped",
            f"The agent {now} was stopped by {now.stopped_by_name} {moment(now.stopped_at)}: {now.stopped_why}",
        )


def require_within_budget(by: Actor, *, is_run: bool) -> None:
    """Refuse what goes beyond the budget of an agent, or comes after it was stopped; for everyone else do nothing.

    Called after what is asked for was inserted, in the same transaction: it is counted with it, under a lock, so that
    of two calls at once only one takes the last of the budget.
    """
    if by.agent is None:
        return
    agent = locked(by.agent)
    require_running(agent)
    used = usage(agent)
    if used.in_day > agent.requests_per_day:
        raise Refused(
            "agent.budget_day",
            f"The agent {agent} may ask for {agent.requests_per_day} runs and cancellations in 24 hours, and with this "
            f"it would be {used.in_day}. Request {used.in_day - agent.requests_per_day} fewer, or request it later.",
            limit=agent.requests_per_day,
            would_be=used.in_day,
        )
    if is_run and used.at_once > agent.requests_at_once:
        excess = used.at_once - agent.requests_at_once
        raise Refused(
            "agent.budget_at_once",
            f"The agent {agent} may have {agent.requests_at_once} open runs at a time, and with this it would have "
            f"{used.at_once}. Each item of a backfill and each step of a chain is one. Request {excess} fewer, or wait "
            "until so many have ended.",
            limit=agent.requests_at_once,
            would_be=used.at_once,
        )


def usage(agent: Agent) -> Usage:
    since = timezone.now() - DAY
    asked = asked_since(since).filter(change__agent=agent).aggregate(number=Sum("runs"))["number"] or 0
    cancelled = Action.objects.filter(agent=agent, requested_at__gte=since).count()
    open_runs = RunRequest.objects.filter(change__agent=agent, state__in=OPEN).count()
    coming = steps_to_come().filter(change__agent=agent).aggregate(number=Sum("to_come"))["number"] or 0
    return Usage(asked + cancelled, open_runs + coming)


def asked_since(since: datetime) -> QuerySet[Any]:
    """Return what agents asked for, each with its `runs`: whatever became of it since."""
    return RunSpec.objects.filter(change__agent__isnull=False, change__requested_at__gte=since).annotate(runs=RUNS)


def steps_to_come() -> QuerySet[Any]:
    """Return the steps of chains that can still start by themselves, each with the runs `to_come` of it."""
    of_chains = RunSpec.objects.filter(
        change__kind=ChangeRequest.Kind.CHAIN,
        change__state__in=(ChangeRequest.State.WAITING, ChangeRequest.State.APPROVED),
        change__agent__isnull=False,
    ).exclude(change__progress=ChangeRequest.Progress.STOPPED)
    first_attempts = RunRequest.objects.filter(Q(occurrence="1") | Q(occurrence__startswith="1-"), spec=OuterRef("pk"))
    started = first_attempts.order_by().values("spec").annotate(number=Count("pk")).values("number")
    return of_chains.annotate(to_come=RUNS - Coalesce(Subquery(started), 0))


def with_usage(rows: QuerySet[Agent]) -> QuerySet[Agent]:
    """Return the agents with `is_stopped`, and what `usage` adds up: `asked`, `cancelled`, `open_runs`, `to_come`."""
    since = timezone.now() - DAY
    cancelled = Action.objects.filter(requested_at__gte=since)
    open_runs = RunRequest.objects.filter(state__in=OPEN)
    # Name -> the rows, the agent that a row is of, and what is added up.
    counted: dict[str, tuple[QuerySet[Any], str, Aggregate]] = {
        "asked": (asked_since(since), "change__agent", Sum("runs")),
        "cancelled": (cancelled, "agent", Count("pk")),
        "open_runs": (open_runs, "change__agent", Count("pk")),
        "to_come": (steps_to_come(), "change__agent", Sum("to_come")),
    }
    numbers = {
        name: Subquery(found.filter(**{of: OuterRef("pk")}).order_by().values(of).annotate(n=total).values("n"))
        for name, (found, of, total) in counted.items()
    }
    is_stopped = Q(stopped_at__isnull=False) | Exists(AgentStop.objects.filter(lifted_at=None))
    return rows.annotate(is_stopped=is_stopped, **{name: Coalesce(number, 0) for name, number in numbers.items()})


def stop_of_all() -> AgentStop | None:
    """Return the stop of all agents that is in force, if there is one."""
    return AgentStop.objects.filter(lifted_at=None).first()


def moment(at: Any) -> str:
    return f"on {timezone.localtime(at):%-d %b %Y at %H:%M %Z}"


# What it did ----------------------------------------------------------------------------------------------------------


def count_call(agent: Agent, tool: str, *, is_refused: bool) -> None:
    """Count a call of a tool."""
    values: dict[str, Any] = {"agent": agent.pk, "tool": tool[:60], "refused": int(is_refused), "now": timezone.now()}
    with connection.cursor() as cursor:
        cursor.execute(COUNT, values)


def uses_of(agent: Agent) -> QuerySet[AgentUse]:
    return AgentUse.objects.filter(agent=agent).order_by("-last_at")


def visible_to(by: Actor) -> QuerySet[Agent]:
    """Return the agents that the actor sees: their own; administrators and readers of the audit trail see all."""
    rows = Agent.objects.select_related("owner")
    return rows if oversees(by) else rows.filter(owner=by.user)
