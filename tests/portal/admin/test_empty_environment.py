"""An environment without deployments leads to the command that deploys, wherever somebody looks for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from flows.catalog import health, sync
from flows.models import Deployment, Environment
from runs import desk
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
COMMAND = "python -m flows.deploy"
LIST = "admin:flows_deployment_changelist"


@pytest.fixture
def empty(dev: Environment, fake: FakePrefect) -> Environment:
    """A server that was read and has no deployments."""
    health.check(dev.server)
    sync.sync(dev)
    return dev


def is_told(page: str) -> bool:
    return "no_deployments" in attributes(page, "data-code") and COMMAND in page


@pytest.mark.parametrize("query", ["", "?environment=dev"])
def test_the_list(
    empty: Environment, prod_deployment: Deployment, requester: User, viewer: User, login: Login, query: str
) -> None:
    page = login(viewer).get(reverse(LIST) + query).content.decode()
    assert is_told(page)


def test_the_list_with_the_filter_of_an_empty_environment_beside_a_full_one(
    empty: Environment, prod_deployment: Deployment, requester: User, login: Login
) -> None:
    client = login(requester)
    assert is_told(client.get(reverse(LIST) + "?environment=dev").content.decode())
    for query in ("", "?environment=prod", "?environment=prod&q=nosuch", "?q=nosuch"):
        page = client.get(reverse(LIST) + query).content.decode()
        assert not is_told(page), query
    assert "no_results" in attributes(page, "data-code")


@pytest.mark.parametrize("who", ["viewer", "admin_user"])
def test_the_page_of_the_environment(
    empty: Environment, login: Login, who: str, request: pytest.FixtureRequest
) -> None:
    client = login(request.getfixturevalue(who))
    assert is_told(client.get(reverse("admin:flows_environment_change", args=[empty.pk])).content.decode())


def test_the_overview(empty: Environment, viewer: User, login: Login) -> None:
    assert is_told(login(viewer).get(reverse("admin:index")).content.decode())


def test_an_environment_with_deployments_says_nothing_of_it(deployment: Deployment, viewer: User, login: Login) -> None:
    client, place = login(viewer), deployment.environment
    for address in (reverse("admin:index"), reverse("admin:flows_environment_change", args=[place.pk])):
        assert not is_told(client.get(address).content.decode())


def test_monitoring(empty: Environment, viewer: User, login: Login) -> None:
    page = login(viewer).get(reverse("monitoring")).content.decode()
    assert "not_deployed" in attributes(page, "data-code")
    assert COMMAND in page


def test_the_command_that_lists(empty: Environment, viewer: User, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--env", "dev"], ["--env", "dev", "--as", "viewer"], []):
        call_command("flows", *arguments)
        assert COMMAND in capsys.readouterr().out


def test_the_command_that_triggers(empty: Environment, requester: User, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call_command("trigger", "dev", "heartbeat", "--as", "requester")
    assert ended.value.code == 3
    told = capsys.readouterr().err
    assert COMMAND in told
    assert "deployment.unknown" in told
    assert "  " not in told


def test_from_python(empty: Environment) -> None:
    with pytest.raises(desk.NotVisible, match=COMMAND):
        desk.deployment("dev", "heartbeat")
