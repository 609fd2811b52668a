"""Whether an act is allowed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flows.access import Forbidden, Holding, Target, decide, demand, who_may
from flows.models import Deployment, Environment, Grant, Verb


def make_deployment(environment: Environment, full_name: str, tags: list[str]) -> Deployment:
    flow, _, name = full_name.partition("/")
    now = timezone.now()
    return Deployment.objects.create(
        environment=environment,
        prefect_id=uuid4(),
        flow_id=uuid4(),
        flow_name=flow,
        name=name,
        full_name=full_name,
        tags=tags,
        schema_fingerprint="0" * 64,
        seen_at=now,
    )


def give(person: User, *verbs: str, **columns: Any) -> Grant:
    return Grant.objects.create(person=person, verbs=list(verbs), granted_by_name="test", **columns)


@pytest.fixture
def etl(dev: Environment) -> Deployment:
    return make_deployment(dev, "etl/nightly", ["crm", "nightly"])


@pytest.fixture
def prod_etl(prod: Environment) -> Deployment:
    return make_deployment(prod, "etl/nightly", ["crm"])


def test_no_grant_no_act(stranger: User, etl: Deployment) -> None:
    decision = decide(stranger, Verb.SEE, etl)
    assert not decision
    assert decision.code == "no-grant"
    assert "stranger" in decision.sentence
    assert "etl/nightly" in decision.sentence


def test_a_grant_allows_its_verbs_only(stranger: User, etl: Deployment) -> None:
    grant = give(stranger, "see", "trigger")
    assert decide(stranger, Verb.TRIGGER, etl).grants == (grant,)
    assert not decide(stranger, Verb.CANCEL, etl)


def test_deny_wins(stranger: User, etl: Deployment) -> None:
    give(stranger, "trigger")
    denial = give(stranger, "trigger", effect="deny", tag="nightly", reason="year-end close")
    decision = decide(stranger, Verb.TRIGGER, etl)
    assert decision.code == "denied"
    assert decision.grants == (denial,)
    assert "year-end close" in decision.sentence


def test_a_denial_without_a_selector_denies_everything(stranger: User, etl: Deployment) -> None:
    give(stranger, "see")
    give(stranger, "see", effect="deny")
    assert not decide(stranger, Verb.SEE, etl)
    assert not Holding.of(stranger).deployments().exists()


@pytest.mark.parametrize(
    ("selector", "covered"),
    [
        ({"tag": "crm"}, True),
        ({"tag": "cr"}, False),
        ({"flow_name": "etl"}, True),
        ({"flow_name": "et"}, False),
        ({"full_name": "etl/nightly"}, True),
        ({"full_name": "etl/daily"}, False),
        ({"flow_name": "etl", "tag": "other"}, False),
        ({"full_name": "etl/%"}, False),
        ({"full_name": "*"}, False),
    ],
)
def test_a_selector_matches_exactly(stranger: User, etl: Deployment, selector: dict[str, str], covered: bool) -> None:
    give(stranger, "see", **selector)
    assert decide(stranger, Verb.SEE, etl).allowed is covered
    assert Holding.of(stranger).deployments().filter(pk=etl.pk).exists() is covered


def test_a_protected_environment_must_be_named(stranger: User, prod: Environment, prod_etl: Deployment) -> None:
    give(stranger, "see", "trigger")
    decision = decide(stranger, Verb.TRIGGER, prod_etl)
    assert not decision
    assert "protected" in decision.sentence
    give(stranger, "trigger", environment=prod)
    assert decide(stranger, Verb.TRIGGER, prod_etl)


def test_a_denial_for_every_environment_reaches_a_protected_one(
    stranger: User, prod: Environment, prod_etl: Deployment
) -> None:
    give(stranger, "trigger", environment=prod)
    give(stranger, "trigger", effect="deny")
    assert not decide(stranger, Verb.TRIGGER, prod_etl)


def test_a_group_s_grant_is_its_members(stranger: User, etl: Deployment) -> None:
    stranger.groups.add(Group.objects.get(name="Operator"))
    assert decide(stranger, Verb.TRIGGER, etl)


def test_a_grant_counts_between_its_dates_only(stranger: User, etl: Deployment) -> None:
    now = timezone.now()
    give(stranger, "see", valid_from=now + timedelta(minutes=1))
    give(stranger, "see", valid_until=now - timedelta(minutes=1))
    assert not decide(stranger, Verb.SEE, etl)
    give(stranger, "see", valid_from=now - timedelta(minutes=1), valid_until=now + timedelta(minutes=1))
    assert decide(stranger, Verb.SEE, etl)


def test_a_revoked_grant_counts_no_more(stranger: User, etl: Deployment) -> None:
    grant = give(stranger, "see")
    Grant.objects.filter(pk=grant.pk).update(revoked_at=timezone.now())
    assert not decide(stranger, Verb.SEE, etl)


def test_a_superuser_administers_but_starts_nothing(admin_user: User, prod_etl: Deployment) -> None:
    assert decide(admin_user, Verb.SEE, prod_etl)
    assert decide(admin_user, Verb.MANAGE, prod_etl)
    for verb in (Verb.TRIGGER, Verb.CANCEL, Verb.APPROVE):
        assert not decide(admin_user, verb, prod_etl)


def test_a_denial_binds_a_superuser_too(admin_user: User, etl: Deployment) -> None:
    give(admin_user, "see", effect="deny")
    assert not decide(admin_user, Verb.SEE, etl)
    assert not Holding.of(admin_user).deployments().exists()


def test_somebody_inactive_may_nothing(asker: User, etl: Deployment) -> None:
    asker.is_active = False
    asker.save()
    assert decide(asker, Verb.SEE, etl).code == "inactive"
    assert not Holding.of(asker).deployments().exists()


def test_demand_carries_the_decision(viewer: User, etl: Deployment) -> None:
    with pytest.raises(Forbidden) as caught:
        demand(viewer, Verb.TRIGGER, etl)
    assert caught.value.decision.code == "no-grant"


def test_who_may_lists_what_bears_on_a_deployment(stranger: User, viewer: User, etl: Deployment) -> None:
    mine = give(stranger, "trigger", tag="crm")
    give(stranger, "trigger", tag="other")
    found = {grant for grant, _ in who_may(Verb.TRIGGER, etl)}
    assert mine in found
    assert {grant.subject for grant in found} == {"stranger", "Operator", "Release manager"}


def test_django_s_permission_questions_are_answered_from_grants(viewer: User, etl: Deployment) -> None:
    assert viewer.has_perm("flows.view_deployment")
    assert viewer.has_perm("flows.view_deployment", etl)
    assert not viewer.has_perm("flows.trigger_deployment")
    assert not viewer.has_perm("flows.delete_deployment")


SELECTORS = st.fixed_dictionaries(
    {
        "verbs": st.sampled_from([["see"], ["trigger"], ["see", "trigger"]]),
        "effect": st.sampled_from(["allow", "allow", "deny"]),
        "tag": st.sampled_from(["", "", "crm", "nightly", "%"]),
        "flow_name": st.sampled_from(["", "", "etl", "train"]),
        "full_name": st.sampled_from(["", "", "etl/nightly", "train/monthly"]),
        "named": st.sampled_from([None, "dev", "prod"]),
    }
)


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(grants=st.lists(SELECTORS, max_size=5), superuser=st.booleans())
def test_the_queryset_and_the_decision_never_disagree(db: None, grants: list[dict[str, Any]], superuser: bool) -> None:
    Grant.objects.all().delete()
    Deployment.objects.all().delete()
    User.objects.all().delete()
    environments = {
        "dev": Environment.objects.get_or_create(slug="dev", api_url="http://dev.test/api")[0],
        "prod": Environment.objects.get_or_create(slug="prod", api_url="http://prod.test/api", is_protected=True)[0],
    }
    deployments = [
        make_deployment(environment, name, tags)
        for environment in environments.values()
        for name, tags in [("etl/nightly", ["crm", "nightly"]), ("etl/daily", []), ("train/monthly", ["crm"])]
    ]
    user = User.objects.create_user("somebody", is_superuser=superuser)
    for spec in grants:
        named = spec.pop("named")
        verbs = spec.pop("verbs")
        give(user, *verbs, environment=environments.get(named), **spec)
    holding = Holding.of(user)
    for verb in (Verb.SEE, Verb.TRIGGER, Verb.MANAGE):
        decided = {d.pk for d in deployments if holding.decide(verb, Target.of(d))}
        assert decided == set(holding.deployments(verb).values_list("pk", flat=True))


@hypothesis_settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(grants=st.lists(SELECTORS, max_size=4), denial=SELECTORS)
def test_a_denial_never_allows_more(db: None, grants: list[dict[str, Any]], denial: dict[str, Any]) -> None:
    environments = {
        "dev": Environment(pk=1, slug="dev"),
        "prod": Environment(pk=2, slug="prod", is_protected=True),
    }
    user = User(username="somebody", is_active=True)

    def grant(spec: dict[str, Any], **columns: Any) -> Grant:
        named = spec["named"]
        rest = {name: value for name, value in spec.items() if name != "named"}
        return Grant(**{**rest, **columns}, environment=environments.get(named))

    before = Holding(user, tuple(grant(spec) for spec in grants))
    after = Holding(user, (*before.grants, grant(denial, effect="deny")))
    for environment in environments.values():
        for name in ("etl/nightly", "train/monthly"):
            target = Target(environment, name.split("/")[0], name, ("crm",))
            if after.decide(Verb.SEE, target):
                assert before.decide(Verb.SEE, target)
