"""The tool by which agents plan and request backfills."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment
from runs import changes, tasks
from runs.actors import Actor
from runs.models import ChangeRequest, TokenScope
from runs.models.request import State
from tests.cast import by
from tests.portal.mcp_calls import actor, an_agent, done, refused_with
from tests.refusals import refused

pytestmark = pytest.mark.django_db

MONTHS = {"environment": "dev", "deployment": "monthly/monthly", "vary": {"month": "2026-01..2026-03"}}


@pytest.fixture
def helper(deployment: Deployment, prod_deployment: Deployment, requester: User) -> Actor:
    return actor(an_agent(requester))


def test_an_agent_plans_first_and_requests_what_it_saw(helper: Actor) -> None:
    plan = done(helper, "request_backfill", **MONTHS)
    assert plan["run"] == 3
    assert not ChangeRequest.objects.exists()
    row = done(helper, "request_backfill", **MONTHS, only_plan=False, plan=plan["digest"])
    assert len(row["runs"]) == 3
    change = ChangeRequest.objects.get()
    assert (change.kind, change.agent, change.pacing["on_failure"]) == ("backfill", helper.agent, "stop")


def test_each_run_counts_in_its_budget(helper: Actor) -> None:
    many = MONTHS | {"vary": {"month": "2026-01..2026-04"}}
    assert refused_with(helper, "request_backfill", **many, only_plan=False) == "agent.budget_at_once"


def test_it_needs_the_verb_in_its_scope(requester: User, deployment: Deployment) -> None:
    scope = TokenScope(verbs=["see", "trigger"], environment=deployment.environment)
    limited = actor(an_agent(requester, "limited"), scope)
    assert refused_with(limited, "request_backfill", **MONTHS) == "access.scope"


def test_in_a_protected_environment_another_person_must_approve_it(
    helper: Actor, requester: User, approver: User
) -> None:
    months = MONTHS | {"environment": "prod", "reason": "Month end"}
    row = done(helper, "request_backfill", **months, only_plan=False)
    assert row["state"] == "waiting"
    change = ChangeRequest.objects.get()
    with refused("approval.own"):
        changes.approve(change, by=by(requester))
    changes.approve(change, by=by(approver))
    tasks.advance_changes()
    assert set(change.run_requests.values_list("state", flat=True)) == {State.APPROVED}
