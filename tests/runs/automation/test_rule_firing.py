"""What events do with rules: once, in the name of their owners, within their limits, and never in a loop."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment, Health
from runs import dispatch, events, mirror, tasks
from runs.actors import Actor
from runs.automation import event_rules, firing_retention, posted_events, rule_firing
from runs.automation.rule_judgement import MOST_DEPTH
from runs.governance import grants, tokens
from runs.models import (
    AuditEntry,
    ChangeRequest,
    EventCursor,
    EventRule,
    Grant,
    RuleFiring,
    Run,
    RunEvent,
    RunRequest,
    Token,
    TokenScope,
)
from tests.cast import SCHEMA, by, person
from tests.fakes.prefect import FakePrefect
from tests.made_hooks import new_hook
from tests.made_rules import new_rule, outcomes, program_of, react
from tests.runs.conftest import Later

pytestmark = pytest.mark.django_db
MakeRun = Callable[..., Run]


@pytest.fixture(autouse=True)
def begun(deployment: Deployment) -> None:
    """The consumers have begun, and what a reading finds is no history any more."""
    Health.objects.update(runs_synced_at=timezone.now())
    tasks.deliver_events()


def posting(owner: User, environment: Environment) -> None:
    grants.grant(by=Actor.system(), person=owner, verbs=["post event"], environment=environment)


# What fires -----------------------------------------------------------------------------------------------------------


def test_a_failed_run_requests_another_in_the_name_of_the_owner(
    requester: User, deployment: Deployment, a_run: MakeRun
) -> None:
    mapping = {"month": {"value": "2026-10"}, "rows": {"pointer": "/run/parameters/rows", "default": 7}}
    rule = new_rule(requester, deployment, mapping=mapping)
    run = a_run("FAILED", parameters={"month": "2026-09", "rows": 12, "token": "hunter22"})
    assert react() == [("requested", "")]
    change, firing = ChangeRequest.objects.get(), RuleFiring.objects.get()
    assert (change.requested_by, change.requested_by_name, change.channel) == (requester, "rule on failure", "rule")
    assert change.on_behalf_of_name == "requester"
    assert RunRequest.objects.get().spec.parameters == {"month": "2026-10", "rows": 12}
    assert firing.run_request == RunRequest.objects.get()
    assert (firing.run_id, firing.depth) == (run.pk, 1)
    entry = AuditEntry.objects.get(verb="request.submit")
    assert (entry.actor_kind, entry.token_id, entry.on_behalf_of) == ("rule", rule.key, "requester")
    # Once: what was delivered is not delivered again.
    assert react() == [("requested", "")]


@pytest.mark.parametrize("state", ["COMPLETED", "CRASHED", "CANCELLED", "RUNNING"])
def test_other_states_do_not(state: str, requester: User, deployment: Deployment, a_run: MakeRun) -> None:
    new_rule(requester, deployment)
    a_run(state)
    assert react() == []


@pytest.mark.parametrize(
    ("selector", "fires"),
    [
        ({}, True),
        ({"full_name": "monthly/monthly"}, True),
        ({"full_name": "monthly/other"}, False),
        ({"flow_name": "monthly"}, True),
        ({"flow_name": "other"}, False),
        ({"tag": "crm"}, True),
        ({"tag": "other"}, False),
        ({"tag": "crm", "flow_name": "other"}, False),
    ],
)
def test_the_selector_says_which_runs(
    selector: dict[str, str], fires: bool, requester: User, deployment: Deployment, a_run: MakeRun
) -> None:
    new_rule(requester, deployment, **selector, environment=deployment.environment)
    a_run("FAILED", tags=("crm",))
    assert bool(react()) is fires


def test_an_artifact_over_a_threshold(
    requester: User, deployment: Deployment, a_run: MakeRun, fake: FakePrefect
) -> None:
    over = {"pointer": "/artifact/fields/share", "is": "gt", "value": 0.3}
    new_rule(requester, deployment, trigger="artifact", artifact_key="drift", conditions=[over])
    run = a_run("RUNNING")
    for share in (0.4, 0.2):
        fake.add_artifact(run.prefect_id, key="drift", type="table", data=[{"field": "share", "value": share}])
    fake.add_artifact(run.prefect_id, key="other", type="table", data=[{"field": "share", "value": 0.4}])
    mirror.fetch_details(deployment.environment, [run.prefect_id])
    assert sorted(react()) == [("requested", ""), ("skipped", "event_rule.unmet")]
    # Read again, it is no other artifact.
    mirror.fetch_details(deployment.environment, [run.prefect_id])
    assert len(react()) == 2


def test_a_message_to_a_hook_with_its_body(requester: User, deployment: Deployment) -> None:
    sender = new_hook(requester, deployment)
    mapping = {"month": {"pointer": "/body/data/month"}}
    rule = new_rule(requester, deployment, trigger="delivery", hook=sender.hook, mapping=mapping)
    sender.send({"data": {"month": "2026-08"}})
    assert react() == [("requested", "")]
    assert RunRequest.objects.filter(rule_firings__rule=rule).get().spec.parameters["month"] == "2026-08"
    # Without a rule that waits for it the body is not stored.
    event_rules.pause(rule, by=by(requester))
    sender.send({"data": {"month": "2026-08"}}, "msg_2")
    bodies = ["body" in each.data for each in RunEvent.objects.filter(kind="hook delivered").order_by("pk")]
    assert bodies == [True, False]


def test_a_posted_event(requester: User, deployment: Deployment, dev: Environment) -> None:
    mapping = {"month": {"pointer": "/body/month"}}
    columns = {"trigger": "event", "event_name": "month.closed", "environment": dev, "mapping": mapping}
    new_rule(requester, deployment, **columns)
    posting(requester, dev)
    posted_events.post(dev, "month.closed", {"month": "2026-07"}, by=by(requester))
    posted_events.post(dev, "other", {"month": "2026-07"}, by=by(requester))
    posted_events.post(dev, "month.closed", {}, by=by(requester))
    assert react() == [("requested", ""), ("refused", "event_rule.pointer")]


# Within the owner's rights --------------------------------------------------------------------------------------------


def test_a_rule_sees_only_what_its_owner_sees(deployment: Deployment, fake: FakePrefect, dev: Environment) -> None:
    owner = person("narrow")
    grants.grant(
        by=Actor.system(), person=owner, verbs=["see", "trigger"], environment=dev, full_name="monthly/monthly"
    )
    mapping = {"month": {"value": "2026-10"}, "rows": {"pointer": "/run/parameters/rows", "default": 7}}
    new_rule(owner, deployment, mapping=mapping)
    other = fake.add_deployment(flow_name="secret", name="secret", parameter_schema=SCHEMA)
    sync.sync(dev)
    for each in (other.id, deployment.prefect_id):
        record = fake.add_run(each, state_type="FAILED", parameters={"month": "2026-09", "rows": 12})
        mirror.refresh(dev, [record.id])
    assert react() == [("requested", "")]
    # Nor the parameters of a run without permission to view them.
    assert RunRequest.objects.get().spec.parameters["rows"] == 7


def test_what_the_owner_can_no_longer_do_is_refused(requester: User, deployment: Deployment, a_run: MakeRun) -> None:
    new_rule(requester, deployment)
    a_run("FAILED")
    tasks.deliver_events()
    denial = {"verbs": ["trigger"], "effect": Grant.Effect.DENY, "reason": "leave"}
    grants.grant(by=Actor.system(), person=requester, environment=deployment.environment, **denial)
    tasks.fire_rules()
    assert outcomes() == [("refused", "access.denied")]
    assert not RunRequest.objects.exists()


def test_a_disabled_owner_pauses_a_rule(requester: User, deployment: Deployment, a_run: MakeRun) -> None:
    new_rule(requester, deployment)
    a_run("FAILED")
    tasks.deliver_events()
    User.objects.filter(pk=requester.pk).update(is_active=False)
    a_run("FAILED")
    assert react() == [("skipped", "event_rule.owner_disabled")]


@pytest.mark.parametrize("code", ["event_rule.paused", "event_rule.expired", "event_rule.altered", "event_rule.gone"])
def test_it_is_asked_again_when_its_request_is_made(
    code: str, requester: User, deployment: Deployment, a_run: MakeRun, later: Later
) -> None:
    rule = new_rule(requester, deployment, valid_until=timezone.now() + timedelta(hours=1))
    a_run("FAILED")
    tasks.deliver_events()
    if code == "event_rule.paused":
        event_rules.pause(rule, by=by(requester))
    elif code == "event_rule.expired":
        later(timedelta(hours=2))
    elif code == "event_rule.altered":
        EventRule.objects.update(mapping={"month": {"value": "2026-01"}})
    else:
        RunEvent.objects.all().delete()
    tasks.fire_rules()
    assert outcomes() == [("skipped", code)]
    assert not RunRequest.objects.exists()


def test_in_a_protected_environment_its_request_waits_for_others(
    requester: User, deployment: Deployment, prod_deployment: Deployment, a_run: MakeRun
) -> None:
    new_rule(requester, prod_deployment)
    a_run("FAILED")
    assert react() == [("requested", "")]
    assert ChangeRequest.objects.get().state == "waiting"


# Limits ---------------------------------------------------------------------------------------------------------------


def test_of_a_burst_the_last_event_wins(requester: User, deployment: Deployment, a_run: MakeRun, later: Later) -> None:
    new_rule(requester, deployment, debounce_seconds=60)
    a_run("FAILED")
    tasks.deliver_events()
    runs = [a_run("FAILED") for _ in range(3)]
    assert react() == [("skipped", "event_rule.debounced"), ("skipped", "event_rule.debounced"), ("waiting", "")]
    later(timedelta(seconds=61))
    react()
    fired = RuleFiring.objects.get(outcome="requested")
    assert fired.run_id == runs[-1].pk
    # Those of one batch are one row.
    assert sorted(RuleFiring.objects.values_list("events", flat=True)) == [1, 1, 2]


def test_a_steady_stream_does_not_put_it_off_for_ever(
    requester: User, deployment: Deployment, a_run: MakeRun, later: Later
) -> None:
    new_rule(requester, deployment, debounce_seconds=60)
    for _ in range(rule_firing.MOST_DEBOUNCES + 2):
        a_run("FAILED")
        react()
        later(timedelta(seconds=55))
    react()
    assert ("requested", "") in outcomes()


def test_no_more_requests_than_its_limit(requester: User, deployment: Deployment, a_run: MakeRun, later: Later) -> None:
    new_rule(requester, deployment, per_hour=2)
    for _ in range(3):
        a_run("FAILED")
    assert [each for each, _ in react()] == ["requested", "requested", "skipped"]
    later(timedelta(minutes=61))
    a_run("FAILED")
    assert react()[-1] == ("requested", "")


# Exactly once ---------------------------------------------------------------------------------------------------------


def test_what_is_cut_off_anywhere_is_done_once(requester: User, deployment: Deployment, a_run: MakeRun) -> None:
    new_rule(requester, deployment)
    a_run("FAILED")
    events.relay()
    # A kill rolls back what was not committed: the matching with its cursor, or the request with its row.
    for act in (tasks.deliver_events, tasks.fire_rules):
        for _ in range(3):
            with transaction.atomic():
                act()
                transaction.set_rollback(True)
        act()
        act()
    assert outcomes() == [("requested", "")]
    assert RunRequest.objects.count() == 1


def test_an_event_that_is_handled_again_is_no_other(requester: User, deployment: Deployment, a_run: MakeRun) -> None:
    new_rule(requester, deployment, debounce_seconds=60)
    a_run("FAILED")
    tasks.deliver_events()
    # Such as after a restore of an older cursor.
    EventCursor.objects.filter(name="event rules").update(position=0)
    assert react() == [("waiting", "")]


def test_a_fault_is_tried_again_and_then_set_aside(
    requester: User, deployment: Deployment, a_run: MakeRun, later: Later
) -> None:
    new_rule(requester, deployment)
    a_run("FAILED")
    tasks.deliver_events()
    # What no code expects: defaults that are no object.
    Deployment.objects.update(parameter_defaults=[1])
    for _ in range(rule_firing.MOST_TRIES):
        tasks.fire_rules()
        later(rule_firing.RETRY_AFTER)
    assert outcomes() == [("failed", "portal.failed")]


def test_matching_costs_the_same_with_many_rules(requester: User, deployment: Deployment, a_run: MakeRun) -> None:
    def queries(number: int) -> int:
        for place in range(number):
            new_rule(requester, deployment, name=f"rule {place}", full_name=f"monthly/{place}")
        a_run("FAILED")
        with CaptureQueriesContext(connection) as captured:
            tasks.deliver_events()
        return len(captured)

    new_rule(requester, deployment, debounce_seconds=60)
    queries(1)
    assert queries(1) == queries(30)


# Loops ----------------------------------------------------------------------------------------------------------------


def finish(fake: FakePrefect, state: str = "FAILED") -> None:
    """Launch every request that is queued, and have its run end."""
    for each in RunRequest.objects.filter(state="approved").select_related("environment"):
        dispatch.launch(each)
        each.refresh_from_db()
        if each.flow_run_id:
            fake.set_state(each.flow_run_id, state)
            mirror.refresh(each.environment, [each.flow_run_id])


def settle(fake: FakePrefect, rounds: int = 30) -> int:
    """React and run until nothing more happens; return how many requests there are."""
    for _ in range(rounds):
        react()
        if not RunRequest.objects.filter(state="approved").exists():
            return RunRequest.objects.count()
        finish(fake)
    raise AssertionError("It does not end.")


def test_two_rules_that_trigger_each_other_end(
    requester: User, deployment: Deployment, a_run: MakeRun, fake: FakePrefect, dev: Environment
) -> None:
    fake.add_deployment(flow_name="monthly", name="other", parameter_schema=SCHEMA)
    sync.sync(dev)
    other = Deployment.objects.select_related("environment").get(name="other")
    first = new_rule(requester, other, name="first", full_name=deployment.full_name)
    second = new_rule(requester, deployment, name="second", full_name=other.full_name)
    a_run("FAILED")
    assert settle(fake) == 2
    rows = list(RuleFiring.objects.order_by("pk").values_list("rule", "outcome", "code", "ancestors"))
    assert rows == [
        (first.pk, "requested", "", []),
        (second.pk, "requested", "", [first.pk]),
        (first.pk, "skipped", "event_rule.loop", [first.pk, second.pk]),
    ]


def test_a_run_read_before_its_launch_was_recorded_is_known_as_its_own(
    requester: User, deployment: Deployment, a_run: MakeRun, fake: FakePrefect
) -> None:
    new_rule(requester, deployment)
    a_run("FAILED")
    react()
    finish(fake)
    # As if the run had ended, and been read, before the launch was recorded.
    RunRequest.objects.update(run=None, flow_run_id=None)
    RunEvent.objects.filter(request_id__isnull=False).update(request_id=None)
    assert react()[-1] == ("skipped", "event_rule.loop")


def test_a_subflow_belongs_to_the_run_that_called_it(
    requester: User, deployment: Deployment, a_run: MakeRun, fake: FakePrefect
) -> None:
    new_rule(requester, deployment, states=["COMPLETED"])
    a_run("COMPLETED")
    react()
    (request,) = RunRequest.objects.all()
    finish(fake, "RUNNING")
    react()
    request.refresh_from_db()
    child = a_run("RUNNING")
    Run.objects.filter(pk=child.pk).update(parent=request.run)
    fake.set_state(child.prefect_id, "COMPLETED")
    mirror.refresh(deployment.environment, [child.prefect_id])
    assert react()[-1] == ("skipped", "event_rule.loop")


def test_what_a_run_posts_belongs_to_the_run(
    requester: User, deployment: Deployment, dev: Environment, fake: FakePrefect
) -> None:
    columns: dict[str, Any] = {"trigger": "event", "event_name": "again", "environment": dev}
    new_rule(requester, deployment, **columns)
    posting(requester, dev)
    posted_events.post(dev, "again", {}, by=by(requester))
    react()
    finish(fake)
    posted_events.post(dev, "again", {}, by=by(requester), run=Run.objects.get())
    assert react()[-1] == ("skipped", "event_rule.loop")


@pytest.mark.parametrize("seed", range(4))
def test_no_graph_of_rules_loops(
    seed: int, requester: User, deployment: Deployment, fake: FakePrefect, dev: Environment
) -> None:
    chance = random.Random(seed)
    for name in "abcd":
        fake.add_deployment(flow_name="f", name=name, parameter_schema=SCHEMA)
    sync.sync(dev)
    nodes = list(Deployment.objects.select_related("environment").filter(flow_name="f"))
    # Each rule leads from any of the runs, one deployment or the flow to a deployment, itself included.
    for place in range(7):
        source = chance.choice([{}, {"flow_name": "f"}, *({"full_name": each.full_name} for each in nodes)])
        new_rule(requester, chance.choice(nodes), name=f"r{place}", per_hour=chance.randint(1, 4), **source)
    limit = sum(EventRule.objects.values_list("per_hour", flat=True))
    record = fake.add_run(nodes[0].prefect_id, state_type="FAILED")
    mirror.refresh(dev, [record.id])
    assert settle(fake) <= limit
    for ancestors, rule in RuleFiring.objects.filter(outcome="requested").values_list("ancestors", "rule"):
        assert len({*ancestors, rule}) == len(ancestors) + 1 <= MOST_DEPTH


# Bound to a token -----------------------------------------------------------------------------------------------------


def of_program(owner: User, deployment: Deployment, *scopes: TokenScope) -> EventRule:
    return event_rules.create(
        "x",
        by=program_of(owner, *scopes),
        trigger="run",
        states=["FAILED"],
        deployment=deployment,
        mapping={"month": {"pointer": "/run/parameters/month"}},
    )


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ([{"verbs": ["trigger"]}, {"verbs": ["see"], "full_name": "other/other"}], []),
        ([{"verbs": ["see", "trigger"]}], [("refused", "event_rule.pointer")]),
        ([{"verbs": ["see", "see inputs", "trigger"]}], [("requested", "")]),
        (
            [
                {"verbs": ["see", "see inputs"]},
                {"verbs": ["trigger"], "predicate": {"properties": {"month": {"const": "2020-01"}}}},
            ],
            [("refused", "access.scope")],
        ),
    ],
)
def test_a_rule_of_a_program_sees_and_does_what_its_token_allows(
    requester: User,
    deployment: Deployment,
    a_run: MakeRun,
    scopes: list[dict[str, Any]],
    expected: list[tuple[str, str]],
) -> None:
    of_program(requester, deployment, *(TokenScope(**each) for each in scopes))
    a_run("FAILED", parameters={"month": "2026-08"})
    assert react() == expected


def test_a_rule_does_nothing_once_its_token_has_ended(requester: User, deployment: Deployment, a_run: MakeRun) -> None:
    of_program(requester, deployment, TokenScope(verbs=["see", "see inputs", "trigger"]))
    a_run("FAILED", parameters={"month": "2026-08"})
    tasks.deliver_events()
    tokens.revoke(Token.objects.get(), by=by(requester))
    tasks.fire_rules()
    assert outcomes() == [("skipped", "event_rule.token_ended")]
    a_run("FAILED", parameters={"month": "2026-08"})
    assert len(react()) == 1


# Retention ------------------------------------------------------------------------------------------------------------


def test_old_rows_go_and_those_of_open_requests_stay(
    requester: User, deployment: Deployment, a_run: MakeRun, fake: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    unmet = {"pointer": "/run/state", "is": "eq", "value": "x"}
    new_rule(requester, deployment)
    new_rule(requester, deployment, name="never", conditions=[unmet])
    for _ in range(3):
        a_run("FAILED")
        react()
    assert not firing_retention.forget(None)
    monkeypatch.setattr(firing_retention, "KEPT_SKIPS", 2)
    assert firing_retention.forget(None)
    assert RuleFiring.objects.filter(outcome="skipped").count() == 2
    after = timezone.now() + timedelta(seconds=1)
    assert firing_retention.forget(after)
    assert {each for each, _ in outcomes()} == {"requested"}
    finish(fake)
    assert firing_retention.forget(after)
    assert not firing_retention.forget(after)
