"""A form of hundreds of parameters: its size, what each parameter costs, and that a browser can send it."""

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
from runs.models import RunRequest
from tests.fakes.prefect import FakePrefect
from tests.portal.forms import form_of, hidden
from tests.portal.page_elements import attributes
from tests.portal.query_counts import count

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
Deploy = Callable[[str, int], Deployment]
LARGEST = 600_000  # bytes of the largest form
MANY = 500
COLOURS: dict[str, Any] = {"enum": ["red", "green", "blue"]}
KINDS: dict[str, dict[str, Any]] = {
    "texts": {"type": "string"},
    "numbers": {"type": "integer", "minimum": 1},
    "flags": {"type": "boolean"},
    "choices": COLOURS,
    "dates": {"type": "string", "format": "date"},
    "lists": {"type": "array", "items": {"type": "string"}},
    "ticks": {"type": "array", "items": {"enum": ["red", "green", "blue", "black", "white"]}},
    "models": {"type": "object", "properties": {"name": {"type": "string"}, "colour": COLOURS}},
}


@pytest.fixture
def deploy(dev: Environment, fake: FakePrefect) -> Deploy:
    """Deploys a flow with so many required parameters of one kind."""

    def make(kind: str, number: int) -> Deployment:
        properties = {f"parameter{index}": {**KINDS[kind], "position": index} for index in range(number)}
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        fake.add_deployment(flow_name=kind, name=str(number), parameter_schema=schema)
        sync.sync(dev)
        return Deployment.objects.get(environment=dev, full_name=f"{kind}/{number}")

    return make


def as_a_browser_sends_it(page: str) -> dict[str, list[str]]:
    """Every text area of the form blank, and its hidden inputs."""
    form = page[page.index('<form method="post" class="portal-columns"') :]
    areas = re.findall(r'<textarea[^>]* name="(parameters-[^"]+)"', form)
    kept = re.findall(r'<input type="hidden" name="(parameters-[^"]+)" value="([^"]*)"', form)
    return {name: [""] for name in areas} | {name: [value] for name, value in kept}


@pytest.mark.parametrize("kind", KINDS)
def test_the_form_is_of_moderate_size_before_and_after_its_errors(
    kind: str, deploy: Deploy, requester: User, login: Login
) -> None:
    client, address = login(requester), form_of(deploy(kind, MANY))
    page = client.get(address)
    answer = client.post(address, {**hidden(page.content.decode()), "start": "now"})
    assert attributes(answer.content.decode(), "data-error-count")
    for each in (page, answer):
        assert len(each.content) < LARGEST


@pytest.mark.parametrize("kind", KINDS)
def test_no_parameter_costs_a_template_or_a_query(kind: str, deploy: Deploy, requester: User, login: Login) -> None:
    client, few, many = login(requester), form_of(deploy(kind, 1)), form_of(deploy(kind, MANY))
    assert count(client, few) == count(client, many)
    assert len(client.get(few).templates) == len(client.get(many).templates)


def test_a_form_of_many_texts_can_be_sent_with_every_box_ticked(deploy: Deploy, requester: User, login: Login) -> None:
    """Two inputs a text: more than Django accepts by default."""
    client, deployment = login(requester), deploy("texts", 700)
    page = client.get(form_of(deployment)).content.decode()
    boxes = {f"parameters-parameter{index}-empty": "true" for index in range(700)}
    answer = client.post(form_of(deployment), {**hidden(page), **as_a_browser_sends_it(page), **boxes, "start": "now"})
    run_request = RunRequest.objects.get()
    assert answer.url == reverse("admin:runs_runrequest_change", args=[run_request.pk]) + "?follow=1"  # type: ignore[attr-defined]
    assert run_request.spec.parameters == {f"parameter{index}": "" for index in range(700)}
