"""Create and revoke grants."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flows.models import Deployment, Environment
from runs.access import predicates
from runs.access.decisions import Permissions, Target, decide
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import grants
from runs.models import AuditEntry, Grant, Verb
from tests.cast import by
from tests.refusals import refused

pytestmark = pytest.mark.django_db


def test_a_grant_is_given_recorded_and_bites_at_once(deployment: Deployment, admin_user: User, stranger: User) -> None:
    grants.grant(by=by(admin_user), person=stranger, verbs=["trigger", "see"], tag="crm", reason="new colleague")
    assert decide(by(stranger), Verb.TRIGGER, deployment)
    entry = AuditEntry.objects.get(verb="grant.give")
    assert entry.after["verbs"] == ["see", "trigger"]
    assert (entry.actor_name, entry.reason) == ("administrator", "new colleague")


def test_a_revoked_grant_stays_to_be_read(deployment: Deployment, admin_user: User, stranger: User) -> None:
    row = grants.grant(by=by(admin_user), person=stranger, verbs=["see"])
    grants.revoke(row, by=by(admin_user), reason="left")
    assert not decide(by(stranger), Verb.SEE, deployment)
    row.refresh_from_db()
    assert row.revoked_by_name == "administrator"
    with refused("grant.revoked"):
        grants.revoke(row, by=by(admin_user))


def test_who_does_not_administer_gives_and_takes_nothing(requester: User, stranger: User, admin_user: User) -> None:
    with refused("grant.beyond_own"):
        grants.grant(by=by(requester), person=stranger, verbs=["see"])
    row = grants.grant(by=by(admin_user), person=stranger, verbs=["see"])
    with refused("grant.not_own"):
        grants.revoke(row, by=by(requester))
    assert AuditEntry.objects.filter(outcome="refused").count() == 2


def test_a_grant_that_makes_no_sense_is_refused(admin_user: User, stranger: User) -> None:
    now = timezone.now()
    group = Group.objects.get(name="Operator")
    with refused("grant.subject"):
        grants.grant(by=by(admin_user), person=stranger, group=group, verbs=["see"])
    with refused("grant.subject"):
        grants.grant(by=by(admin_user), verbs=["see"])
    with refused("grant.verbs"):
        grants.grant(by=by(admin_user), person=stranger, verbs=[])
    with refused("grant.verbs"):
        grants.grant(by=by(admin_user), person=stranger, verbs=["fly"])
    with refused("grant.dates"):
        grants.grant(
            by=by(admin_user), person=stranger, verbs=["see"], valid_from=now, valid_until=now - timedelta(days=1)
        )
    assert not Grant.objects.filter(person=stranger).exists()


@pytest.fixture
def deputy(requester: User, prod: Environment) -> User:
    """The requester, who may hand on what they hold in prod."""
    grants.grant(by=Actor.system(), person=requester, verbs=["manage"], environment=prod)
    return requester


@pytest.mark.usefixtures("single_administrator")
def test_who_manages_hands_on_what_they_hold_and_nothing_else(
    deputy: User, stranger: User, prod: Environment, dev: Environment, prod_deployment: Deployment
) -> None:
    grants.grant(
        by=by(deputy), person=stranger, verbs=["trigger"], environment=prod, tag="crm", reason="holiday", confirm="prod"
    )
    assert decide(by(stranger), Verb.TRIGGER, prod_deployment)
    for verbs, environment in ([["approve"], prod], [["trigger"], dev], [["trigger"], None]):
        with refused("grant.beyond_own"):
            grants.grant(by=by(deputy), person=stranger, verbs=verbs, environment=environment)
    with refused("grant.deny"):
        grants.grant(by=by(deputy), person=stranger, verbs=["see"], environment=prod, effect="deny")


def test_nobody_hands_a_grant_on_to_themselves(deputy: User, prod: Environment) -> None:
    with refused("grant.own"):
        grants.grant(by=by(deputy), person=deputy, verbs=["trigger"], environment=prod, reason="to keep it")


@pytest.mark.parametrize("name", ["Operator", "Viewer"])
@pytest.mark.usefixtures("single_administrator")
def test_only_administrators_grant_to_groups_also_to_those_of_others(
    deputy: User, admin_user: User, prod: Environment, name: str
) -> None:
    """The requester is an operator and no viewer: either way the grant would reach people that nobody named."""
    group = Group.objects.get(name=name)
    with refused("grant.group"):
        grants.grant(by=by(deputy), group=group, verbs=["trigger"], environment=prod, reason="all of us")
    given = {"verbs": ["trigger"], "environment": prod, "reason": "all of us", "confirm": "prod"}
    assert grants.grant(by=by(admin_user), group=group, **given)


def test_no_django_permission_makes_an_administrator_of_grants(stranger: User, prod: Environment) -> None:
    """Without `is_superuser`, and with every permission that Django knows, only `manage` counts."""
    stranger.user_permissions.set(Permission.objects.all())
    stranger = User.objects.get(pk=stranger.pk)
    with refused("grant.own"):
        grants.grant(by=by(stranger), person=stranger, verbs=["trigger"], environment=prod, reason="me")
    other = grants.grant(by=Actor.system(), person=stranger, verbs=["see"], environment=prod)
    with refused("grant.not_own"):
        grants.revoke(other, by=by(stranger))
    assert not Permission.objects.filter(codename__in=["add_grant", "change_grant", "delete_grant"]).exists()


def test_what_is_bound_to_values_is_handed_on_bound(admin_user: User, stranger: User, viewer: User) -> None:
    only_eu = {"properties": {"region": {"const": "EU"}}}
    for verbs, predicate in ([["manage"], None], [["trigger"], only_eu]):
        grants.grant(by=by(admin_user), person=stranger, verbs=verbs, predicate=predicate)
    row = grants.grant(
        by=by(stranger), person=viewer, verbs=["trigger"], predicate={"properties": {"rows": {"maximum": 5}}}
    )
    assert predicates.matches(row.predicate, {"region": "EU", "rows": 5})
    for values in ({"region": "US", "rows": 5}, {"region": "EU", "rows": 6}, {"rows": 5}):
        assert not predicates.matches(row.predicate, values)


def test_a_prohibition_of_the_whole_keeps_its_parts_from_being_handed_on(
    admin_user: User, deputy: User, stranger: User, prod: Environment
) -> None:
    grants.grant(by=by(admin_user), person=deputy, verbs=["trigger"], environment=prod, effect="deny", reason="no")
    for verb in ("trigger", "rerun", "trigger later", "backfill"):
        with refused("grant.denied"):
            grants.grant(by=by(deputy), person=stranger, verbs=[verb], environment=prod)


def test_nothing_is_handed_on_for_longer_than_it_is_held(admin_user: User, stranger: User, viewer: User) -> None:
    now = timezone.now()
    until = now + timedelta(days=1)
    grants.grant(by=by(admin_user), person=stranger, verbs=["manage", "see"], valid_until=until)
    for beyond in (None, until + timedelta(seconds=1)):
        with refused("grant.beyond_own"):
            grants.grant(by=by(stranger), person=viewer, verbs=["see"], valid_until=beyond)
    grants.grant(by=by(stranger), person=viewer, verbs=["see"], valid_until=until)


def test_a_condition_must_be_usable_and_its_verb_must_come_with_parameters(admin_user: User, stranger: User) -> None:
    for verbs, predicate, code in (
        (["trigger"], {"properties": {"a": {"$ref": "http://127.0.0.1/"}}}, "grant.condition"),
        (["trigger"], {}, "grant.condition"),
        (["trigger", "cancel"], {"properties": {"a": {}}}, "grant.condition_unbound"),
    ):
        with refused(code):
            grants.grant(by=by(admin_user), person=stranger, verbs=verbs, predicate=predicate)


HANDED_ON = {
    "verbs": st.sampled_from(
        [["see"], ["trigger"], ["rerun"], ["trigger", "rerun"], ["see", "manage"], ["trigger", "manage"]]
    ),
    "place": st.sampled_from([None, None, None, "dev", "prod"]),
    "tag": st.sampled_from(["", "", "", "crm"]),
    "flow_name": st.sampled_from(["", "", "", "etl"]),
    "full_name": st.sampled_from(["", "", "", "etl/nightly", "train/monthly"]),
    "valid_from": st.sampled_from([None, None, None, -2, 1]),
    "valid_until": st.sampled_from([None, None, None, 1, 3]),
    "predicate": st.sampled_from(
        [None, None, {"properties": {"rows": {"maximum": 5}}}, {"properties": {"force": {"not": {"const": True}}}}]
    ),
}
VALUES = [{}, {"rows": 5}, {"rows": 6, "force": False}, {"rows": 5, "force": False}, {"rows": 5, "force": True}, None]


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    held=st.lists(
        st.fixed_dictionaries({**HANDED_ON, "effect": st.sampled_from(["allow"] * 6 + ["deny"])}),
        min_size=1,
        max_size=4,
    ),
    manages=st.sampled_from([[None, "prod"], [None, "prod"], ["dev"], ["prod"]]),
    handed=st.lists(
        st.tuples(st.integers(0, 3), st.fixed_dictionaries({}, optional=HANDED_ON)), min_size=1, max_size=4
    ),
)
def test_whoever_is_handed_a_grant_never_may_what_its_giver_may_not(
    dev: Environment, prod: Environment, held: list[Any], manages: list[Any], handed: list[Any]
) -> None:
    now = timezone.now()
    places = {"dev": dev, "prod": prod}

    def columns(spec: dict[str, Any]) -> dict[str, Any]:
        times = {each: spec[each] and now + timedelta(days=spec[each]) for each in ("valid_from", "valid_until")}
        is_bound = bool({"see", "manage"} & set(spec["verbs"]))
        rest = {key: value for key, value in spec.items() if key not in ("place", "valid_from", "valid_until")}
        bound = {"predicate": None} if is_bound else {}
        return rest | bound | times | {"environment": places.get(spec["place"] or "")}

    with transaction.atomic():
        giver, receiver = User.objects.create(username="giver"), User.objects.create(username="receiver")
        for place in manages:
            Grant.objects.create(person=giver, verbs=["manage"], environment=places.get(place), granted_by_name="t")
        for spec in held:
            Grant.objects.create(person=giver, granted_by_name="t", **columns(spec))
        given_on = 0
        for index, otherwise in handed:
            spec = {**held[index % len(held)], **otherwise, "effect": "allow"}
            with contextlib.suppress(Refused):
                grants.grant(by=by(giver), person=receiver, reason="r", **columns(spec))
                given_on += 1
        event("given" if given_on else "refused")
        for day in (0.5, 2, 4):
            with clock_at(now + timedelta(days=day)):
                theirs, permissions = Permissions.of_person(receiver), Permissions.of_person(giver)
            for place, name, tags in itertools.product(
                places.values(), ["etl/nightly", "etl/daily", "train/monthly"], [(), ("crm",)]
            ):
                target = Target(place, name.partition("/")[0], name, tags)
                for verb, values in itertools.product((Verb.SEE, Verb.TRIGGER, Verb.RERUN, Verb.MANAGE), VALUES):
                    if theirs.decide(verb, target, values):
                        assert permissions.decide(verb, target, values), (verb, target, values)
        transaction.set_rollback(True)


@contextlib.contextmanager
def clock_at(moment: datetime) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timezone, "now", lambda: moment)
        yield
