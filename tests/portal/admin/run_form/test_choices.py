"""The search in the choices of an input: only for people who can run the deployment, only values they can use."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.catalog import sync
from flows.models import Deployment, Environment
from runs.actors import Actor
from runs.governance import grants
from runs.models import RunRequest
from tests.cast import person
from tests.fakes.prefect import FakePrefect
from tests.portal.forms import form_of, hidden
from tests.portal.page_elements import attributes

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
CUSTOMERS = [f"{region}-{number}" for number in range(5_000) for region in ("eu", "us")]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{f"customer{number}": {"$ref": "#/definitions/Customer"} for number in range(10)},
        "several": {"type": "array", "items": {"$ref": "#/definitions/Customer"}},
    },
    "definitions": {"Customer": {"enum": CUSTOMERS, "type": "string"}},
}


@pytest.fixture
def export(dev: Environment, fake: FakePrefect) -> Deployment:
    fake.add_deployment(flow_name="export", name="export", parameter_schema=SCHEMA)
    sync.sync(dev)
    return Deployment.objects.select_related("environment").get(environment=dev)


def holder(**predicate: Any) -> User:
    user = person("holder")
    grants.grant(by=Actor.system(), person=user, verbs=["see"])
    grants.grant(by=Actor.system(), person=user, verbs=["trigger", "trigger later"], **predicate)
    return user


def search(client: Client, deployment: Deployment, term: str, name: str = "customer3", **more: str) -> Any:
    url = reverse("admin:flows_deployment_choices", args=[deployment.pk])
    return client.get(url, {"name": name, "term": term, **more})


def test_a_page_of_ten_inputs_with_ten_thousand_choices_is_small(export: Deployment, login: Login) -> None:
    page = login(holder()).get(form_of(export)).content.decode()
    assert len(page) < 600_000
    assert page.count("<option") <= 11 * 20
    assert len(attributes(page, "data-choices")) == 11
    assert reverse("admin:flows_deployment_choices", args=[export.pk]) in attributes(page, "data-choices-url")


def test_what_contains_the_text_is_found(export: Deployment, login: Login) -> None:
    client = login(holder())
    assert search(client, export, "us-4999").json() == {"choices": ["us-4999"]}
    assert len(search(client, export, "").json()["choices"]) == 50
    assert search(client, export, "us", name="gone").json() == {"choices": []}


def test_a_typed_choice_is_requested(export: Deployment, login: Login) -> None:
    client = login(holder())
    body = hidden(client.get(form_of(export)).content.decode()) | {"start": "now", "parameters-customer3": "us-4999"}
    assert client.post(form_of(export), body).status_code == 302
    assert RunRequest.objects.get().spec.parameters == {"customer3": "us-4999"}


def test_choices_are_added_to_a_list_without_requesting_anything(export: Deployment, login: Login) -> None:
    client = login(holder())
    page = client.get(form_of(export)).content.decode()
    typed: dict[str, str] = {"start": "now", "reason": "Month end"}
    for found in ("us-4999", "eu-1"):
        body = hidden(page) | typed | {"parameters-several-find": found}
        page = client.post(form_of(export), body).content.decode()
        assert not RunRequest.objects.exists()
        assert "Month end" in page
        (typed["parameters-several"],) = re.findall(r'<textarea name="parameters-several"[^>]*>\n([^<]*)<', page)
    assert client.post(form_of(export), hidden(page) | typed).status_code == 302
    assert RunRequest.objects.get().spec.parameters == {"several": ["us-4999", "eu-1"]}


def test_what_is_searched_and_no_choice_is_not_requested(export: Deployment, login: Login) -> None:
    client = login(holder())
    body = hidden(client.get(form_of(export)).content.decode()) | {"start": "now"}
    page = client.post(form_of(export), body | {"parameters-several-find": "s-499"}).content.decode()
    assert 'value="s-499"' in page
    assert page.count('<option value="us-499') == 11
    assert not RunRequest.objects.exists()


def test_the_search_of_a_list_finds_the_choices_of_its_items(export: Deployment, login: Login) -> None:
    assert search(login(holder()), export, "us-4999", name="several.0").json() == {"choices": ["us-4999"]}


def test_values_that_the_grant_leaves_out_are_not_found(export: Deployment, login: Login) -> None:
    allowed = {"customer3": {"enum": CUSTOMERS[:400:2]}}
    client = login(holder(predicate={"properties": allowed}))
    assert search(client, export, "eu-7").json()["choices"][0] == "eu-7"
    for term in ("us-7", "eu-4999"):
        assert search(client, export, term).json() == {"choices": []}


def test_only_those_who_can_run_it_can_search(export: Deployment, viewer: User, stranger: User, login: Login) -> None:
    assert search(login(viewer), export, "us").status_code == 403
    assert search(login(stranger), export, "us").status_code == 404
    assert search(Client(), export, "us").status_code == 302
    assert login(holder()).post(reverse("admin:flows_deployment_choices", args=[export.pk])).status_code == 405
