"""Flows through the API, the client and its command."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User

from flows.catalog import sync
from flows.models import Deployment, Environment
from tests.fakes.prefect import FakePrefect
from tests.portal.api.programs import Programs
from tests.portal.client.in_process import Commands, Portals

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def flows(dev: Environment, deployment: Deployment, prod_deployment: Deployment, fake: FakePrefect) -> None:
    for name in ("alpha", "beta"):
        for number in range(2):
            fake.add_deployment(flow_name=name, name=f"each-{number}", tags=(name,))
    sync.sync(dev)


def test_flows_are_listed_and_read(viewer: User, requester: User, stranger: User, program: Programs) -> None:
    caller = program(viewer)
    first = caller.get("/flows?limit=2").body
    second = caller.get(f"/flows?limit=2&cursor={first['next']}").body
    assert [row["name"] for row in first["items"] + second["items"]] == ["alpha", "beta", "monthly"]
    assert second["next"] is None
    assert [row["name"] for row in caller.get("/flows?tag=beta&fields=name").body["items"]] == ["beta"]
    assert caller.get("/flows?environment=prod").body["items"] == []
    assert [each["environment"] for each in caller.get("/flows/monthly").body["environments"]] == ["dev"]
    assert [row["name"] for row in program(requester).get("/flows?environment=prod").body["items"]] == ["monthly"]
    assert caller.get("/flows/none").status == 404
    assert program(stranger).get("/flows/monthly").status == 404
    assert program(stranger).get("/flows").body["items"] == []


def test_the_client_and_its_command_read_them(viewer: User, portal: Portals, command: Commands) -> None:
    with portal(viewer) as client:
        assert [flow.name for flow in client.flows("dev", search="a")] == ["alpha", "beta"]
        assert client.flow("alpha").environments[0].deployments == 2
    assert "alpha" in command(viewer, "flows", "-e", "dev").out
    assert "dev" in command(viewer, "flows", "alpha").out
    assert "no deployment there" in command(viewer, "flows", "alpha", "-e", "prod").out
    assert json.loads(command(viewer, "flows", "alpha", "--json").out)["name"] == "alpha"
    assert command(viewer, "flows", "none").code == 3
