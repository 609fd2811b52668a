"""Hooks, event rules and chains have an end: policies limit it, their owner is notified of it, and can renew them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment
from runs.automation import chains, end_reminders, event_rules, hooks
from runs.models import Chain, EventRule, Hook, Policy
from tests.background import notices
from tests.cast import by
from tests.made_chains import new_chain
from tests.made_hooks import new_hook
from tests.made_rules import new_rule
from tests.refusals import refused
from tests.runs.conftest import Later

pytestmark = pytest.mark.django_db
Make = Callable[..., Hook | EventRule | Chain]
MAKERS: dict[str, Make] = {
    "hook": lambda owner, deployment, **options: new_hook(owner, deployment, **options).hook,
    "event_rule": new_rule,
    "chain": new_chain,
}


@pytest.fixture(params=MAKERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def renew(row: Hook | EventRule | Chain, **options: Any) -> None:
    """Save it as it is, by its owner."""
    if isinstance(row, Hook):
        columns = {name: getattr(row, name) for name in ("name", "mapping", "predicate", "max_bytes")}
        hooks.change(row, by=by(row.owner), **columns, **options)
    elif isinstance(row, Chain):
        definition = row.versions.get(number=row.number).definition
        chains.save(row.environment, row.name, definition, by=by(row.owner), chain=row, **options)
    else:
        columns = {name: getattr(row, name) for name in event_rules.DEFAULTS if name != "valid_until"}
        event_rules.change(row, by=by(row.owner), name=row.name, **columns, **options)
    row.refresh_from_db()


def days_left(row: Hook | EventRule | Chain) -> int:
    return round((row.valid_until - timezone.now()) / timedelta(days=1))


def test_one_ends_within_what_the_policies_allow(kind: str, requester: User, deployment: Deployment) -> None:
    row = MAKERS[kind](requester, deployment)
    assert days_left(row) == 366
    Policy.objects.create(name="short", environment=deployment.environment, schedule_days=30)
    with refused("automation.valid_until"):
        renew(row, valid_until=timezone.now() + timedelta(days=31))
    with refused("automation.valid_until"):
        renew(row, valid_until=timezone.now() - timedelta(minutes=1))
    renew(row)
    assert days_left(row) == 30


def test_its_owner_is_notified_once_a_week_before_and_again_after_it_was_renewed(
    kind: str, requester: User, deployment: Deployment, later: Later
) -> None:
    row = MAKERS[kind](requester, deployment, valid_until=timezone.now() + timedelta(days=8))
    end_reminders.remind()
    assert not notices().exists()
    later(timedelta(days=2))
    for _ in range(2):
        end_reminders.remind()
    assert [(each.person, each.topic, each.target_id) for each in notices()] == [(requester, "schedule", str(row.pk))]
    renew(row, valid_until=timezone.now() + timedelta(days=20))
    end_reminders.remind()
    assert notices().count() == 1
    later(timedelta(days=15))
    end_reminders.remind()
    assert sum(each.number for each in notices()) == 2


def test_after_its_end_a_hook_accepts_nothing_until_it_is_renewed(
    requester: User, deployment: Deployment, later: Later
) -> None:
    sender = new_hook(requester, deployment, valid_until=timezone.now() + timedelta(days=1))
    later(timedelta(days=2))
    answer = sender.send(at=timezone.now())
    assert (answer.status, answer.code) == (410, "hook.disabled")
    renew(sender.hook)
    assert sender.send(at=timezone.now(), name="msg_2").status == 202


def test_the_end_of_a_hook_is_covered_by_its_hash(requester: User, deployment: Deployment) -> None:
    sender = new_hook(requester, deployment, valid_until=timezone.now() + timedelta(days=1))
    Hook.objects.update(valid_until=timezone.now() + timedelta(days=900))
    assert sender.send().status == 401
