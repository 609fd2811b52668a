"""Defaults, rules and escalation: who is notified without choosing it, by a rule, and when nobody decides."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.catalog import health
from flows.models import Deployment, Environment
from runs import changes, mirror, notifications, requests, tasks
from runs.access.decisions import Target
from runs.actors import Actor
from runs.governance import grants, policies
from runs.models import (
    Approval,
    AuditEntry,
    ChangeRequest,
    Channel,
    Delivery,
    Notification,
    NotificationRule,
    Policy,
    Run,
    RunRequest,
)
from runs.models.notification import Topic
from runs.notifications import notification_rules, topic_matching
from runs.notifications.audience import Audience
from tests.background import notices
from tests.cast import by, person
from tests.failed_runs import a_failure
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db
OPERATORS = "Operator"


@pytest.fixture
def fail(deployment: Deployment, fake: FakePrefect) -> Callable[..., Run]:
    """Makes runs of `deployment` that fail, as news."""

    def make(**columns: Any) -> Run:
        health.note_runs_synced(deployment.environment, timezone.now() - timedelta(hours=1))
        record = fake.add_run(deployment.prefect_id, state_type="RUNNING", **columns)
        mirror.refresh(deployment.environment, [record.id])
        fake.set_state(record.id, "FAILED")
        mirror.refresh(deployment.environment, [record.id])
        return Run.objects.get(prefect_id=record.id)

    return make


def new_rule(owner: User, *topics: str, **columns: Any) -> NotificationRule:
    return notification_rules.create("a rule", topics or ["failed"], by=by(owner), **columns)


def heard() -> list[tuple[str, str]]:
    return [(each.person.username, each.topic) for each in notices().order_by("pk") if each.person]


def ask(deployment: Deployment, requester: User) -> RunRequest:
    return requests.submit(deployment, {"month": "2026-10"}, by=by(requester), reason="Month end")


# Without any setting


def test_approvers_requesters_and_overseers_hear_of_what_concerns_them(
    prod_deployment: Deployment,
    prod: Environment,
    requester: User,
    approver: User,
    viewer: User,
    auditor: User,
    admin_user: User,
) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["break glass"], environment=prod)
    change = ask(prod_deployment, requester).change
    notices()
    changes.reject(change, by=by(approver), reason="Not today")
    assert heard() == [("approver", "waiting"), ("requester", "answered")]
    changes.break_glass(ask(prod_deployment, requester).change, by=by(requester), reason="The shop is down")
    found = heard()[2:]
    assert ("approver", "waiting") in found
    assert {name for name, topic in found if topic == "break glass"} == {"auditor", "administrator"}


def test_a_default_can_be_turned_off_but_for_oversight(
    prod_deployment: Deployment, prod: Environment, requester: User, approver: User, auditor: User
) -> None:
    for each in (requester, approver, auditor):
        notifications.subscribe(each, [], by=by(each))
    grants.grant(by=Actor.system(), person=requester, verbs=["break glass"], environment=prod)
    changes.break_glass(ask(prod_deployment, requester).change, by=by(requester), reason="The shop is down")
    assert heard() == [("auditor", "break glass")]
    notifications.subscribe(approver, [("waiting", None)], by=by(approver))
    assert not approver.subscriptions.filter(topic="waiting").exists(), "it is on again, without a row"
    notifications.subscribe(approver, [("waiting", prod.pk)], by=by(approver))
    ask(prod_deployment, requester)
    assert heard()[1:] == [("approver", "waiting")]


# Rules


def test_a_rule_of_a_group_is_for_those_of_it_who_may_see(fail: Callable[..., Run], admin_user: User) -> None:
    for name in ("one", "two"):
        person(name, OPERATORS)
    hidden = person("hidden", OPERATORS)
    grants.grant(by=Actor.system(), person=hidden, verbs=["see"], effect="deny")
    new_rule(admin_user, group=Group.objects.get(name=OPERATORS), tag="nightly")
    fail(tags=("nightly",))
    fail(tags=("other",))
    assert heard() == [("one", "failed"), ("two", "failed")]


def test_two_reasons_to_hear_of_a_run_are_one_message(fail: Callable[..., Run], viewer: User) -> None:
    for columns in ({"tag": "crm"}, {"full_name": "monthly/monthly"}, {"flow_name": "monthly"}, {}):
        new_rule(viewer, **columns)
    notifications.subscribe(viewer, [("failed", None)], by=by(viewer))
    fail(tags=("crm",))
    assert heard() == [("viewer", "failed")]


def test_a_removed_rule_is_silent(fail: Callable[..., Run], viewer: User) -> None:
    rule = new_rule(viewer)
    notification_rules.remove(rule, by=by(viewer))
    fail()
    assert heard() == []
    with refused("notification_rule.removed"):
        notification_rules.remove(rule, by=by(viewer))


def test_a_rule_narrows_approvals_too(prod_deployment: Deployment, requester: User, approver: User) -> None:
    notifications.subscribe(approver, [], by=by(approver))
    new_rule(approver, "waiting", tag="other")
    ask(prod_deployment, requester)
    assert heard() == []
    new_rule(approver, "waiting", tag="crm")
    ask(prod_deployment, requester)
    assert heard() == [("approver", "waiting")]


def test_each_decides_for_themselves_and_administrators_for_groups(
    deployment: Deployment, prod_deployment: Deployment, viewer: User, requester: User, auditor: User, admin_user: User
) -> None:
    group = Group.objects.get(name=OPERATORS)
    with refused("notification_rule.not_yours"):
        new_rule(viewer, group=group)
    own, theirs = new_rule(viewer), new_rule(admin_user, group=group)
    with refused("notification_rule.not_yours"):
        notification_rules.remove(own, by=by(admin_user))
    with refused("notification_rule.not_yours"):
        notification_rules.remove(theirs, by=by(requester))

    def visible(user: User) -> set[NotificationRule]:
        return set(notification_rules.NOTIFICATION_RULES.rows(by(user)))

    assert [visible(user) for user in (viewer, requester, auditor, admin_user)] == [{own}, {theirs}, {theirs}, {theirs}]
    outcomes = AuditEntry.objects.filter(verb__startswith="notification_rule").values_list("outcome", flat=True)
    assert sorted(outcomes) == ["done", "done", "refused", "refused", "refused"]


@pytest.mark.parametrize(
    ("code", "columns"),
    [
        ("notification_rule.name", {"name": " "}),
        ("notification_rule.topics", {"topics": []}),
        ("notification_rule.topics", {"topics": ["gossip"]}),
        ("notification_rule.personal", {"topics": ["own failed"], "group": OPERATORS}),
        ("notification_rule.receivers", {"group": OPERATORS, "channel": "ops"}),
        ("notification_rule.minutes", {"topics": ["failed"], "after_minutes": 5}),
        ("notification_rule.minutes", {"topics": ["waiting"], "after_minutes": -1}),
        ("notification_rule.deployment", {"full_name": "other/other"}),
        ("notification_rule.too_long", {"tag": "x" * 301}),
    ],
)
def test_what_cannot_be_a_rule_is_refused(
    deployment: Deployment, admin_user: User, code: str, columns: dict[str, Any]
) -> None:
    columns = {"name": "a rule", "topics": ["failed"], **columns}
    if "group" in columns:
        columns["group"] = Group.objects.get(name=columns["group"])
    if "channel" in columns:
        columns["channel"] = a_channel(columns["channel"])
    with refused(code):
        notification_rules.create(by=by(admin_user), **columns)


def test_what_is_not_seen_cannot_be_named(prod_deployment: Deployment, prod: Environment, stranger: User) -> None:
    with refused("environment.unknown"):
        new_rule(stranger, environment=prod)
    with refused("notification_rule.deployment"):
        new_rule(stranger, full_name="monthly/monthly")


def test_a_rule_is_found_by_its_key_wherever_its_selector_matches(dev: Environment, prod: Environment) -> None:
    target = Target(dev, "flow", "flow/one", ("a", "b"))
    matching: list[dict[str, Any]] = [
        *({}, {"environment": dev}, {"tag": "b"}, {"flow_name": "flow"}, {"full_name": "flow/one"}),
        {"environment": dev, "tag": "a", "full_name": "flow/one"},
    ]
    other: list[dict[str, Any]] = [
        *({"environment": prod}, {"tag": "c"}, {"flow_name": "other"}, {"full_name": "flow/two"}),
        {"environment": prod, "full_name": "flow/one"},
    ]
    rules = [NotificationRule(topics=["failed"], **each) for each in (*matching, *other)]
    for rule in rules:
        rule.match_key = topic_matching.key_of(rule)
    found = list(topic_matching.rules_for(Topic.FAILED, target, topic_matching.by_key(rules)))
    assert sorted(map(rules.index, found)) == list(range(len(matching)))
    assert not list(topic_matching.rules_for(Topic.LATE, target, topic_matching.by_key(rules)))


def test_an_audience_costs_the_same_queries_for_many_rules(deployment: Deployment, admin_user: User) -> None:
    counts = []
    for number in (1, 20):
        for place in range(number):
            new_rule(admin_user, tag="crm", group=Group.objects.get(name=OPERATORS))
            person(f"p{number}{place}", OPERATORS)
        with CaptureQueriesContext(connection) as queries:
            audience = Audience([Topic.FAILED], [Target.of(deployment)])
        counts.append((len(queries), len(audience.of([Topic.FAILED], [Target.of(deployment)]))))
    assert counts[0][0] == counts[1][0] <= 5
    assert [people for _, people in counts] == [1, 21]


# Channels


def a_channel(name: str = "ops") -> Channel:
    return Channel.objects.create(name=name, kind="slack", sealed_address=b"", destination="x", created_by_name="a")


def sent_to(channel: Channel) -> list[str]:
    notices()
    rows = Delivery.objects.filter(channel=channel, notification__person=None).order_by("pk")
    return list(rows.values_list("notification__topic", flat=True))


def test_a_channel_hears_of_what_its_rules_select(fail: Callable[..., Run], dev: Environment, admin_user: User) -> None:
    channel, other, disabled = a_channel(), a_channel("other"), a_channel("disabled")
    Channel.objects.filter(pk=disabled.pk).update(is_enabled=False)
    for each in (channel, channel, disabled):
        new_rule(admin_user, "failed", "server", channel=each, tag="" if each == disabled else "crm")
    new_rule(admin_user, "failed", channel=other, environment=dev, tag="other")
    fail(tags=("crm",))
    assert [sent_to(each) for each in (channel, other, disabled)] == [["failed"], [], []]
    assert heard() == []


def test_a_channel_hears_of_a_protected_environment_only_by_its_name(
    prod_deployment: Deployment, prod: Environment, requester: User, approver: User, admin_user: User, auditor: User
) -> None:
    everywhere, named = a_channel(), a_channel("named")
    new_rule(admin_user, "waiting", channel=everywhere)
    new_rule(admin_user, "failed", channel=everywhere, environment=prod)
    notices().filter(topic="rules").delete()
    assert ("auditor", "rules") not in heard()
    new_rule(admin_user, "waiting", channel=named, environment=prod)
    assert ("auditor", "rules") in heard(), "that messages leave the portal"
    ask(prod_deployment, requester)
    assert [sent_to(each) for each in (everywhere, named)] == [[], ["waiting"]]


def test_no_log_goes_to_a_channel(deployment: Deployment, admin_user: User) -> None:
    channel = a_channel()
    new_rule(admin_user, "failure", channel=channel)
    a_failure(deployment, "ValueError: password hunter2 is wrong")
    assert sent_to(channel) == ["failure"]
    assert "ValueError" not in Notification.objects.get(person=None).text


def test_what_waits_for_a_second_administrator_goes_to_no_channel(
    prod: Environment, admin_user: User, second_administrator: User, viewer: User
) -> None:
    channel = a_channel()
    new_rule(admin_user, "rules", channel=channel, environment=prod)
    notices()
    before = len(sent_to(channel))
    confirmation = {"reason": "Holiday", "confirm": "prod"}
    grants.grant(by=by(admin_user), person=viewer, verbs=["approve"], environment=prod, **confirmation)
    assert ChangeRequest.objects.filter(kind="rules").exists()
    assert len(sent_to(channel)) == before


# Escalation


def test_what_nobody_decides_goes_to_another_group_once(
    prod_deployment: Deployment,
    requester: User,
    approver: User,
    admin_user: User,
    prod: Environment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boss, outsider = person("boss", "Release manager"), person("outsider", "Release manager")
    grants.grant(by=Actor.system(), person=boss, verbs=["see"], environment=prod)
    group = Group.objects.get(name="Release manager")
    new_rule(admin_user, "waiting", group=group, environment=prod, after_minutes=30)
    new_rule(admin_user, "waiting", group=group, tag="other", after_minutes=30)
    first, decided = ask(prod_deployment, requester), ask(prod_deployment, requester)
    changes.reject(decided.change, by=by(approver), reason="no")
    notices()
    tasks.escalate()
    assert "boss" not in dict(heard()), "too early"
    later = timezone.now() + timedelta(minutes=31)
    monkeypatch.setattr(timezone, "now", lambda: later)
    for _ in range(2):
        tasks.escalate()
    found = [(each.person.username, each.target_id) for each in notices() if each.person in (boss, outsider)]
    assert found == [("boss", str(first.pk))]


def ask_for_two_stages(deployment: Deployment, requester: User, administrator: User) -> tuple[User, ChangeRequest]:
    """A request with two stages, and a person with a rule for what nobody decides in 30 minutes."""
    stages = [{"needed": 1, "group": "Approver"}, {"needed": 1, "group": "Release manager"}]
    policies.save_policy(Policy(name="Two", stages=stages, approval_minutes=600), by=by(administrator))
    boss = person("boss", "Auditor")
    grants.grant(by=Actor.system(), person=boss, verbs=["see"], environment=deployment.environment)
    new_rule(boss, "waiting", environment=deployment.environment, after_minutes=30)
    return boss, ask(deployment, requester).change


def test_each_stage_is_escalated_from_when_it_waits(
    prod_deployment: Deployment,
    requester: User,
    approver: User,
    admin_user: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boss, change = ask_for_two_stages(prod_deployment, requester, admin_user)

    def escalated_at(minutes: int) -> list[str]:
        later = change.requested_at + timedelta(minutes=minutes)
        monkeypatch.setattr(timezone, "now", lambda: later)
        tasks.escalate()
        found = notices().filter(person=boss, subject__startswith="Still waiting").order_by("pk")
        return [each.text.partition(" for ")[0] for each in found]

    one, two = (f"Nobody has decided on stage {number} of 2" for number in (1, 2))
    assert [escalated_at(minutes) for minutes in (29, 31, 32)] == [[], [one], [one]]
    approved_at = change.requested_at + timedelta(minutes=40)
    Approval.objects.create(
        change=change, approved=True, by=approver, by_name="approver", digest=change.digest, at=approved_at
    )
    assert [escalated_at(minutes) for minutes in (69, 71, 90)] == [[one], [one, two], [one, two]]


def test_an_escalation_of_a_stage_that_was_approved_meanwhile_notifies_nobody(
    prod_deployment: Deployment, requester: User, approver: User, admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    boss, change = ask_for_two_stages(prod_deployment, requester, admin_user)
    later = change.requested_at + timedelta(minutes=31)
    monkeypatch.setattr(timezone, "now", lambda: later)
    tasks.escalate()
    changes.approve(change, by=by(approver))
    assert not notices().filter(person=boss, subject__startswith="Still waiting").exists()
