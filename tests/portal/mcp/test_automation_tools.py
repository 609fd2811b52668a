"""Tools by which agents read what runs by itself, and request runs of chains."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment, Environment
from runs import changes, levels
from runs.actors import Actor
from runs.automation import chain_pacing, chains
from runs.changes import agent_stop
from runs.governance import agents, grants
from runs.models import Chain, ChangeRequest, TokenScope
from runs.models.request import State
from tests.cast import by, person
from tests.failed_runs import a_failure
from tests.fakes.prefect import FakePrefect
from tests.made_chains import deploy, end, go_on, latest, make, step, where
from tests.made_rules import new_rule
from tests.made_schedules import let_schedule, schedule_of
from tests.portal.mcp_calls import actor, an_agent, call, done, refused_with
from tests.refusals import refused

pytestmark = pytest.mark.django_db
MONTH = {"inputs": {"month": "2026-10"}, "reason": "Month end"}
RUNS_ONE = ["see", "see logs", "trigger"]


@pytest.fixture
def chain(dev: Environment, fake: FakePrefect, deployment: Deployment, requester: User) -> Chain:
    deploy(dev, fake, "ingest", "train")
    constant = {"month": {"input": "month"}, "rows": {"value": 77}}
    return make(dev, requester, step("ingest"), step("train", "ingest", parameters=constant))


@pytest.fixture
def helper(chain: Chain, requester: User) -> Actor:
    return actor(an_agent(requester))


# Chains ---------------------------------------------------------------------------------------------------------------


def test_a_chain_is_read_without_values_and_run_as_one_request(
    helper: Actor, chain: Chain, fake: FakePrefect, requester: User
) -> None:
    (row,) = done(helper, "chains")["items"]
    assert (row["chain"], row["name"]["text"], row["steps"]) == (chain.pk, "Monthly close", 2)
    assert (row["owner"], row["valid_until"]) == ("requester", chain.valid_until.isoformat())
    read = done(helper, "chain", chain=chain.pk)
    assert read["steps"][1]["parameters"] == {"month": "input", "rows": "value"}
    assert "77" not in json.dumps(read["steps"])
    first, again = (
        done(helper, "request_chain", chain=chain.pk, key="0b8f9a52-6a63-4f2d-9d1c-0f2f6a3c7e11", **MONTH)
        for _ in range(2)
    )
    change = ChangeRequest.objects.get()
    assert first["request"] == again["request"] == change.pk
    assert (change.agent, change.on_behalf_of) == (helper.agent, requester)
    go_on()
    end(change, "ingest", "COMPLETED", fake)
    seen = done(helper, "chain_run", request=change.pk)
    assert [(each["step"], each["outcome"]) for each in seen["steps"]] == [
        ("ingest", "completed"),
        ("train", "running"),
    ]


def test_each_step_must_be_within_its_scope(chain: Chain, requester: User) -> None:
    one = actor(
        an_agent(requester, "one"), TokenScope(verbs=["see"]), TokenScope(verbs=["trigger"], full_name="ingest/daily")
    )
    assert refused_with(one, "request_chain", chain=chain.pk, **MONTH) == "access.scope"
    some = actor(an_agent(requester, "some"), TokenScope(verbs=RUNS_ONE, full_name="ingest/daily"))
    assert done(some, "chains")["items"] == []
    assert refused_with(some, "request_chain", chain=chain.pk, **MONTH) == "row.unknown"
    only = {"properties": {"month": {"const": "2026-11"}}}
    certain = actor(
        an_agent(requester, "certain"), TokenScope(verbs=["see"]), TokenScope(verbs=["trigger"], predicate=only)
    )
    assert refused_with(certain, "request_chain", chain=chain.pk, **MONTH) == "access.scope"
    assert not ChangeRequest.objects.exists()


def test_values_that_come_later_need_a_scope_without_a_condition(
    dev: Environment, chain: Chain, requester: User
) -> None:
    source = {"step": "ingest", "artifact": "plan", "pointer": "/rows"}
    later = make(
        dev,
        requester,
        step("ingest"),
        step("train", "ingest", parameters={"month": {"input": "month"}, "rows": source}),
        name="Later",
    )
    few = {"properties": {"rows": {"maximum": 500}}}
    certain = actor(
        an_agent(requester, "certain"), TokenScope(verbs=["see"]), TokenScope(verbs=["trigger"], predicate=few)
    )
    assert refused_with(certain, "request_chain", chain=later.pk, **MONTH) == "chain.agent_values"
    assert done(actor(an_agent(requester)), "request_chain", chain=later.pk, **MONTH)["state"] == "approved"


def test_each_step_counts_in_the_budget_until_the_chain_stops(chain: Chain, requester: User, fake: FakePrefect) -> None:
    narrow = actor(an_agent(requester, "narrow", at_once=1))
    assert refused_with(narrow, "request_chain", chain=chain.pk, **MONTH) == "agent.budget_at_once"
    helper = actor(an_agent(requester, at_once=2))
    done(helper, "request_chain", chain=chain.pk, **MONTH)
    assert helper.agent is not None
    assert agents.usage(helper.agent).at_once == 2
    go_on()
    assert agents.usage(helper.agent).at_once == 2
    listed = agents.with_usage(agents.visible_to(by(requester))).get(pk=helper.agent.pk)
    assert (listed.open_runs, listed.to_come) == (1, 1)  # type: ignore[attr-defined]  # annotated
    end(ChangeRequest.objects.get(), "ingest", "FAILED", fake)
    assert agents.usage(helper.agent).at_once == 0


def test_each_item_of_a_step_that_is_a_backfill_counts(dev: Environment, chain: Chain, requester: User) -> None:
    over = {"month": {"over": {"input": "month"}, "at_once": 2}, "rows": {"over": [5, 7]}}
    constant = {"month": {"value": "2026-10"}}
    train = step("train", "ingest", parameters=constant)
    steps = make(dev, requester, step("ingest", parameters=over), train, name="Over")
    two = {"inputs": {"month": "2026-10"}, "reason": "Month end"}
    four = {"inputs": {"month": "2026-09, 2026-10"}, "reason": "Month end"}
    few = actor(an_agent(requester, "few", at_once=2))
    outcome = call(few, "request_chain", chain=steps.pk, **two)
    assert outcome.content["code"] == "agent.budget_at_once"
    assert "3" in outcome.content["message"]
    assert refused_with(
        actor(an_agent(requester, "day", day=2, at_once=9)), "request_chain", chain=steps.pk, **two
    ) == ("agent.budget_day")
    blind = actor(an_agent(requester, "blind"), TokenScope(verbs=["see", "trigger"]))
    assert refused_with(blind, "request_chain", chain=steps.pk, **two) == "access.scope"
    only = {"properties": {"rows": {"const": 5}}}
    certain = actor(
        an_agent(requester, "certain"),
        TokenScope(verbs=["see"]),
        TokenScope(verbs=["trigger", "backfill"], predicate=only),
    )
    assert refused_with(certain, "request_chain", chain=steps.pk, **two) == "access.scope"
    helper = actor(an_agent(requester, at_once=3))
    plan = done(helper, "request_chain", chain=steps.pk, only_plan=True, **two)
    # Constants are values of parameters, which agents do not view.
    assert [each["values"] for each in plan["steps"][0]["items"]] == [{"month": "2026-10"}] * 2
    assert (plan["runs"], plan["refused"]) == (3, 0)
    assert not ChangeRequest.objects.exists()
    done(helper, "request_chain", chain=steps.pk, plan=plan["digest"], **two)
    go_on()
    assert helper.agent is not None
    assert agents.usage(helper.agent) == agents.Usage(in_day=3, at_once=3)
    listed = agents.with_usage(agents.visible_to(by(requester))).get(pk=helper.agent.pk)
    assert (listed.asked, listed.open_runs, listed.to_come) == (3, 2, 1)  # type: ignore[attr-defined]  # annotated
    assert refused_with(helper, "request_chain", chain=steps.pk, **four) == "agent.budget_at_once"


def test_in_a_protected_environment_another_person_approves_it_and_a_stop_withdraws_it(
    prod: Environment, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    deploy(prod, prod_fake, "ingest", "train")
    chain = make(prod, requester, step("ingest"), step("train", "ingest"))
    prod.needs_approval = False
    prod.save()
    agent = an_agent(requester)
    helper = actor(agent)
    assert done(helper, "request_chain", chain=chain.pk, **MONTH)["state"] == "waiting"
    change = ChangeRequest.objects.get()
    with refused("approval.own"):
        changes.approve(change, by=by(requester))
    changes.approve(change, by=by(approver))
    go_on()
    assert where(change)["ingest"] == "running"
    agent_stop.stop(agent, by=by(requester), why="loops")
    end(change, "ingest", "COMPLETED", prod_fake)
    change.refresh_from_db()
    assert change.state == ChangeRequest.State.WITHDRAWN
    assert change.run_requests.count() == 1


def test_an_agent_defines_nothing_and_decides_nothing(
    dev: Environment, chain: Chain, helper: Actor, requester: User, fake: FakePrefect
) -> None:
    steps = {"steps": [step("ingest", gate=True)]}
    with refused("chain.agent"):
        chains.save(dev, "x", steps, by=helper)
    with refused("chain.agent"):
        chains.set_enabled(chain, False, by=helper)
    chains.save(dev, chain.name, steps, by=by(requester), chain=chain)
    change = chains.request_run(chain, {"month": "2026-10"}, by=helper)
    go_on()
    with refused("gate.agent"):
        changes.let_go(latest(change, "ingest"), by=helper)
    changes.let_go(latest(change, "ingest"), by=by(requester))
    go_on()
    assert latest(change, "ingest").state == State.LAUNCHED
    end(change, "ingest", "FAILED", fake)
    with refused("chain.agent"):
        chain_pacing.resume(change, by=helper)


# The others -----------------------------------------------------------------------------------------------------------


def test_schedules_and_rules_are_read_without_values(helper: Actor, deployment: Deployment, requester: User) -> None:
    let_schedule(requester, deployment)
    schedule = schedule_of(deployment, requester)
    condition = {"pointer": "/run/parameters/region", "is": "eq", "value": "hush"}
    rule = new_rule(requester, deployment, conditions=[condition], mapping={"month": {"value": "2019-01"}})
    assert [each["schedule"] for each in done(helper, "schedules")["items"]] == [schedule.pk]
    (row,) = done(helper, "event_rules")["items"]
    assert (row["rule"], row["parameters"], row["conditions"][0]["is"]) == (rule.key, ["month"], "eq")
    assert not {"hush", "2019-01"} & {*json.dumps(row).replace('"', " ").split()}
    elsewhere = actor(an_agent(requester, "elsewhere"), TokenScope(verbs=["see"], full_name="ingest/daily"))
    for tool in ("schedules", "event_rules", "failures", "service_levels"):
        assert done(elsewhere, tool)["items"] == []


def test_failures_and_levels_are_read(helper: Actor, deployment: Deployment, requester: User) -> None:
    failure, manager = a_failure(deployment), person("manager")
    grants.grant(by=Actor.system(), person=manager, verbs=["see", "manage"], environment=deployment.environment)
    levels.create(deployment.environment, by=by(manager), kind="late", threshold=7)
    (row,) = done(helper, "failures")["items"]
    assert (row["failure"], row["reason"]["untrusted"]) == (failure.pk, True)
    assert done(helper, "failures", state=["resolved"])["items"] == []
    blind = actor(an_agent(requester, "blind"), TokenScope(verbs=["see"]))
    assert [each["reason"] for each in done(blind, "failures")["items"]] == [None]
    (level,) = done(helper, "service_levels")["items"]
    assert (level["kind"], level["open_breaches"]) == ("late", 0)
    assert refused_with(helper, "chain", chain=99999) == "row.unknown"
    assert refused_with(helper, "failures", state=["nonsense"]) == "agent.arguments"
