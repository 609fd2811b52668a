"""Servers and the environments on them: one row a server, one active environment, and a handover between two."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from flows.catalog import health
from flows.models import Deployment, Environment, Health, Server
from portal.ui import versions as ui_versions
from portal.ui.environment_status import status_of
from runs import tasks
from runs.governance import configuration
from runs.models import AuditEntry, RowVersion, Run
from tests.cast import by, make_environment
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db

SECRET = "robot:opensesame"


@pytest.fixture
def spare(dev: Environment) -> Environment:
    """Other rules over the server of dev, not in force."""
    return make_environment("spare", server=dev.server, is_active=False)


def fresh(environment: Environment) -> Environment:
    return Environment.objects.select_related("server__health").get(pk=environment.pk)


def switch(environment: Environment, person: User, *, is_active: bool) -> None:
    changed = fresh(environment)
    changed.is_active = is_active
    configuration.save_environment(changed, by=by(person))


def hand_over(before: Environment, after: Environment, person: User) -> None:
    switch(before, person, is_active=False)
    switch(after, person, is_active=True)


# One row a server


def test_the_database_refuses_a_second_active_environment_on_a_server(dev: Environment) -> None:
    with pytest.raises(IntegrityError, match="one_active_environment_per_server"), transaction.atomic():
        make_environment("second", server=dev.server)
    make_environment("third", server=dev.server, is_active=False)
    with pytest.raises(IntegrityError, match="one_active_environment_per_server"), transaction.atomic():
        Environment.objects.update(is_active=True)


@pytest.mark.parametrize("address", ["http://dev.test/api", "http://dev.test/api/", "http://DEV.test:80/api"])
def test_environments_with_one_address_are_on_one_server(dev: Environment, admin_user: User, address: str) -> None:
    second = Environment(slug="second", server=Server(api_url=address), is_active=False)
    configuration.save_environment(second, by=by(admin_user))
    assert fresh(second).server_id == dev.server_id
    assert Server.objects.count() == 1


def test_a_server_moves_with_its_only_environment(dev: Environment, admin_user: User) -> None:
    health.record(dev.server, Health.State.UP, "")
    dev.server.api_url = "http://elsewhere.test/api"
    configuration.save_environment(dev, by=by(admin_user))
    assert Health.objects.get().server == Server.objects.get(api_url="http://elsewhere.test/api")


def test_an_environment_that_moves_leaves_the_others_where_they_are(
    dev: Environment, spare: Environment, admin_user: User
) -> None:
    spare.server.api_url = "http://elsewhere.test/api"
    configuration.save_environment(spare, by=by(admin_user))
    assert fresh(spare).server.api_url == "http://elsewhere.test/api"
    assert fresh(dev).server.api_url == "http://dev.test/api"


def test_a_server_without_environments_is_deleted_with_its_health(
    dev: Environment, prod: Environment, admin_user: User
) -> None:
    left = dev.server
    health.record(left, Health.State.UP, "")
    dev.server = Server(api_url=prod.server.api_url)
    dev.is_active = False
    configuration.save_environment(dev, by=by(admin_user))
    assert fresh(dev).server_id == prod.server_id
    assert not Server.objects.filter(pk=left.pk).exists()


def test_the_last_environment_takes_its_server_along(dev: Environment, spare: Environment, admin_user: User) -> None:
    configuration.delete_environment(spare, by=by(admin_user))
    assert Server.objects.get() == dev.server
    configuration.delete_environment(dev, by=by(admin_user))
    assert not Server.objects.exists()


# Who may change it


@pytest.mark.usefixtures("single_administrator")
def test_a_changed_server_is_confirmed_with_the_name_of_each_protected_environment_on_it(
    prod: Environment, admin_user: User
) -> None:
    Environment.objects.filter(pk=prod.pk).update(is_active=False)
    second = Environment(slug="second", server=Server(api_url=prod.server.api_url, credential_kind="basic"))
    second.server.credential = SECRET
    with refused("loosening.confirm"):
        configuration.save_environment(second, by=by(admin_user), reason="r")
    assert not bytes(Server.objects.get().sealed_credential)
    configuration.save_environment(second, by=by(admin_user), reason="r", confirm="prod")
    entry = AuditEntry.objects.latest("sequence")
    assert [(each["kind"], each["environment"]) for each in entry.after["loosened"]] == [
        ("environment.credential_kind", "prod"),
        ("environment.sealed_credential", "prod"),
    ]


def test_the_rules_of_an_environment_change_without_its_server(
    dev: Environment, spare: Environment, admin_user: User
) -> None:
    """What another environment on the server needs concerns nobody here."""
    Environment.objects.filter(pk=spare.pk).update(is_protected=True)
    dev.needs_approval = True
    configuration.save_environment(dev, by=by(admin_user))
    assert "loosened" not in AuditEntry.objects.latest("sequence").after


def test_no_version_and_no_entry_holds_the_credential(dev: Environment, spare: Environment, admin_user: User) -> None:
    for environment in (Environment(slug="new", server=Server(api_url="http://new.test/api")), dev, spare):
        environment.server.credential_kind, environment.server.credential = "basic", SECRET
        configuration.save_environment(environment, by=by(admin_user))
    sealed = [bytes(each) for each in Server.objects.values_list("sealed_credential", flat=True)]
    kept = repr([*RowVersion.objects.values_list("data"), *AuditEntry.objects.values_list("before", "after")])
    assert len(set(sealed)) == 2
    for hidden in ("opensesame", "sealed_credential", *(each.hex() for each in sealed), *map(bytes.decode, sealed)):
        assert hidden not in kept
    assert RowVersion.objects.filter(table_name="flows_server", label="sealed_credential").exists()


def test_the_page_of_an_environment_has_the_versions_of_its_server(dev: Environment, admin_user: User) -> None:
    dev.server.ui_url = "http://ui.test"
    configuration.save_environment(dev, by=by(admin_user))
    newest = ui_versions.versions_of(dev)[0]
    assert (newest.title, newest.who) == (ui_versions.SERVER_LABELS["update"], "administrator")
    assert [(each.path, each.after) for each in newest.changes] == [("ui_url", "http://ui.test")]


# Health, and which environment a server was read into


def test_the_health_of_a_server_is_that_of_its_environment(dev: Environment) -> None:
    health.record(dev.server, Health.State.DOWN, "No answer.")
    assert (status_of(fresh(dev)).state, status_of(fresh(dev)).message) == ("down", "No answer.")


def test_another_environment_takes_a_server_over_and_is_read_from_the_beginning(
    deployment: Deployment, dev: Environment, spare: Environment, fake: FakePrefect, admin_user: User
) -> None:
    # 1. One run that ended long before the handover.
    run = fake.add_run(deployment.prefect_id, state_type="COMPLETED")
    tasks.sync(dev.server_id)
    assert health.is_synced(dev)
    assert health.runs_synced_at(dev)
    # 2. The times of dev say nothing about the other.
    hand_over(dev, spare, admin_user)
    assert not health.is_synced(spare)
    assert health.runs_synced_at(spare) is None
    assert (status_of(fresh(spare)).synced_at, status_of(fresh(spare)).runs_synced_at) == (None, None)
    # 3. Its first sync reads the deployments and all runs.
    tasks.sync(dev.server_id)
    assert health.is_synced(spare)
    assert status_of(fresh(spare)).runs_synced_at
    assert Deployment.objects.get(environment=spare).prefect_id == deployment.prefect_id
    assert Run.objects.get(environment=spare).prefect_id == run.id
    # 4. And what dev has stays, and is not read any more.
    fake.add_run(deployment.prefect_id, state_type="RUNNING")
    tasks.sync(dev.server_id)
    assert (Run.objects.filter(environment=dev).count(), Run.objects.filter(environment=spare).count()) == (1, 2)
    assert not health.is_synced(dev)


def test_the_first_of_two_cannot_come_back_before_the_second_is_disabled(
    dev: Environment, spare: Environment, admin_user: User
) -> None:
    hand_over(dev, spare, admin_user)
    with refused("environment.same_server"):
        switch(dev, admin_user, is_active=True)
    hand_over(spare, dev, admin_user)
    assert list(Environment.objects.filter(is_active=True)) == [dev]


def test_a_server_without_an_active_environment_is_not_read(dev: Environment, fake: FakePrefect) -> None:
    fake.add_deployment(flow_name="monthly", name="monthly")
    Environment.objects.update(is_active=False)
    tasks.sync(dev.server_id)
    assert not Deployment.objects.exists()
