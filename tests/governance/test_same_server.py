"""One Prefect server is one active environment: a second one would apply other rules to it."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flows.catalog import health, sync
from flows.catalog.same_server import SameServer
from flows.models import Deployment, Environment, Server
from runs import tasks
from runs.governance import configuration
from runs.mirror import follower
from runs.models import AuditEntry, Run
from tests.background import notices
from tests.cast import FAKES, by, make_environment
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import message_codes
from tests.refusals import refused

pytestmark = pytest.mark.django_db
FORM = {"position": "0", "credential_kind": "none", "is_active": "on"}
FORM |= {"approval_minutes": "480", "independence_hours": "24"}
FORM |= dict.fromkeys(["pending_minutes", "late_minutes", "silent_minutes", "cancelling_minutes"], "0")
FORM |= dict.fromkeys(["keep_runs_days", "keep_events_days"], "0")


@pytest.fixture
def sandbox(prod_deployment: Deployment, prod_fake: FakePrefect) -> Environment:
    """A second way to the server of prod, by another name of the same machine."""
    environment = make_environment("sandbox", api_url="http://other-name.test/api")
    FAKES[environment.server.api_url] = prod_fake
    return environment


@pytest.mark.parametrize(
    "address", ["http://prod.test/api", "http://prod.test/api/", "http://PROD.test:80/api", "http://prod.test./api"]
)
def test_the_address_of_another_environment_is_refused(prod: Environment, admin_user: User, address: str) -> None:
    with refused("environment.same_server"):
        configuration.save_environment(Environment(slug="sandbox", server=Server(api_url=address)), by=by(admin_user))
    assert list(Environment.objects.values_list("slug", flat=True)) == ["prod"]


def test_the_form_tells_which_environment_it_is(
    prod: Environment, login: Callable[[User], Client], admin_user: User
) -> None:
    answer = login(admin_user).post(
        "/admin/flows/environment/add/", {**FORM, "slug": "sandbox", "api_url": prod.server.api_url}, follow=True
    )
    assert message_codes(answer) == ["environment.same_server"]
    assert AuditEntry.objects.get(verb="environment.create").outcome == AuditEntry.Outcome.REFUSED


@pytest.mark.parametrize(
    "address", ["http://prod.test/other/api", "https://prod.test/api", "http://prod.test:4200/api"]
)
def test_another_address_is_taken(prod: Environment, admin_user: User, address: str) -> None:
    configuration.save_environment(Environment(slug="sandbox", server=Server(api_url=address)), by=by(admin_user))
    assert Environment.objects.filter(slug="sandbox").exists()


def test_a_disabled_environment_may_have_the_address(prod: Environment, admin_user: User) -> None:
    spare = Environment(slug="spare", server=Server(api_url=prod.server.api_url), is_active=False)
    configuration.save_environment(spare, by=by(admin_user))
    spare.is_active = True
    with refused("environment.same_server"):
        configuration.save_environment(spare, by=by(admin_user))


def test_another_name_of_the_server_offers_no_deployment(
    sandbox: Environment, prod: Environment, admin_user: User
) -> None:
    for _ in range(2):
        tasks.sync(sandbox.server_id)
    assert not Deployment.objects.filter(environment=sandbox).exists()
    assert set(Environment.objects.filter(is_active=True)) == {prod}
    entry = AuditEntry.objects.get(verb="environment.change")
    assert (entry.environment, entry.actor_name, entry.after) == ("sandbox", "portal", {"is_active": False})
    assert "prod" in health.health_of(sandbox.server).sync_message
    assert list(notices().values_list("person", "target_id")) == [(admin_user.pk, str(sandbox.pk))]


def test_a_sync_by_hand_is_refused_too_and_disables_nobody(sandbox: Environment, prod: Environment) -> None:
    tasks.sync(sandbox.server_id)
    # Disabled and protected: it must not push out the environment that is in force.
    Environment.objects.filter(pk=sandbox.pk).update(is_protected=True)
    Environment.objects.filter(pk=prod.pk).update(is_protected=False)
    tasks.sync(sandbox.server_id)
    with pytest.raises(SameServer):
        sync.sync(sandbox)
    assert set(Environment.objects.filter(is_active=True)) == {prod}
    assert AuditEntry.objects.filter(verb="environment.change").count() == 1


def test_no_run_is_seen_before_the_server_is_known(sandbox: Environment, prod_fake: FakePrefect) -> None:
    (deployment,) = prod_fake.deployments()
    run = prod_fake.add_run(deployment.id, state_type="RUNNING")
    follower.sweep(sandbox)
    follower.refresh_state(sandbox, {run.id})
    assert not Run.objects.filter(environment=sandbox).exists()


@pytest.mark.parametrize("column", ["api_url", "credential"])
def test_a_changed_connection_is_unknown_again(
    deployment: Deployment, dev: Environment, admin_user: User, column: str
) -> None:
    assert health.is_synced(dev)
    dev.colour = "blue"
    configuration.save_environment(dev, by=by(admin_user))
    assert health.is_synced(dev)
    if column == "api_url":
        dev.server.api_url = "http://elsewhere.test/api"
    else:
        dev.server.credential_kind, dev.server.credential = "key", uuid.uuid4().hex
    configuration.save_environment(dev, by=by(admin_user))
    assert not health.is_synced(dev)


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True)])
def test_of_two_that_were_one_server_the_protected_stays(db: None, first: bool, second: bool) -> None:
    """As in a portal that was set up before: both have the deployments already."""
    both = [
        make_environment(slug, is_protected=is_protected)
        for slug, is_protected in [("first", first), ("second", second)]
    ]
    fake = FakePrefect()
    fake.add_deployment(flow_name="monthly", name="monthly")
    for environment in both:
        FAKES[environment.server.api_url] = fake
        Environment.objects.exclude(pk=environment.pk).update(is_active=False)
        sync.sync(environment)
    Environment.objects.update(is_active=True)
    tasks.sync(both[0].server_id)
    assert [each.is_protected for each in Environment.objects.filter(is_active=True)] == [True]
