"""An environment without deployments leads to the command that deploys, wherever somebody looks for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.catalog import health, sync
from flows.models import Deployment, Environment
from runs import names
from runs.names import NotVisible
from tests.fakes.prefect import FakePrefect
from tests.portal.client.in_process import Commands
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


def test_the_client_that_runs(empty: Environment, requester: User, command: Commands) -> None:
    ended = command(requester, "run", "heartbeat", "-e", "dev")
    assert ended.code == 3
    assert COMMAND in ended.err
    assert "deployment.unknown" in ended.err
    assert "  " not in ended.err


def test_from_python(empty: Environment) -> None:
    with pytest.raises(NotVisible, match=COMMAND):
        names.deployment("dev", "heartbeat")
