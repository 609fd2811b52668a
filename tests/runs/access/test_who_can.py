"""Who can act on a deployment, why someone cannot, and which grants a manager sees."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from flows.models import Deployment, Environment
from runs.access.decisions import Permissions, Target, covers, decide
from runs.access.explain import explain
from runs.access.who_can import grants_affecting, who_can
from runs.actors import Actor
from runs.governance import grants
from runs.models import Grant, Verb
from tests.cast import by, person

pytestmark = pytest.mark.django_db

EU = {"properties": {"region": {"const": "EU"}}}


def given(subject: User | Group, *verbs: str, **columns: Any) -> Grant:
    whom: dict[str, Any] = {"group": subject} if isinstance(subject, Group) else {"person": subject}
    return grants.grant(by=Actor.system(), verbs=list(verbs), **whom, **columns)


def names(deployment: Deployment, verb: Verb) -> tuple[list[str], list[str]]:
    roll = who_can(deployment, [verb])[verb]
    return [each.name for each in roll.allowed], [each.name for each in roll.denied]


# Who


def test_it_takes_two_queries_for_any_number_of_people_and_groups(
    deployment: Deployment, django_assert_num_queries: Any
) -> None:
    for number in range(3):
        one = person(f"one{number}", "Operator")
        group = Group.objects.create(name=f"group {number}")
        one.groups.add(group)
        given(one, "trigger")
        given(group, "trigger")
    with django_assert_num_queries(2):
        assert len(who_can(deployment, [Verb.TRIGGER])[Verb.TRIGGER].allowed) == 3


def test_groups_are_expanded_to_the_people_in_them(deployment: Deployment, requester: User, viewer: User) -> None:
    given(viewer, "trigger", predicate=EU, flow_name="monthly")
    (one, other) = who_can(deployment, [Verb.TRIGGER])[Verb.TRIGGER].allowed
    assert (one.name, one.groups, one.only) == ("requester", ("Operator",), "")
    assert (other.name, other.groups, other.only) == ("viewer", (), "region is EU")


def test_a_prohibition_takes_people_off_and_names_them(deployment: Deployment, requester: User, viewer: User) -> None:
    given(viewer, "trigger")
    given(Group.objects.get(name="Operator"), "trigger", effect="deny", tag="crm")
    assert names(deployment, Verb.TRIGGER) == (["viewer"], ["requester"])
    assert names(deployment, Verb.RERUN) == ([], ["requester"])
    assert names(deployment, Verb.CANCEL) == (["requester"], [])


def test_until_when_is_the_last_of_all_that_allow(deployment: Deployment, stranger: User) -> None:
    soon, late = (timezone.now() + timedelta(days=days) for days in (1, 9))
    given(stranger, "trigger", valid_until=soon)
    given(stranger, "trigger", valid_until=late)
    (allowed,) = who_can(deployment, [Verb.TRIGGER])[Verb.TRIGGER].allowed
    assert allowed.until == late
    given(stranger, "trigger")
    (allowed,) = who_can(deployment, [Verb.TRIGGER])[Verb.TRIGGER].allowed
    assert allowed.until is None


def test_a_prohibition_of_values_is_a_condition(deployment: Deployment, requester: User) -> None:
    given(requester, "trigger", effect="deny", predicate={"properties": {"force": {"const": True}}})
    (allowed,) = who_can(deployment, [Verb.TRIGGER])[Verb.TRIGGER].allowed
    assert (allowed.name, allowed.never) == ("requester", "force is true")


def test_who_is_not_active_is_not_named(deployment: Deployment, requester: User, stranger: User) -> None:
    given(stranger, "trigger")
    User.objects.filter(pk__in=[requester.pk, stranger.pk]).update(is_active=False)
    assert names(deployment, Verb.TRIGGER) == ([], [])


@pytest.fixture
def crowd(deployment: Deployment, prod_deployment: Deployment) -> list[User]:
    """People, groups and grants as chance would have it."""
    dice = random.Random(7)
    people = [
        person(f"person-{at}", *dice.sample(["Viewer", "Operator", "Approver"], dice.randint(0, 2))) for at in range(6)
    ]
    subjects: list[User | Group] = [*people, *Group.objects.filter(name__in=["Viewer", "Operator", "Approver"])]
    for _ in range(60):
        verbs = dice.sample([str(verb) for verb in predicates_take()], dice.randint(1, 3))
        given(
            dice.choice(subjects),
            *verbs,
            effect=dice.choice(["allow", "allow", "deny"]),
            environment=dice.choice([None, deployment.environment, prod_deployment.environment]),
            flow_name=dice.choice(["", "", "monthly", "other"]),
            full_name=dice.choice(["", "", "monthly/monthly", "other/other"]),
            tag=dice.choice(["", "", "crm", "other"]),
            predicate=dice.choice([None, None, EU]),
        )
    return people


def predicates_take() -> list[Verb]:
    return [Verb.TRIGGER, Verb.TRIGGER_LATER, Verb.RERUN, Verb.BACKFILL, Verb.APPROVE, Verb.BREAK_GLASS]


def test_who_says_what_decide_says(crowd: list[User], deployment: Deployment, prod_deployment: Deployment) -> None:
    seen = set()
    for place in (deployment, prod_deployment):
        for verb, roll in who_can(place, list(Verb)).items():
            may = {each.name for each in roll.allowed}
            for user in crowd:
                assert decide(by(user), verb, place).allowed == (user.username in may), (user, verb, place)
                seen.add((user.username in may, user.username in {each.name for each in roll.denied}))
    assert seen == {(True, False), (False, True), (False, False)}


# Which grants affect what a person manages


def test_bearing_in_sql_is_covering(crowd: list[User], deployment: Deployment, prod_deployment: Deployment) -> None:
    for place in (deployment, prod_deployment):
        manager = person(f"manager-{place.environment}")
        given(manager, "manage", environment=place.environment, tag="crm")
        found = set(Grant.objects.filter(grants_affecting(Permissions.of_person(manager), Verb.MANAGE)))
        assert found == {grant for grant in Grant.objects.all() if covers(grant, Target.of(place))}
        assert 5 < len(found) < Grant.objects.count()
    assert not Grant.objects.filter(grants_affecting(Permissions.of_person(crowd[0]), Verb.MANAGE)).exists()


# Why


def codes(user: User, verb: Verb, deployment: Deployment, parameters: dict[str, Any] | None = None) -> list[str]:
    return [each.code for each in explain(user, verb, deployment, parameters).ignored]


def test_each_grant_that_does_not_count_says_why(
    stranger: User, prod: Environment, prod_deployment: Deployment, dev: Environment
) -> None:
    now = timezone.now()
    grants.revoke(given(stranger, "trigger"), by=Actor.system())
    Grant.objects.filter(pk=given(stranger, "trigger").pk).update(valid_until=now - timedelta(days=1))
    given(stranger, "trigger", valid_from=now + timedelta(days=1))
    given(stranger, "trigger", environment=dev)
    given(stranger, "trigger")
    given(stranger, "trigger", environment=prod, flow_name="other")
    given(stranger, "trigger", environment=prod, full_name="monthly/other")
    given(stranger, "trigger", environment=prod, tag="other")
    given(stranger, "trigger", environment=prod, effect="deny", predicate=EU)
    given(stranger, "cancel", environment=prod)
    found = explain(stranger, Verb.TRIGGER, prod_deployment)
    assert not found.decision
    why = {each.code: each.why for each in found.ignored}
    named = {
        "revoked": "portal",
        "expired": str(now.year),
        "not_started": str(now.year),
        "environment": "dev",
        "protected": "prod",
        "flow": "other",
        "deployment": "monthly/other",
        "tag": "other",
        "denial_values": "region is EU",
    }
    assert why.keys() == named.keys()
    for code, name in named.items():
        assert name in why[code]
    assert len(found.ignored) == 9


def test_values_that_do_not_fit_are_said(stranger: User, deployment: Deployment) -> None:
    grant = given(stranger, "trigger", predicate=EU)
    assert explain(stranger, Verb.TRIGGER, deployment, {"region": "EU"}).decision.grants == (grant,)
    given(stranger, "trigger", predicate={"properties": {"region": {"const": "UK"}}})
    (ignored,) = explain(stranger, Verb.TRIGGER, deployment, {"region": "EU"}).ignored
    assert ignored.code == "values"
    assert "region is UK" in ignored.why
    refused = explain(stranger, Verb.TRIGGER, deployment, {"region": "US"})
    assert (refused.decision.code, len(refused.decision.grants)) == ("access.values", 2)


def test_a_permission_under_a_prohibition_says_that_it_loses(requester: User, deployment: Deployment) -> None:
    given(requester, "trigger", effect="deny")
    assert codes(requester, Verb.RERUN, deployment) == ["environment", "denied"]


def test_nothing_counts_for_somebody_who_is_not_active(requester: User, deployment: Deployment) -> None:
    User.objects.filter(pk=requester.pk).update(is_active=False)
    requester.refresh_from_db()
    found = explain(requester, Verb.TRIGGER, deployment)
    assert found.decision.code == "access.inactive"
    assert [each.code for each in found.ignored if each.grant.group_id] == ["inactive"]


def test_an_explanation_is_the_decision_of_the_launch(stranger: User, deployment: Deployment) -> None:
    """A denial on a value that only the flow's code knows denies: nobody can say that it is another value."""
    given(stranger, "trigger")
    given(stranger, "trigger", effect="deny", predicate={"properties": {"month": {"const": "2026-10"}}}, reason="no")
    assert not decide(by(stranger), Verb.TRIGGER, deployment, {"rows": 1})
    assert explain(stranger, Verb.TRIGGER, deployment, {"rows": 1}).decision.code == "access.denied"
