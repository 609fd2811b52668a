"""Agents in tests, and calls of their tools without the way there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Environment
from portal.mcp import calls
from runs.actors import Actor
from runs.governance import agents, token_limits, tokens
from runs.models import Agent, TokenScope
from tests.cast import by

PLACE = "192.0.2.7"


def an_agent(owner: User, name: str = "helper", *, day: int = 20, at_once: int = 3) -> Agent:
    return agents.create(
        name, purpose="looks after month end", requests_per_day=day, requests_at_once=at_once, by=by(owner)
    )


def token_of(agent: Agent, *scopes: TokenScope, **options: Any) -> str:
    """The text of a token of an agent, with all verbs of agents everywhere or with these scopes."""
    rows = list(scopes) or [
        TokenScope(verbs=list(token_limits.AGENT_VERBS), environment=each)
        for each in (None, *Environment.objects.all())
    ]
    settings: dict[str, Any] = {"name": "test", "expires_at": timezone.now() + timedelta(days=1)} | options
    return tokens.issue(agent.owner, by=by(agent.owner), scopes=rows, agent=agent, **settings).text


def actor(agent: Agent, *scopes: TokenScope) -> Actor:
    return tokens.authenticate(token_of(agent, *scopes), address=PLACE, user_agent="sdk", for_agents=True)


def call(by: Actor, name: str, **arguments: Any) -> calls.Outcome:
    return calls.call(by, name, arguments, "test-client 1")


def done(by: Actor, name: str, **arguments: Any) -> dict[str, Any]:
    outcome = call(by, name, **arguments)
    assert not outcome.is_error, outcome.content
    return outcome.content


def refused_with(by: Actor, name: str, **arguments: Any) -> str:
    outcome = call(by, name, **arguments)
    assert outcome.is_error, outcome.content
    return str(outcome.content["code"])
