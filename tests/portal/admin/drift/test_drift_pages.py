"""Environment drift on pages, in the API and on the command line: who sees which of it, and what is hidden."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows import parameters
from flows.catalog import sync
from flows.models import Deployment, Environment
from runs.actors import Actor
from runs.drift import pairs
from runs.governance import grants
from runs.models import Drift, Verb
from tests.cast import SCHEMA, person
from tests.fakes.prefect import FakePrefect
from tests.portal import query_counts
from tests.portal.api.programs import Programs
from tests.portal.client.in_process import Commands

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
LIST = "admin:runs_drift_changelist"


@pytest.fixture
def drifted(
    dev: Environment,
    prod: Environment,
    fake: FakePrefect,
    prod_fake: FakePrefect,
    deployment: Deployment,
    prod_deployment: Deployment,
) -> None:
    """`monthly/monthly` and `covert/covert` differ between dev and prod; `alone/alone` is in dev only."""
    wider = {**SCHEMA, "properties": {**SCHEMA["properties"], "region": {"type": "string", "default": "EU"}}}
    defaults = {"month": "2026-10", "token": "dev-secret"}
    fake.change_deployment(
        deployment.prefect_id, version="2<script>", parameter_schema=wider, parameter_defaults=defaults
    )
    prod_fake.change_deployment(
        prod_deployment.prefect_id, parameter_defaults={"month": "2026-09", "token": "prod-secret"}
    )
    for one, version in ((fake, "1"), (prod_fake, "2")):
        one.add_deployment("covert", "covert", version=version)
    fake.add_deployment("alone", "alone")
    for environment in (dev, prod):
        sync.sync(environment)
    pairs.refresh()


@pytest.fixture
def narrow(dev: Environment, prod: Environment) -> User:
    """Sees `monthly/monthly` in both, of `covert/covert` only that in dev; parameters of neither."""
    user = person("narrow")
    for environment, name in ((dev, "monthly/monthly"), (prod, "monthly/monthly"), (dev, "covert/covert")):
        grants.grant(by=Actor.system(), person=user, verbs=["see"], environment=environment, full_name=name)
    return user


def names(client: Client, query: str = "") -> set[str]:
    return {row.left_name for row in client.get(f"{reverse(LIST)}{query}").context["cl"].result_list}


def page_of(deployment: Deployment) -> str:
    return reverse("admin:flows_deployment_drift", args=[deployment.pk])


def cells(client: Client, deployment: Deployment) -> dict[str, Any]:
    """The cells of the second column by kind."""
    rows = client.get(page_of(deployment)).context["rows"]
    return {row.kind.value: row.cells[1] for row in rows}


@pytest.mark.usefixtures("drifted")
def test_one_sees_pairs_of_which_one_sees_both(
    requester: User, narrow: User, viewer: User, stranger: User, login: Login
) -> None:
    assert names(login(requester)) == {"monthly/monthly", "covert/covert"}
    assert names(login(narrow)) == {"monthly/monthly"}
    # Sees dev only.
    assert names(login(viewer)) == set()
    assert login(stranger).get(reverse(LIST)).status_code == 403
    hidden = Drift.objects.get(left_name="covert/covert")
    assert login(narrow).get(reverse("admin:runs_drift_change", args=[hidden.pk])).status_code == 404


@pytest.mark.usefixtures("drifted")
def test_a_deployment_that_is_seen_in_one_environment_has_no_trace_of_others(
    narrow: User, viewer: User, stranger: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    covert = Deployment.objects.get(environment=deployment.environment, full_name="covert/covert")
    for user, row in ((narrow, covert), (viewer, deployment)):
        client = login(user)
        page = client.get(page_of(row)).content.decode()
        assert "data-empty" in page
        assert "prod" not in page
        assert 'id="neighbours"' not in client.get(f"/admin/flows/deployment/{row.pk}/change/").content.decode()
    assert login(viewer).get(page_of(prod_deployment)).status_code == 404
    assert login(stranger).get(page_of(deployment)).status_code == 404


@pytest.mark.usefixtures("drifted")
def test_filters_and_search(requester: User, login: Login) -> None:
    client = login(requester)
    assert names(client, "?kind=schema") == {"monthly/monthly"}
    assert names(client, "?kind=version&kind=schema") == {"monthly/monthly", "covert/covert"}
    assert names(client, "?kind=tags") == set()
    assert names(client, "?between=dev,prod&q=cov") == {"covert/covert"}
    assert names(client, "?between=dev,staging") == set()


@pytest.mark.usefixtures("drifted")
def test_the_page_marks_what_differs_and_unfolds_it(
    requester: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    client = login(requester)
    found = cells(client, deployment)
    assert {kind for kind, cell in found.items() if cell.differs} == {"version", "schema", "defaults"}
    paths = {each.path for each in found["schema"].changes}
    assert paths == {"properties.region.type", "properties.region.default"}
    (default,) = found["defaults"].changes
    assert (default.path, default.before, default.after) == ("month", "2026-10", "2026-09")
    page = client.get(page_of(deployment)).content.decode()
    assert "secret" not in page.replace("secret values", "")
    assert "2<script>" not in page
    # From the other side the same differs.
    assert {kind for kind, cell in cells(client, prod_deployment).items() if cell.differs} == {
        "version",
        "schema",
        "defaults",
    }
    panel = client.get(f"/admin/flows/deployment/{deployment.pk}/change/").content.decode()
    assert 'data-neighbour="prod"' in panel


@pytest.mark.usefixtures("drifted")
def test_parameters_are_hidden_from_whom_they_are_hidden_elsewhere(
    narrow: User, prod: Environment, deployment: Deployment, login: Login
) -> None:
    grants.grant(by=Actor.system(), person=narrow, verbs=[Verb.SEE_INPUTS], environment=prod)
    client = login(narrow)
    page = client.get(page_of(deployment))
    first = {row.kind.value: row.cells[0] for row in page.context["rows"]}
    assert (first["defaults"].is_hidden, first["defaults"].lines) == (True, [])
    found = cells(client, deployment)
    assert (found["defaults"].differs, list(found["defaults"].changes)) == (True, [])
    # A default is a sample value of the schema.
    assert {each.path for each in found["schema"].changes} == {"properties.region.type"}
    assert "2026-10" not in page.content.decode()


@pytest.mark.usefixtures("drifted")
def test_programs_read_the_list_and_the_matrix(
    requester: User, narrow: User, deployment: Deployment, program: Programs, command: Commands
) -> None:
    rows = program(narrow).get("/drift?between=prod,dev&kind=version").body["items"]
    (row,) = rows
    assert (row["left"]["environment"], row["right"]["environment"]) == ("dev", "prod")
    assert row["differs_in"] == ["version", "schema", "defaults"]
    assert row["since"]["version"]["is_exact"] is False
    assert program(requester).get("/drift?search=cov&kind=tags").body["items"] == []
    place = f"/environments/dev/deployments/{deployment.prefect_id}/drift"
    hidden = program(narrow).get(place).body
    assert hidden["deployment"]["values"]["defaults"] == {
        "value": None,
        "is_hidden": True,
        "differs": False,
        "since": None,
    }
    shown = program(requester).get(place).body
    (other,) = shown["others"]
    assert other["values"]["defaults"]["value"] == {"month": "2026-09", "token": parameters.MASK}
    assert "covert" not in command(narrow, "drift").out
    assert "covert/covert" in command(requester, "drift", "-e", "prod", "--kind", "version").out
    lines = json.loads(command(requester, "drift", "monthly", "-e", "dev", "--json").out)
    assert lines["differs_in"] == ["version", "schema", "defaults"]
    assert "prod" in command(requester, "drift", "monthly", "-e", "dev").out
    assert command(narrow, "drift", "covert", "-e", "prod").code == 3


@pytest.mark.usefixtures("drifted")
def test_pages_take_as_many_queries_for_many_rows(
    dev: Environment,
    prod: Environment,
    fake: FakePrefect,
    prod_fake: FakePrefect,
    requester: User,
    deployment: Deployment,
    login: Login,
) -> None:
    client = login(requester)
    few = [query_counts.count(client, address) for address in (reverse(LIST), page_of(deployment))]
    for number in range(20):
        fake.add_deployment(f"n{number}", "many", version="1")
        prod_fake.add_deployment(f"n{number}", "many", version="2")
    for environment in (dev, prod):
        sync.sync(environment)
    pairs.refresh()
    assert [query_counts.count(client, address) for address in (reverse(LIST), page_of(deployment))] == few
    assert max(few) <= 20
