"""An actor with a scope can do what both its own grants and those of the person it acts for allow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flows.models import Deployment, Environment
from runs import requests
from runs.access.decisions import Forbidden, Permissions, Target, decide
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import configuration, grants, policies
from runs.models import Grant, Policy, RunRequest, Verb
from tests.cast import by
from tests.runs.access.test_decisions import SELECTORS, Place, give, place

__all__ = ["place"]


def scoped(user: User, *rows: Grant) -> Actor:
    return replace(by(user), scope=rows)


def limit(*verbs: str, **columns: Any) -> Grant:
    return Grant(verbs=list(verbs), **columns)


def test_the_scope_limits_the_person(requester: User, deployment: Deployment, dev: Environment) -> None:
    assert decide(by(requester), Verb.TRIGGER, deployment)
    assert decide(scoped(requester, limit("trigger", environment=dev)), Verb.TRIGGER, deployment)
    assert decide(scoped(requester, limit("see", environment=dev)), Verb.TRIGGER, deployment).code == "access.scope"
    assert decide(scoped(requester), Verb.SEE, deployment).code == "access.scope"


def test_the_scope_adds_nothing(viewer: User, deployment: Deployment, dev: Environment) -> None:
    actor = scoped(viewer, limit("trigger", environment=dev))
    assert decide(actor, Verb.TRIGGER, deployment).code == "access.no_grant"


def test_what_the_person_loses_the_actor_loses_at_once(stranger: User, deployment: Deployment) -> None:
    granted = give(stranger, "trigger", environment=deployment.environment)
    actor = scoped(stranger, limit("trigger", environment=deployment.environment))
    assert decide(actor, Verb.TRIGGER, deployment)
    grants.revoke(granted, by=Actor.system())
    assert not decide(actor, Verb.TRIGGER, deployment)


def test_both_conditions_on_values_count(stranger: User, deployment: Deployment, dev: Environment) -> None:
    give(stranger, "trigger", environment=dev, predicate={"properties": {"rows": {"maximum": 9}}})
    actor = scoped(stranger, limit("trigger", environment=dev, predicate={"properties": {"rows": {"minimum": 5}}}))
    allowed = [rows for rows in (4, 5, 9, 10) if decide(actor, Verb.TRIGGER, deployment, {"rows": rows})]
    assert allowed == [5, 9]
    (condition,) = Permissions.of(actor).conditions(Verb.TRIGGER, deployment)
    assert condition["allOf"] == [{"properties": {"rows": {"maximum": 9}}}, {"properties": {"rows": {"minimum": 5}}}]


def test_a_service_refuses_what_is_outside_the_scope(requester: User, deployment: Deployment, dev: Environment) -> None:
    actor = scoped(requester, limit("see", environment=dev))
    with pytest.raises(Forbidden) as refused:
        requests.submit(deployment, {"month": "2026-10"}, by=actor)
    assert refused.value.code == "access.scope"
    assert not RunRequest.objects.exists()


def test_an_administrator_with_a_scope_configures_nothing(admin_user: User, dev: Environment) -> None:
    actor = scoped(admin_user, limit(*Verb.values))
    assert decide(actor, Verb.SEE, Target.whole(dev))
    for act in (
        lambda: configuration.save_environment(dev, by=actor),
        lambda: policies.save_policy(Policy(name="strict"), by=actor),
    ):
        with pytest.raises(Refused) as refused:
            act()
        assert refused.value.code == "access.administrators_only"


def test_nobody_delegates_more_than_their_scope(stranger: User, viewer: User, dev: Environment) -> None:
    give(stranger, "manage", "see", "trigger", environment=dev)
    actor = scoped(stranger, limit("manage", "see", environment=dev))
    grants.grant(by=actor, verbs=["see"], person=viewer, environment=dev)
    with pytest.raises(Refused) as refused:
        grants.grant(by=actor, verbs=["trigger"], person=viewer, environment=dev)
    assert refused.value.code == "grant.beyond_own"


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(own=st.lists(SELECTORS, max_size=4), scope=st.lists(SELECTORS, max_size=4), superuser=st.booleans())
def test_scope_is_the_intersection_for_decisions_and_querysets(
    place: Place,
    own: list[dict[str, Any]],
    scope: list[dict[str, Any]],
    superuser: bool,
) -> None:
    def rows(specs: list[dict[str, Any]]) -> tuple[Grant, ...]:
        return tuple(
            Grant(
                environment=place.environments.get(spec["named"] or ""),
                **{name: value for name, value in spec.items() if name != "named"},
            )
            for spec in specs
        )

    with transaction.atomic():
        user = User.objects.create(username="somebody", is_superuser=superuser)
        whole = Permissions(user, rows(own))
        as_person = Permissions(User(username="nobody"), rows(scope))
        both = Permissions(user, rows(own), rows(scope))
        for verb in Verb:
            decided = {each.pk for each in place.deployments if both.decide(verb, each)}
            assert decided == {
                each.pk for each in place.deployments if whole.decide(verb, each) and as_person.decide(verb, each)
            }
            assert decided == set(both.deployments(verb).values_list("pk", flat=True))
            assert not decided or both.can_any(verb)
        assert set(both.environments()) <= set(whole.environments())
        transaction.set_rollback(True)
