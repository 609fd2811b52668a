"""Whether an action is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flows.models import Deployment, Environment
from runs.access.decisions import (
    Forbidden,
    Permissions,
    Target,
    active_grants,
    decide,
    granted_to,
    permissions_of_each,
    require,
    who_may,
)
from runs.models import Grant, Run, Verb
from runs.models.grant import PART_OF
from tests.cast import by


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
        synced_at=now,
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
    decision = decide(by(stranger), Verb.SEE, etl)
    assert not decision
    assert decision.code == "access.no_grant"
    assert "stranger" in decision.sentence
    assert "etl/nightly" in decision.sentence


def test_a_grant_allows_its_verbs_only(stranger: User, etl: Deployment) -> None:
    grant = give(stranger, "see", "trigger")
    assert decide(by(stranger), Verb.TRIGGER, etl).grants == (grant,)
    assert not decide(by(stranger), Verb.CANCEL, etl)


def test_deny_wins(stranger: User, etl: Deployment) -> None:
    give(stranger, "trigger")
    denial = give(stranger, "trigger", effect="deny", tag="nightly", reason="year-end close")
    decision = decide(by(stranger), Verb.TRIGGER, etl)
    assert decision.code == "access.denied"
    assert decision.grants == (denial,)
    assert "year-end close" in decision.sentence


def test_a_denial_without_a_selector_denies_everything(stranger: User, etl: Deployment) -> None:
    give(stranger, "see")
    give(stranger, "see", effect="deny")
    assert not decide(by(stranger), Verb.SEE, etl)
    assert not Permissions.of_person(stranger).deployments().exists()


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
    assert decide(by(stranger), Verb.SEE, etl).allowed is covered
    assert Permissions.of_person(stranger).deployments().filter(pk=etl.pk).exists() is covered


def test_a_protected_environment_must_be_named(stranger: User, prod: Environment, prod_etl: Deployment) -> None:
    give(stranger, "see", "trigger")
    decision = decide(by(stranger), Verb.TRIGGER, prod_etl)
    assert not decision
    assert "protected" in decision.sentence
    give(stranger, "trigger", environment=prod)
    assert decide(by(stranger), Verb.TRIGGER, prod_etl)


def test_a_denial_for_every_environment_reaches_a_protected_one(
    stranger: User, prod: Environment, prod_etl: Deployment
) -> None:
    give(stranger, "trigger", environment=prod)
    give(stranger, "trigger", effect="deny")
    assert not decide(by(stranger), Verb.TRIGGER, prod_etl)


def test_a_group_s_grant_is_its_members(stranger: User, etl: Deployment) -> None:
    stranger.groups.add(Group.objects.get(name="Operator"))
    assert decide(by(stranger), Verb.TRIGGER, etl)


def test_a_grant_counts_between_its_dates_only(stranger: User, etl: Deployment) -> None:
    now = timezone.now()
    give(stranger, "see", valid_from=now + timedelta(minutes=1))
    give(stranger, "see", valid_until=now - timedelta(minutes=1))
    assert not decide(by(stranger), Verb.SEE, etl)
    give(stranger, "see", valid_from=now - timedelta(minutes=1), valid_until=now + timedelta(minutes=1))
    assert decide(by(stranger), Verb.SEE, etl)


def test_a_revoked_grant_counts_no_more(stranger: User, etl: Deployment) -> None:
    grant = give(stranger, "see")
    Grant.objects.filter(pk=grant.pk).update(revoked_at=timezone.now())
    assert not decide(by(stranger), Verb.SEE, etl)


@pytest.mark.parametrize("start", [None, -1, 1])
@pytest.mark.parametrize("end", [None, -1, 1])
@pytest.mark.parametrize("is_revoked", [False, True])
def test_what_a_person_holds_is_what_is_active(
    stranger: User, viewer: User, start: int | None, end: int | None, is_revoked: bool
) -> None:
    now, group = timezone.now(), Group.objects.create(name="night shift")
    stranger.groups.add(group)
    columns: dict[str, Any] = {
        "verbs": ["see"],
        "granted_by_name": "test",
        "valid_from": None if start is None else now + timedelta(hours=start),
        "valid_until": None if end is None else now + timedelta(hours=end),
        "revoked_at": now if is_revoked else None,
    }
    for subject in ({"person": stranger}, {"group": group}, {"person": viewer}):
        Grant.objects.create(**subject, **columns)
    # `granted_to` is written in SQL, `active_grants` with the ORM: they must say the same.
    theirs = set(active_grants().filter(Q(person=stranger) | Q(group__user=stranger)))
    assert set(granted_to(stranger)) == theirs
    is_active = start != 1 and end != -1 and not is_revoked
    assert len(theirs) == (2 if is_active else 0)


def test_a_superuser_administers_but_starts_nothing(admin_user: User, prod_etl: Deployment) -> None:
    assert decide(by(admin_user), Verb.SEE, prod_etl)
    assert decide(by(admin_user), Verb.MANAGE, prod_etl)
    for verb in (Verb.TRIGGER, Verb.CANCEL, Verb.APPROVE):
        assert not decide(by(admin_user), verb, prod_etl)


def test_a_denial_binds_a_superuser_too(admin_user: User, etl: Deployment) -> None:
    give(admin_user, "see", effect="deny")
    assert not decide(by(admin_user), Verb.SEE, etl)
    assert not Permissions.of_person(admin_user).deployments().exists()


def test_somebody_inactive_may_nothing(requester: User, etl: Deployment) -> None:
    requester.is_active = False
    requester.save()
    assert decide(by(requester), Verb.SEE, etl).code == "access.inactive"
    assert not Permissions.of_person(requester).deployments().exists()


def test_demand_carries_the_decision(viewer: User, etl: Deployment) -> None:
    with pytest.raises(Forbidden) as caught:
        require(by(viewer), Verb.TRIGGER, etl)
    assert caught.value.decision.code == "access.no_grant"


def test_who_may_lists_what_bears_on_a_deployment(stranger: User, viewer: User, etl: Deployment) -> None:
    grant = give(stranger, "trigger", tag="crm")
    give(stranger, "trigger", tag="other")
    found = {grant for grant, _ in who_may(Verb.TRIGGER, etl)}
    assert grant in found
    assert {grant.subject for grant in found} == {"stranger", "Operator", "Release manager"}


def test_django_s_permission_questions_are_answered_from_grants(viewer: User, etl: Deployment) -> None:
    assert viewer.has_perm("flows.view_deployment")
    assert viewer.has_perm("flows.view_deployment", etl)
    assert not viewer.has_perm("flows.trigger_deployment")
    assert not viewer.has_perm("flows.delete_deployment")


SELECTORS = st.fixed_dictionaries(
    {
        "verbs": st.lists(st.sampled_from(Verb.values), min_size=1, max_size=3, unique=True)
        | st.sampled_from([["see"], ["trigger"], ["cancel"]]),
        "effect": st.sampled_from(["allow", "allow", "deny"]),
        "tag": st.sampled_from(["", "", "crm", "nightly", "%"]),
        "flow_name": st.sampled_from(["", "", "etl", "train"]),
        "full_name": st.sampled_from(["", "", "etl/nightly", "train/monthly"]),
        "named": st.sampled_from([None, "dev", "prod"]),
    }
)


def sees(effect: str, **columns: str) -> dict[str, Any]:
    """A grant of dev as `SELECTORS` draws it."""
    blank = {"tag": "", "flow_name": "", "full_name": ""}
    return {**blank, "verbs": ["see"], "effect": effect, "named": "dev", **columns}


@dataclass
class Place:
    """Deployments of two environments, a run of each, and runs that have no deployment."""

    environments: dict[str, Environment]
    deployments: list[Deployment]
    runs: list[Run]


@pytest.fixture
def place(dev: Environment, prod: Environment) -> Place:
    Grant.objects.all().delete()
    deployments = [
        make_deployment(environment, name, tags)
        for environment in (dev, prod)
        for name, tags in [("etl/nightly", ["crm", "nightly"]), ("etl/daily", []), ("train/monthly", ["crm"])]
    ]
    plain = {"state_type": "RUNNING", "synced_at": timezone.now()}
    runs = [
        Run(
            prefect_id=uuid4(),
            environment=each.environment,
            deployment=each,
            access_deployment=each,
            flow_name=each.flow_name,
            **plain,
        )
        for each in deployments
    ]
    # A subflow run: without a deployment, and of another flow than the run that it is part of.
    runs += [
        Run(prefect_id=uuid4(), environment=each.environment, access_deployment=each, flow_name="train", **plain)
        for each in deployments
    ]
    runs += [
        Run(prefect_id=uuid4(), environment=environment, flow_name=flow_name, **plain)
        for environment in (dev, prod)
        for flow_name in ("etl", "train")
    ]
    return Place({"dev": dev, "prod": prod}, deployments, Run.objects.bulk_create(runs))


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(grants=st.lists(SELECTORS, max_size=5), superuser=st.booleans(), active=st.sampled_from([True, True, False]))
# Not left to chance: a denial of some rows, of what is allowed by a grant and to an administrator.
@example(grants=[sees("allow"), sees("deny", full_name="etl/nightly")], superuser=False, active=True)
@example(grants=[sees("deny", tag="crm")], superuser=True, active=True)
def test_the_queryset_and_the_decision_never_disagree(
    place: Place, grants: list[dict[str, Any]], superuser: bool, active: bool
) -> None:
    with transaction.atomic():
        user = User.objects.create(username="somebody", is_superuser=superuser, is_active=active)
        Grant.objects.bulk_create(
            Grant(
                person=user,
                environment=place.environments.get(spec["named"] or ""),
                granted_by_name="test",
                **{name: value for name, value in spec.items() if name != "named"},
            )
            for spec in grants
        )
        permissions = Permissions.of_person(user)
        (alike,) = permissions_of_each([user])
        assert {grant.pk for grant in alike.grants} == {grant.pk for grant in permissions.grants}
        for verb in Verb:
            decided = {each.pk for each in place.deployments if permissions.decide(verb, each)}
            assert decided == set(permissions.deployments(verb).values_list("pk", flat=True))
            decided = {each.pk for each in place.runs if permissions.decide(verb, Target.of_run(each))}
            found = Run.objects.filter(permissions.q(verb, deployment="access_deployment__"))
            assert decided == set(found.values_list("pk", flat=True))
            # Where it is allowed as a whole, it is allowed on every row.
            whole = Run.objects.filter(permissions.whole_environments(verb))
            assert decided >= set(whole.values_list("pk", flat=True))
            if not any(spec["effect"] == "deny" for spec in grants) and permissions.is_administering(verb):
                assert whole.count() == len(place.runs)
        transaction.set_rollback(True)


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

    before = Permissions(user, tuple(grant(spec) for spec in grants))
    after = Permissions(user, (*before.grants, grant(denial, effect="deny")))
    for environment in environments.values():
        for name in ("etl/nightly", "train/monthly"):
            target = Target(environment, name.split("/")[0], name, ("crm",))
            if after.decide(Verb.SEE, target):
                assert before.decide(Verb.SEE, target)


NARROWER = {"properties": {"rows": {"maximum": 5}}}
LOOSER = {"properties": {"rows": {"maximum": 9}}}


@hypothesis_settings(max_examples=100, deadline=None)
@given(
    grants=st.lists(SELECTORS, max_size=4),
    predicate=st.sampled_from([None, LOOSER]),
    values=st.sampled_from([{}, {"rows": 4}, {"rows": 7}, {"rows": 10}, {"rows": None}]),
)
def test_what_binds_a_grant_closer_or_prohibits_more_never_allows_more(
    grants: list[dict[str, Any]], predicate: dict[str, Any] | None, values: dict[str, Any]
) -> None:
    environments = {"dev": Environment(pk=1, slug="dev"), "prod": Environment(pk=2, slug="prod", is_protected=True)}
    user = User(username="somebody", is_active=True)

    def held(bound: dict[str, Any] | None) -> Permissions:
        rows = [
            Grant(
                environment=environments.get(spec["named"] or ""),
                # A condition makes a denial narrower, so it is added to the other one.
                predicate=bound if spec["effect"] == "allow" else None,
                **{name: value for name, value in spec.items() if name != "named"},
            )
            for spec in grants
        ]
        return Permissions(user, tuple(rows))

    wide, close = held(predicate), held(NARROWER)
    for environment in environments.values():
        for name in ("etl/nightly", "train/monthly"):
            target = Target(environment, name.split("/")[0], name, ("crm",))
            for verb in Verb:
                if close.decide(verb, target, values):
                    assert wide.decide(verb, target, values)
                    assert close.decide(verb, target)


@pytest.mark.parametrize(("part", "whole"), list(PART_OF.items()))
def test_a_prohibition_of_the_whole_is_one_of_the_part(
    stranger: User, etl: Deployment, part: Verb, whole: Verb
) -> None:
    give(stranger, part)
    assert decide(by(stranger), part, etl)
    give(stranger, whole, effect="deny")
    assert decide(by(stranger), part, etl).code == "access.denied"
    assert not Permissions.of_person(stranger).deployments(part).exists()
    assert whole in {verb for grant, _ in who_may(part, etl) if grant.effect == "deny" for verb in grant.verbs}


def test_a_prohibition_bound_to_values_holds_for_its_parts_and_for_a_default_nobody_knows(
    stranger: User, etl: Deployment
) -> None:
    never = {"properties": {"force": {"const": True}}}
    give(stranger, "trigger", "rerun")
    give(stranger, "trigger", effect="deny", predicate=never)
    for verb in (Verb.TRIGGER, Verb.RERUN):
        assert decide(by(stranger), verb, etl, {"force": True}).code == "access.denied"
        assert decide(by(stranger), verb, etl, {"force": False})
        assert decide(by(stranger), verb, etl, {})
    etl.parameter_schema = {"properties": {"force": {"type": "boolean"}}}
    assert decide(by(stranger), Verb.TRIGGER, etl, {}).code == "access.denied"
    etl.parameter_schema = {"properties": "nonsense"}
    assert decide(by(stranger), Verb.TRIGGER, etl, {})


MOMENTS = st.none() | st.integers(-100, 100).filter(lambda minutes: minutes != 0)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(begins=MOMENTS, ends=MOMENTS, revoked=st.booleans())
def test_outside_its_dates_a_grant_never_allows(
    stranger: User, etl: Deployment, begins: int | None, ends: int | None, revoked: bool
) -> None:
    now = timezone.now()
    from_, until = (minutes and now + timedelta(minutes=minutes) for minutes in (begins, ends))
    with transaction.atomic():
        give(stranger, "see", valid_from=from_, valid_until=until, revoked_at=now if revoked else None)
        is_within = (begins is None or begins < 0) and (ends is None or ends > 0) and not revoked
        assert decide(by(stranger), Verb.SEE, etl).allowed is is_within
        assert Permissions.of_person(stranger).deployments().exists() is is_within
        transaction.set_rollback(True)


def test_no_sentence_names_nothing(dev: Environment, stranger: User) -> None:
    for target in (Target.whole(dev), Target.of_run(Run(environment=dev))):
        sentence = Permissions.of_person(stranger).decide(Verb.MANAGE, target).sentence
        assert sentence == "stranger has no grant for “manage” on dev."
