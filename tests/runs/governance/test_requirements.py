"""What a run requires: all policies that apply, and the strictest of each."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from flows.models import Deployment, Environment
from runs import changes, dispatch, requests, tasks
from runs.access.decisions import Forbidden, Permissions, Target
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import freezes, grants, pausing
from runs.governance.requirements import requirements_for, visible
from runs.models import Policy, QueuedTask, Run, RunRequest, Window
from runs.models.request import State
from tests.background import queued_tasks
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db

NEVER = {"cron": "0 0 1 1 *", "minutes": 1}


def policy(name: str = "rule", **columns: Any) -> Policy:
    return Policy.objects.create(name=name, **columns)


def ask(deployment: Deployment, user: User, **values: Any) -> RunRequest:
    return requests.submit(deployment, {"month": "2026-10"}, by=by(user), **values)


def test_without_a_policy_the_environment_alone_counts(deployment: Deployment, prod_deployment: Deployment) -> None:
    free, strict = requirements_for(Target.of(deployment)), requirements_for(Target.of(prod_deployment))
    assert (free.stages, free.needs_reason, free.risk) == ((), False, "low")
    assert strict.stages == ({"needed": 1, "group": ""},)
    assert strict.needs_reason
    assert strict.needs_confirmation


def test_the_strictest_of_every_policy_counts(deployment: Deployment) -> None:
    one, two = {"needed": 1, "group": "Approver"}, {"needed": 2, "group": "Approver"}
    policy("environment", environment=deployment.environment, stages=[one], approval_minutes=60, needs_ticket=True)
    policy("tag", tag="crm", stages=[two, {"needed": 1, "group": "Release manager"}], approval_minutes=30, risk="high")
    policy("deployment", full_name="monthly/monthly", needs_reason=True, outside_window="refuse", risk="medium")
    policy("another", tag="other", stages=[{"needed": 9, "group": ""}], approval_minutes=1)
    rules = requirements_for(Target.of(deployment))
    assert rules.stages == (two, {"needed": 1, "group": "Release manager"})
    assert rules.approvals_needed == 3
    assert (rules.minutes, rules.risk) == (30, "high")
    assert rules.needs_reason
    assert rules.needs_ticket
    assert rules.refuse_outside_window
    assert rules.names == ("deployment", "environment", "tag")


def test_a_policy_cannot_make_an_environment_laxer(prod_deployment: Deployment) -> None:
    policy(environment=prod_deployment.environment, stages=[], approval_minutes=10_000)
    rules = requirements_for(Target.of(prod_deployment))
    assert rules.approvals_needed == 1
    assert rules.needs_reason


@pytest.mark.parametrize(
    ("reason", "ticket", "code"),
    [
        ("", "OPS-1", "reason.required"),
        ("Month end", "", "ticket.required"),
        ("Month end", "whatever", "ticket.pattern"),
        ("Month end", "OPS-1 and more", "ticket.pattern"),
        ("Month end", " OPS-1 ", ""),
    ],
)
def test_reason_and_ticket_are_wanted_with_every_act(
    deployment: Deployment,
    a_run: Any,
    admin_user: User,
    requester: User,
    stranger: User,
    reason: str,
    ticket: str,
    code: str,
) -> None:
    policy(environment=deployment.environment, needs_reason=True, needs_ticket=True, ticket_pattern="^OPS-[0-9]+$")
    run: Run = a_run()
    given = {"reason": reason, "ticket": ticket}
    acts = [
        lambda: ask(deployment, requester, **given),
        lambda: requests.cancel(run, by=by(requester), **given),
        lambda: pausing.pause(deployment, by=by(admin_user), **given),
        lambda: grants.grant(
            by=by(admin_user), person=stranger, verbs=["see"], environment=deployment.environment, **given
        ),
        lambda: freezes.freeze(deployment.environment, by=by(admin_user), **given),
    ]
    for act in acts:
        if code:
            with pytest.raises(Refused) as caught:
                act()
            assert caught.value.code in (code, "freeze.reason_required")
        else:
            act()


def test_a_ticket_leads_to_where_it_is_read(deployment: Deployment) -> None:
    policy(ticket_link="https://tickets.example/{ticket}")
    rules = requirements_for(Target.of(deployment))
    assert rules.link("OPS-1") == "https://tickets.example/OPS-1"
    assert rules.link("") == ""
    assert rules.link("a/../b?c=d") == "https://tickets.example/a%2F..%2Fb%3Fc%3Dd"


# Windows apply to every channel


def test_outside_a_window_a_request_waits_and_says_until_when(deployment: Deployment, requester: User) -> None:
    Window.objects.create(name="new year", environment=deployment.environment, **NEVER)
    run_request = ask(deployment, requester)
    assert "“new year”" in run_request.message
    assert " 1 Jan " in run_request.message
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.state == State.APPROVED
    assert "“new year”" in run_request.message
    assert " 1 Jan " in run_request.message
    assert run_request.next_attempt_at is not None
    assert run_request.flow_run_id is None


@pytest.mark.parametrize("kind", ["person", "token", "schedule", "chain", "webhook"])
def test_outside_a_window_every_channel_is_refused_where_the_policy_says_so(
    deployment: Deployment, requester: User, kind: str
) -> None:
    Window.objects.create(name="new year", environment=deployment.environment, **NEVER)
    policy(tag="crm", outside_window="refuse")
    actor = Actor(kind=kind, id="1", name="x", channel="api", holder=requester)  # type: ignore[arg-type]  # by their names
    with refused("window.closed"):
        requests.submit(deployment, {"month": "2026-10"}, by=actor)


def test_what_was_asked_for_before_a_freeze_waits_until_it_is_lifted(
    deployment: Deployment, requester: User, admin_user: User
) -> None:
    run_request = ask(deployment, requester)
    freezes.freeze(deployment.environment, by=by(admin_user), reason="Audit")
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.state == State.APPROVED
    for part in ("dev", "administrator", "Audit"):
        assert part in run_request.message
    QueuedTask.objects.all().delete()
    freezes.unfreeze(deployment.environment, by=by(admin_user))
    assert queued_tasks() == ["runs.tasks.recheck"]
    tasks.recheck(deployment.environment.pk)
    run_request.refresh_from_db()
    assert run_request.next_attempt_at is None
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.state == State.LAUNCHED
    assert run_request.flow_run_id


def test_to_go_in_spite_of_it_takes_the_verb_and_a_reason(
    deployment: Deployment, requester: User, admin_user: User, fake: FakePrefect
) -> None:
    freezes.freeze(deployment.environment, by=by(admin_user), reason="Audit")
    run_request = ask(deployment, requester)
    with pytest.raises(Forbidden):
        changes.override(run_request, by=by(requester), reason="Cannot wait")
    grants.grant(by=Actor.system(), person=requester, verbs=["override freeze"])
    with refused("window.reason_required"):
        changes.override(run_request, by=by(requester), reason=" ")
    changes.override(run_request, by=by(requester), reason="Cannot wait")
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.state == State.LAUNCHED
    assert run_request.flow_run_id
    assert "window-override" in fake.flow_runs([run_request.flow_run_id])[0].tags


# Who can see a rule


def test_a_rule_is_known_to_whoever_sees_something_it_is_about(
    deployment: Deployment, prod: Environment, viewer: User, stranger: User, admin_user: User
) -> None:
    policy("everywhere")
    policy("dev", environment=deployment.environment)
    policy("crm", tag="crm")
    policy("secret", full_name="secret/secret")
    policy("prod", environment=prod)
    names = {
        user: [rule.name for rule in visible(Policy.objects.all(), Permissions.of_person(user))]
        for user in (viewer, stranger, admin_user)
    }
    assert names == {
        viewer: ["crm", "dev", "everywhere"],
        stranger: [],
        admin_user: ["crm", "dev", "everywhere", "prod", "secret"],
    }


def test_a_stage_of_a_group_waits_for_that_group(
    deployment: Deployment, requester: User, approver: User, admin_user: User
) -> None:
    policy(tag="crm", stages=[{"needed": 1, "group": "Release manager"}])
    run_request = ask(deployment, requester)
    with refused("approval.group"):
        changes.approve(run_request.change, by=by(approver))
    approver.groups.add(Group.objects.get(name="Release manager"))
    changes.approve(run_request.change, by=by(approver))
    run_request.refresh_from_db()
    assert run_request.state == State.APPROVED
