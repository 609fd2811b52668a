"""Pins: one's own, by name, and never more than one may see."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flows.catalog import sync
from flows.models import Deployment, Environment
from runs import pins
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, Pin
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db


def pinned(person: User) -> list[str]:
    return [f"{row.full_name} in {row.environment}" for row in pins.PINS.rows(by(person))]


def hide(person: User, deployment: Deployment) -> None:
    grants.grant(by=Actor.system(), person=person, verbs=["see"], effect="deny", full_name=deployment.full_name)


def test_a_pin_is_of_one_person(requester: User, viewer: User, deployment: Deployment) -> None:
    pins.pin(deployment, by=by(requester))
    assert pinned(requester) == ["monthly/monthly in dev"]
    assert pinned(viewer) == []
    pins.unpin(deployment, by=by(viewer))
    assert pinned(requester) == ["monthly/monthly in dev"]
    pins.unpin(deployment, by=by(requester))
    assert pinned(requester) == []


def test_twice_is_once(requester: User, deployment: Deployment) -> None:
    for _ in range(2):
        pins.pin(deployment, by=by(requester))
    for _ in range(2):
        pins.unpin(deployment, by=by(requester))
    entries = AuditEntry.objects.order_by("sequence").values_list("verb", "environment", "outcome")
    assert [*entries][-2:] == [("deployment.pin", "dev", "done"), ("deployment.unpin", "dev", "done")]
    assert not AuditEntry.objects.filter(verb__in=["deployment.pin", "deployment.unpin"])[2:].exists()


def test_a_hidden_deployment_shows_through_no_pin(
    requester: User, deployment: Deployment, prod_deployment: Deployment
) -> None:
    for each in (deployment, prod_deployment):
        pins.pin(each, by=by(requester))
    assert len(pinned(requester)) == 2
    hide(requester, deployment)
    assert pinned(requester) == []
    with refused("access.denied"):
        pins.pin(deployment, by=by(requester))
    assert Pin.objects.filter(owner=requester).count() == 2


def test_what_was_never_visible_is_not_pinned(stranger: User, deployment: Deployment) -> None:
    with refused("access.no_grant"):
        pins.pin(deployment, by=by(stranger))
    assert not Pin.objects.exists()


def test_a_scope_sees_no_more_than_it_includes(
    requester: User, deployment: Deployment, prod_deployment: Deployment
) -> None:
    for each in (deployment, prod_deployment):
        pins.pin(each, by=by(requester))
    own = Permissions.of_person(requester)
    narrow = Permissions(requester, own.grants, tuple(grant for grant in own.grants if grant.environment_id))
    rows = pins.PINS.rows(by(requester), permissions=narrow)
    assert [row.environment.slug for row in rows] == ["prod"]


def test_it_survives_a_redeploy(requester: User, dev: Environment, deployment: Deployment, fake: FakePrefect) -> None:
    pins.pin(deployment, by=by(requester))
    fake.remove_deployment(deployment.prefect_id)
    sync.sync(dev)
    assert pinned(requester) == []
    fake.add_deployment(flow_name="monthly", name="monthly")
    sync.sync(dev)
    assert pinned(requester) == ["monthly/monthly in dev"]


def test_there_is_a_limit_and_what_is_gone_makes_room(requester: User, dev: Environment, fake: FakePrefect) -> None:
    for number in range(pins.MOST_PINS + 1):
        fake.add_deployment(flow_name="many", name=f"each-{number:02}")
    sync.sync(dev)
    *those, last = Deployment.objects.select_related("environment").order_by("name")
    for each in those:
        pins.pin(each, by=by(requester))
    with refused("pin.too_many"):
        pins.pin(last, by=by(requester))
    # One that is pinned is no further one.
    pins.pin(those[0], by=by(requester))
    hide(requester, those[3])
    pins.pin(last, by=by(requester))
    assert len(pinned(requester)) == pins.MOST_PINS
    assert not Pin.objects.filter(owner=requester, full_name=those[3].full_name).exists()
