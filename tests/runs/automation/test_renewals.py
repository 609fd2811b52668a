"""Which schedules, hooks, event rules and chains need attention: the conditions of lists and of the overview."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.models import Deployment
from runs.actors import Actor
from runs.automation import event_rules, owner_checks, schedule_clock, schedules
from runs.automation.renewals import CONDITIONS, Need
from runs.governance import grants, tokens
from runs.models import Chain, EventRule, Grant, Hook, Schedule, Token, TokenScope
from tests.background import notices
from tests.cast import by
from tests.made_chains import new_chain
from tests.made_hooks import new_hook
from tests.made_rules import MAPPING, new_rule, program_of
from tests.made_schedules import let_schedule, schedule_of
from tests.runs.conftest import Later

pytestmark = pytest.mark.django_db
Row = Hook | EventRule | Chain
MAKERS: dict[str, Callable[[User, Deployment], Row]] = {
    "hook": lambda owner, deployment: new_hook(owner, deployment).hook,
    "event_rule": new_rule,
    "chain": new_chain,
}


@pytest.fixture(params=MAKERS)
def row(request: pytest.FixtureRequest, requester: User, deployment: Deployment) -> Row:
    return MAKERS[str(request.param)](requester, deployment)


def needs(row: Row | Schedule) -> list[Need]:
    rows = type(row)._default_manager
    return [need for need in Need if rows.filter(CONDITIONS[type(row)](need), pk=row.pk).exists()]


def set_end(row: Row | Schedule, **ahead: int) -> None:
    type(row)._default_manager.filter(pk=row.pk).update(valid_until=timezone.now() + timedelta(**ahead))


def account_of(row: Row) -> User:
    return row.account.user if isinstance(row, Hook) else row.owner


def disable(row: Row) -> None:
    type(row)._default_manager.filter(pk=row.pk).update(is_enabled=False)


def test_one_needs_attention_before_and_after_its_end_unless_it_is_disabled(row: Row) -> None:
    assert needs(row) == []
    set_end(row, days=8)
    assert needs(row) == []
    set_end(row, days=6)
    assert needs(row) == [Need.ENDING]
    set_end(row, days=-400)
    assert needs(row) == [Need.ENDED]
    disable(row)
    assert needs(row) == []


def test_one_whose_account_may_not_run_the_deployment_is_named_until_it_may(row: Row, deployment: Deployment) -> None:
    owner_checks.check()
    assert needs(row) == []
    denial = grants.grant(
        by=Actor.system(),
        person=account_of(row),
        verbs=["trigger"],
        environment=deployment.environment,
        effect=Grant.Effect.DENY,
        reason="under review by HR",
    )
    for _ in range(2):
        owner_checks.check()
        assert needs(row) == [Need.UNABLE]
    row.refresh_from_db()
    # The reason is for those who see grants.
    assert row.obstacle == f"{account_of(row)} is denied “run” on {deployment} in {deployment.environment}."
    assert [(each.person, each.topic, each.number) for each in notices()] == [(row.owner, "schedule", 1)]
    grants.revoke(denial, by=Actor.system())
    owner_checks.check()
    assert needs(row) == []


def test_one_whose_owner_is_disabled_is_named_at_once(row: Row) -> None:
    User.objects.filter(pk=row.owner_id).update(is_active=False)
    assert needs(row) == [Need.UNABLE]
    disable(row)
    assert needs(row) == []


def test_one_whose_deployment_was_deleted_is_named_until_it_is_deployed_again(row: Row, deployment: Deployment) -> None:
    Deployment.objects.filter(pk=deployment.pk).update(deleted_upstream_at=timezone.now())
    for _ in range(2):
        owner_checks.check()
        assert needs(row) == [Need.UNABLE]
    row.refresh_from_db()
    assert "no longer deployed" in row.obstacle
    assert [(each.person, each.number) for each in notices()] == [(row.owner, 1)]
    deployed_again = Deployment.objects.get(pk=deployment.pk)
    deployed_again.pk, deployed_again.prefect_id, deployed_again.deleted_upstream_at = None, uuid.uuid4(), None
    deployed_again.save()
    owner_checks.check()
    assert needs(row) == []


def test_a_deleted_deployment_is_looked_up_once_for_all(requester: User, deployment: Deployment) -> None:
    Deployment.objects.filter(pk=deployment.pk).update(deleted_upstream_at=timezone.now())

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            owner_checks.check()
        return len(captured)

    new_rule(requester, deployment)
    owner_checks.check()
    few = queries()
    for number in range(3):
        new_rule(requester, deployment, name=f"rule {number}")
    EventRule.objects.update(obstacle=EventRule.objects.exclude(obstacle="").values("obstacle")[:1])
    assert queries() == few


def test_administrators_and_auditors_are_notified_of_what_has_a_disabled_owner(
    requester: User, deployment: Deployment, auditor: User, admin_user: User
) -> None:
    new_chain(requester, deployment)
    User.objects.filter(pk=requester.pk).update(is_active=False)
    owner_checks.check()
    assert {each.person for each in notices()} == {auditor, admin_user}


def test_a_rule_needs_its_token_and_what_that_allows(requester: User, deployment: Deployment) -> None:
    program = program_of(requester, TokenScope(verbs=["see", "trigger"], environment=deployment.environment))
    made = event_rules.create(
        "load", by=program, trigger="run", deployment=deployment, states=["FAILED"], mapping=MAPPING
    )
    owner_checks.check()
    assert needs(made) == []
    TokenScope.objects.update(verbs=["see"])
    owner_checks.check()
    assert needs(made) == [Need.UNABLE]
    TokenScope.objects.update(verbs=["see", "trigger"])
    owner_checks.check()
    assert needs(made) == []
    tokens.revoke(Token.objects.get(), by=by(requester))
    assert needs(made) == [Need.UNABLE]


def test_a_schedule_is_named_before_its_end_and_for_a_week_after_it(
    requester: User, deployment: Deployment, later: Later
) -> None:
    let_schedule(requester, deployment)
    schedule = schedule_of(deployment, requester, valid_until=timezone.now() + timedelta(days=10))
    assert needs(schedule) == []
    later(timedelta(days=4))
    assert needs(schedule) == [Need.ENDING]
    later(timedelta(days=7))
    schedule_clock.inspect()
    assert needs(schedule) == [Need.ENDED]
    later(timedelta(days=7))
    assert needs(schedule) == []


def test_a_schedule_that_was_ended_or_paused_by_a_person_needs_nobody(requester: User, deployment: Deployment) -> None:
    let_schedule(requester, deployment)
    paused, ended = schedule_of(deployment, requester), schedule_of(deployment, requester)
    schedules.pause(paused, by=by(requester))
    schedules.end(ended, by=by(requester))
    assert (needs(paused), needs(ended)) == ([], [])
