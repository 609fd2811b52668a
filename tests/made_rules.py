"""Event rules for tests, and the background tasks that make them react."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment
from runs import tasks
from runs.actors import Actor
from runs.automation import event_rules
from runs.governance import tokens
from runs.models import EventRule, RuleFiring, TokenScope
from tests.cast import by

MAPPING: dict[str, Any] = {"month": {"value": "2026-10"}}


def new_rule(owner: User, deployment: Deployment, **columns: Any) -> EventRule:
    """A rule that runs the deployment when any run of dev failed."""
    settings: dict[str, Any] = {"name": "on failure", "trigger": "run", "mapping": MAPPING, **columns}
    if settings["trigger"] == "run":
        settings.setdefault("states", ["FAILED"])
    made = event_rules.create(settings.pop("name"), by=by(owner), deployment=deployment, **settings)
    return event_rules.rows().get(pk=made.pk)


def program_of(owner: User, *scopes: TokenScope) -> Actor:
    """The actor of a token of a person, with these scopes."""
    made = tokens.issue(
        owner, by=by(owner), name="ci", scopes=list(scopes), expires_at=timezone.now() + timedelta(days=2)
    )
    return tokens.actor_of(tokens.find(made.text) or made.token, address="127.0.0.1")


def react() -> list[tuple[str, str]]:
    """Deliver the events and do what rules want; return outcome and code of all firings, in order."""
    tasks.deliver_events()
    tasks.fire_rules()
    return outcomes()


def outcomes() -> list[tuple[str, str]]:
    return list(RuleFiring.objects.order_by("pk").values_list("outcome", "code"))
