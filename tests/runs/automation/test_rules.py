"""Event rules as they are created, changed, paused and protected."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from runs.actors import Actor
from runs.automation import event_rules, rule_digest
from runs.governance import grants, outside_changes, tokens
from runs.models import AuditEntry, EventRule, RowVersion, Token, TokenScope, Verb
from tests.cast import by
from tests.made_hooks import new_hook, robot_for
from tests.made_rules import MAPPING, new_rule, program_of
from tests.refusals import forbidden, refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule(requester: User, deployment: Deployment) -> EventRule:
    return new_rule(requester, deployment)


def columns_of(rule: EventRule, **changed: Any) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in ("name", *event_rules.DEFAULTS)} | changed


def test_a_rule_is_its_owners(rule: EventRule, admin_user: User, approver: User) -> None:
    for other in (admin_user, approver):
        with refused("event_rule.not_own"):
            event_rules.change(rule, by=by(other), **columns_of(rule))
    with refused("event_rule.not_own"):
        event_rules.pause(rule, by=by(approver))
    event_rules.pause(rule, by=by(admin_user), reason="too many runs")
    with refused("event_rule.not_own"):
        event_rules.resume(rule, by=by(admin_user))
    stored = EventRule.objects.get()
    assert (stored.is_enabled, stored.paused_by_name, stored.paused_why) == (False, "administrator", "too many runs")
    event_rules.resume(rule, by=by(rule.owner))
    assert EventRule.objects.get().is_enabled
    done = AuditEntry.objects.filter(outcome="done", verb__startswith="event_rule.").order_by("sequence")
    assert [each.verb for each in done] == ["event_rule.create", "event_rule.pause", "event_rule.resume"]


def test_only_those_who_may_run_the_deployment_make_and_resume_one(
    viewer: User, deployment: Deployment, rule: EventRule
) -> None:
    with forbidden(Verb.TRIGGER):
        new_rule(viewer, deployment)
    event_rules.pause(rule, by=by(rule.owner))
    rule.owner.groups.clear()
    with forbidden(Verb.TRIGGER):
        event_rules.resume(rule, by=by(rule.owner))


def test_a_service_account_owns_none(requester: User, deployment: Deployment) -> None:
    robot = robot_for(requester, deployment)
    with refused("event_rule.owner"):
        new_rule(robot.user, deployment)


ALL = ["see", "see inputs", "see logs", "trigger"]


def test_a_program_saves_a_rule_that_can_do_what_its_token_can(requester: User, deployment: Deployment) -> None:
    only = {"properties": {"month": {"const": "2026-10"}}}
    by_program = program_of(requester, TokenScope(verbs=["see"]), TokenScope(verbs=["trigger"], predicate=only))
    columns: dict[str, Any] = {"trigger": "run", "states": ["FAILED"], "mapping": MAPPING}
    rule = event_rules.create("x", by=by_program, deployment=deployment, **columns)
    (scope,) = event_rules.actor_of(rule, deployment).scope or ()
    assert (rule.token and rule.token.key, scope.predicate) == (by_program.token_id, only)
    with forbidden(Verb.TRIGGER, "access.scope"):
        event_rules.create("x", by=program_of(requester, TokenScope(verbs=["see"])), deployment=deployment, **columns)
    # Saved by its owner it can do what the owner can.
    event_rules.change(rule, by=by(requester), name="x", states=["FAILED"], mapping=MAPPING)
    rule = event_rules.rows().get()
    assert (rule.token, [each.predicate for each in event_rules.actor_of(rule, deployment).scope or ()]) == (
        None,
        [None],
    )
    assert rule_digest.is_intact(rule)


def test_a_rule_of_a_program_is_bound_to_its_token(requester: User, deployment: Deployment) -> None:
    by_program = program_of(requester, TokenScope(verbs=ALL))
    rule = event_rules.create(
        "x", by=by_program, trigger="run", states=["FAILED"], deployment=deployment, mapping=MAPPING
    )
    assert rule_digest.is_intact(event_rules.rows().get())
    TokenScope.objects.update(verbs=[*ALL, "approve"])
    assert not rule_digest.is_intact(event_rules.rows().get())
    TokenScope.objects.update(verbs=ALL)
    event_rules.pause(rule, by=by_program)
    event_rules.resume(rule, by=by_program)
    assert event_rules.firing().exists()
    tokens.revoke(Token.objects.get(), by=by(requester))
    assert not event_rules.firing().exists()
    with refused("event_rule.token_ended"):
        event_rules.resume(rule, by=by(requester))
    with forbidden(Verb.TRIGGER, "access.scope"):
        event_rules.resume(new_rule(requester, deployment), by=program_of(requester, TokenScope(verbs=["see"])))


def test_only_its_owner_deletes_it_and_then_nobody_sees_it(rule: EventRule, approver: User, admin_user: User) -> None:
    for other in (approver, admin_user):
        with refused("event_rule.not_own"):
            event_rules.delete(rule, by=by(other))
    event_rules.delete(rule, by=by(rule.owner), reason="done")
    assert not event_rules.firing().exists()
    assert [event_rules.visible_to(by(rule.owner)).count(), event_rules.including_deleted(by(rule.owner)).count()] == [
        0,
        1,
    ]
    for act in (event_rules.pause, event_rules.resume, event_rules.delete):
        with refused("event_rule.deleted"):
            act(rule, by=by(rule.owner))


@pytest.mark.parametrize(
    ("code", "columns"),
    [
        ("event_rule.name_required", {"name": " "}),
        ("event_rule.trigger", {"trigger": "moon"}),
        ("event_rule.states", {"states": []}),
        ("event_rule.states", {"states": ["RUNNING"]}),
        ("event_rule.artifact_key", {"trigger": "artifact"}),
        ("event_rule.event_name", {"trigger": "event", "event_name": "Month Closed"}),
        ("event_rule.environment", {"trigger": "event", "event_name": "month.closed"}),
        ("event_rule.hook", {"trigger": "delivery"}),
        ("event_rule.debounce", {"debounce_seconds": 86_401}),
        ("event_rule.per_hour", {"per_hour": 0}),
        ("event_rule.per_hour", {"per_hour": 1_001}),
        ("automation.valid_until", {"valid_until": timezone.now() - timedelta(days=1)}),
        ("event_rule.condition", {"conditions": "x"}),
        ("event_rule.mapping", {"mapping": {"month": {"pointer": "no"}}}),
        ("event_rule.mapping", {"mapping": {"nothing": {"value": 1}}}),
        # Events are stored in clear text.
        ("event_rule.mapping", {"mapping": {"token": {"pointer": "/body/token"}}}),
    ],
)
def test_what_cannot_be_used_is_refused(
    code: str, columns: dict[str, Any], requester: User, deployment: Deployment
) -> None:
    with refused(code):
        new_rule(requester, deployment, **columns)
    assert AuditEntry.objects.get(verb="event_rule.create").outcome == "refused"


def test_a_rule_waits_only_for_what_its_owner_sees(
    requester: User, approver: User, stranger: User, deployment: Deployment, prod: Environment
) -> None:
    hook = new_hook(requester, deployment).hook
    assert new_rule(requester, deployment, trigger="delivery", hook=hook).match_key == f"hook {hook.pk}"
    grants.grant(by=Actor.system(), person=stranger, verbs=["see", "trigger"], full_name=deployment.full_name)
    with refused("event_rule.hook"):
        new_rule(stranger, deployment, trigger="delivery", hook=hook)
    with refused("event_rule.environment"):
        new_rule(stranger, deployment, environment=prod)
    # A grant for one deployment does not show what is posted about others.
    with forbidden(Verb.SEE):
        new_rule(stranger, deployment, trigger="event", event_name="x", environment=deployment.environment)


def test_columns_of_another_trigger_are_emptied(requester: User, deployment: Deployment) -> None:
    rule = new_rule(requester, deployment, artifact_key="drift", event_name="x", full_name=deployment.full_name)
    assert (rule.artifact_key, rule.event_name, rule.full_name) == ("", "", deployment.full_name)
    assert rule.match_key == f"run of {deployment.full_name}"


def test_a_rule_changed_in_the_database_is_not_intact_until_its_owner_saves_it(
    rule: EventRule, prod_deployment: Deployment
) -> None:
    EventRule.objects.update(deployment=prod_deployment)
    changed = event_rules.rows().get()
    assert not rule_digest.is_intact(changed)
    with refused("event_rule.altered"):
        event_rules.resume(changed, by=by(rule.owner))
    event_rules.pause(changed, by=by(rule.owner))
    assert not rule_digest.is_intact(event_rules.rows().get())
    # In a protected environment it is an alarm as well.
    version = RowVersion.objects.filter(table_name="runs_eventrule").latest("pk")
    assert outside_changes.reached_by(version, frozenset({"prod"})) == {"prod"}
    event_rules.change(changed, by=by(rule.owner), **columns_of(changed))
    assert rule_digest.is_intact(event_rules.rows().get())


def test_its_versions_are_recorded(rule: EventRule) -> None:
    event_rules.change(rule, by=by(rule.owner), **columns_of(rule, per_hour=7))
    labels = (
        RowVersion.objects.filter(table_name="runs_eventrule").order_by("pk").values_list("label", "data__per_hour")
    )
    assert list(labels)[-1] == ("update", 7)


def test_who_sees_rules(
    rule: EventRule, requester: User, approver: User, auditor: User, admin_user: User, viewer: User
) -> None:
    seen = [event_rules.visible_to(by(each)).count() for each in (requester, approver, auditor, admin_user, viewer)]
    assert seen == [1, 0, 1, 1, 0]
