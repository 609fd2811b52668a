"""The run form of a user whose grants are limited to values: it offers only these, and loses nothing typed."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.catalog import sync
from flows.models import Deployment, Environment
from portal.admin.run_form import allowed_values
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, RunRequest
from tests.cast import person
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "title": "region", "enum": ["US", "EU", "UK"], "default": "US"},
        "rows": {"type": "integer", "title": "rows", "default": 10, "maximum": 9000},
        "force": {"type": "boolean", "title": "force", "default": False},
        "token": {"type": "string", "title": "token", "default": "", "format": "password", "writeOnly": True},
    },
}


@pytest.fixture
def export(dev: Environment, fake: FakePrefect) -> Deployment:
    fake.add_deployment(flow_name="export", name="export", parameter_schema=SCHEMA)
    sync.sync(dev)
    return Deployment.objects.select_related("environment").get(environment=dev)


def holder(*predicates: dict[str, Any], verbs: tuple[str, ...] = ("trigger", "trigger later")) -> User:
    user = person("holder")
    grants.grant(by=Actor.system(), person=user, verbs=["see"])
    for properties in predicates:
        grants.grant(by=Actor.system(), person=user, verbs=verbs, predicate={"properties": properties})
    return user


def never(user: User, **properties: Any) -> None:
    grants.grant(by=Actor.system(), person=user, verbs=["trigger"], effect="deny", predicate={"properties": properties})


def send(client: Client, deployment: Deployment, **values: str) -> Any:
    url = reverse("admin:flows_deployment_run", args=[deployment.pk])
    page = client.get(url).content.decode()
    brought = {name: re.findall(f'name="{name}" value="([^"]*)"', page)[0] for name in ("submission_key",)}
    typed = {"start": "now", "form_fingerprint": deployment.schema_fingerprint, "run_name": "typed by hand"}
    return client.post(url, brought | typed | {f"parameters-{name}": value for name, value in values.items()})


def offered(user: User, deployment: Deployment) -> dict[str, Any]:
    schema = allowed_values.allowed_values(Permissions.of_person(user), deployment).schema
    properties: dict[str, Any] = schema["properties"]
    return properties


def test_the_form_offers_only_what_the_grant_allows_and_says_so(export: Deployment, login: Login) -> None:
    client = login(holder({"region": {"enum": ["EU", "UK"]}, "rows": {"maximum": 1000}}))
    page = client.get(reverse("admin:flows_deployment_run", args=[export.pk])).content.decode()
    assert "Your grant allows: rows is at most 1000, region is EU or UK." in page
    assert 'value="EU"' in page
    assert 'value="US"' not in page


def test_a_default_that_is_not_allowed_gives_way_to_a_value_that_is(export: Deployment, login: Login) -> None:
    answer = send(login(holder({"region": {"const": "EU"}})), export)
    assert answer.status_code == 302, answer.content.decode()
    assert RunRequest.objects.get().spec.parameters["region"] == "EU"


@pytest.mark.parametrize("values", [{"region": "US", "rows": "10"}, {"region": "EU", "rows": "1001"}])
def test_what_is_not_allowed_comes_back_with_what_was_typed_and_is_recorded(
    export: Deployment, login: Login, values: dict[str, str]
) -> None:
    client = login(holder({"region": {"const": "EU"}, "rows": {"maximum": 1000}}))
    answer = send(client, export, **values)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert attributes(page, "data-error") == ["access.values"]
    assert "typed by hand" in page
    assert not RunRequest.objects.exists()
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.verb, entry.outcome) == ("request.submit", "refused")
    assert entry.after["decision"]["code"] == "access.values"


def test_a_denied_value_is_not_offered_and_is_refused(export: Deployment, login: Login) -> None:
    user = holder({"region": {"const": "EU"}})
    never(user, force={"const": True})
    assert offered(user, export)["region"]["enum"] == ["EU"]
    assert offered(user, export)["force"]["enum"] == [False]
    answer = send(login(user), export, region="EU", force="true")
    assert answer.status_code == 200
    assert "Never: force is true." in answer.content.decode()
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.outcome, entry.after["refused"]["code"]) == ("refused", "access.denied")
    assert html.escape(entry.message) in answer.content.decode()
    assert send(login(user), export, region="EU").status_code == 302


def test_two_grants_offer_what_either_allows(export: Deployment) -> None:
    user = holder(
        {"region": {"const": "EU"}, "rows": {"maximum": 5}}, {"region": {"const": "UK"}, "rows": {"maximum": 7}}
    )
    assert offered(user, export)["region"]["enum"] == ["UK", "EU"]
    assert offered(user, export)["rows"]["maximum"] == 7


def test_a_grant_without_a_condition_offers_everything(export: Deployment) -> None:
    user = holder({"region": {"const": "EU"}})
    grants.grant(by=Actor.system(), person=user, verbs=["trigger", "trigger later"])
    assert allowed_values.allowed_values(Permissions.of_person(user), export) == allowed_values.AllowedValues(
        export.parameter_schema, {}, ()
    )


def test_now_and_later_are_told_apart_where_they_differ(export: Deployment) -> None:
    user = holder({"region": {"const": "EU"}}, verbs=("trigger",))
    grants.grant(by=Actor.system(), person=user, verbs=["trigger later"])
    found = allowed_values.allowed_values(Permissions.of_person(user), export)
    assert found.sentences == ("To start now: Your grant allows: region is EU.",)
    assert found.schema == export.parameter_schema


def test_a_condition_on_a_secret_is_not_shown_as_a_choice(export: Deployment) -> None:
    user = holder({"token": {"const": "hunter2"}})
    assert offered(user, export)["token"] == SCHEMA["properties"]["token"]


def test_the_form_never_offers_a_value_that_the_flow_rejects(export: Deployment) -> None:
    assert offered(holder({"region": {"enum": ["EU", "Mars"]}}), export)["region"]["enum"] == ["EU"]


def test_where_nothing_is_left_to_offer_the_form_stays_and_the_refusal_explains(
    export: Deployment, login: Login
) -> None:
    user = holder({"region": {"const": "Mars"}})
    assert offered(user, export)["region"] == SCHEMA["properties"]["region"]
    answer = send(login(user), export, region="EU")
    assert attributes(answer.content.decode(), "data-error") == ["access.values"]
    assert not RunRequest.objects.exists()
