"""Context of the pages of agents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from portal.ui import tables
from portal.ui.audit_links import link_subjects
from portal.ui.rule_labels import Badge
from runs.actors import Actor
from runs.governance import agents, token_limits, tokens
from runs.models import Agent, AuditEntry

# Entries displayed; the audit trail has all.
MOST = 15


@dataclass(frozen=True, slots=True)
class Bar:
    """How much of a limit is used."""

    label: str
    used: int
    limit: int

    @property
    def is_full(self) -> bool:
        return self.used >= self.limit


def badge(agent: Any) -> Badge:
    """Return the state of an agent that was read by `agents.with_usage`."""
    if agent.is_stopped:
        return Badge("Stopped", "red")
    return Badge("Active", "green") if agent.owner.is_active else Badge("Owner disabled", "grey")


def stop_of_all(by: Actor) -> dict[str, Any]:
    """Return what every page of agents says about the stop of all."""
    return {"stop_of_all": agents.stop_of_all(), "may_stop_all": by.is_administrator}


def context(agent: Agent, by: Actor) -> dict[str, Any]:
    """Build the template context of an existing agent's page."""
    used = agents.usage(agent)
    rows = tokens.visible_to(by).filter(agent=agent)
    return {
        "badge": badge(agent),
        "bars": [
            Bar("Requests in 24 hours", used.in_day, agent.requests_per_day),
            Bar("Open runs", used.at_once, agent.requests_at_once),
        ],
        "tokens": tables.TokenTable(rows),
        "uses": agents.uses_of(agent),
        "calls": last_calls(agent),
        "may_create_token": agent.owner.is_active and by.is_same_person_as(agent.owner_id),
        "may_change": may_change(agent, by),
        "may_start": may_change(agent, by) and (by.is_administrator or not agent.stopped_by_administrator),
        "verbs": ", ".join(verb.label for verb in token_limits.AGENT_VERBS),
    }


def may_change(agent: Agent, by: Actor) -> bool:
    """Return whether the service would let the actor change and stop the agent."""
    return by.is_administrator or by.is_same_person_as(agent.owner_id)


def last_calls(agent: Agent) -> list[AuditEntry]:
    """Return the latest entries about what the agent did, which its owner answers for."""
    # With its owner, whose entries are indexed.
    keys = list(agent.tokens.values_list("key", flat=True))
    found = AuditEntry.objects.filter(actor_id=str(agent.owner_id), token_id__in=keys, actor_kind="agent")
    entries = list(found.order_by("-sequence")[:MOST])
    link_subjects(entries)
    return entries
