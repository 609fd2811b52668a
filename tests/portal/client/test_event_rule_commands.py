"""The commands of event rules, and the methods behind them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment, Health
from runs import tasks
from runs.actors import Actor
from runs.governance import grants
from runs.models import EventRule, Run, RunEvent
from tests.made_rules import new_rule, react
from tests.portal.client.in_process import Commands, Portals

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule(requester: User, deployment: Deployment) -> EventRule:
    Health.objects.update(runs_synced_at=timezone.now())
    tasks.deliver_events()
    return new_rule(requester, deployment)


def test_rules_are_listed_and_shown(command: Commands, requester: User, rule: EventRule) -> None:
    assert rule.key in command(requester, "rule", "list", "-e", "dev").out
    assert "no such event rules" in command(requester, "rule", "list", "-d", "other/other").out
    assert json.loads(command(requester, "rule", "show", rule.key, "--json").out)["name"] == "on failure"
    assert command(requester, "rule", "show", "nothing").code == 3


def test_its_log_and_its_dry_run(
    command: Commands, requester: User, rule: EventRule, a_run: Callable[..., Run]
) -> None:
    a_run("FAILED")
    react()
    assert "requested" in command(requester, "rule", "log", rule.key).out
    assert "No event came to it." in command(requester, "rule", "log", rule.key, "--outcome", "skipped").out
    ended = command(requester, "rule", "dry-run", rule.key)
    assert "1 would request a run, 0 would be skipped, 0 refused." in ended.out


def test_it_is_paused_and_resumed(command: Commands, requester: User, rule: EventRule) -> None:
    assert "is paused" in command(requester, "rule", "pause", rule.key, "--reason", "r").out
    assert not EventRule.objects.get().is_enabled
    assert "is enabled" in command(requester, "rule", "resume", rule.key).out


def test_it_is_saved_from_a_file_and_deleted(
    command: Commands, requester: User, deployment: Deployment, tmp_path: Path
) -> None:
    file = tmp_path / "rule.json"
    rule = {"name": "train", "environment": "dev", "deployment": deployment.full_name, "trigger": "run"}
    file.write_text(
        json.dumps({**rule, "states": ["FAILED"], "mapping": {"month": {"value": "2026-10"}}, "per_hour": 3})
    )
    assert "Saved train" in command(requester, "rule", "save", str(file)).out
    file.write_text(json.dumps({**rule, "states": ["CRASHED"], "mapping": {"month": {"value": "2026-10"}}}))
    assert command(requester, "rule", "save", str(file)).code == 0
    stored = EventRule.objects.get()
    assert (stored.states, stored.per_hour) == (["CRASHED"], 10)
    file.write_text(json.dumps({**rule, "deployment": "other/other"}))
    assert command(requester, "rule", "save", str(file)).code == 1
    file.write_text("[]")
    assert command(requester, "rule", "save", str(file)).code == 1
    assert "was deleted" in command(requester, "rule", "delete", stored.key).out
    assert command(requester, "rule", "show", stored.key).code == 3


def test_an_event_is_posted(command: Commands, requester: User, portal: Portals, dev: Environment) -> None:
    assert command(requester, "post-event", "month.closed", "-e", "dev").code == 2
    grants.grant(by=Actor.system(), person=requester, verbs=["post event"], environment=dev)
    ended = command(requester, "post-event", "month.closed", "-e", "dev", "-p", "month=2026-08")
    assert (ended.code, ended.out.strip()) == (0, "Posted month.closed in dev.")
    assert portal(requester).post_event("dev", "month.closed", {"n": 1}).name == "month.closed"
    assert [each.data["body"] for each in RunEvent.objects.filter(kind="event posted").order_by("pk")] == [
        {"month": "2026-08"},
        {"n": 1},
    ]
