"""“Copy link” at the run form: an address that fills it with what differs from the defaults, and never with secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.catalog import sync
from flows.models import Deployment
from portal.admin.run_form import keep_values
from runs import requests
from runs.models import AuditEntry, RunRequest
from tests.cast import SCHEMA
from tests.fakes.prefect import FakePrefect
from tests.portal.forms import PLAIN, form_of, hidden
from tests.portal.page_elements import attributes

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
HOSTILE = "<script>alert(1)</script>{{ 7*7 }}"


def copy(client: Client, deployment: Deployment, query: str = "", **values: str) -> Any:
    page = client.get(form_of(deployment, query)).content.decode()
    address = reverse("admin:flows_deployment_link", args=[deployment.pk]) + query
    return client.post(address, {**PLAIN, **hidden(page), **values})


def link(answer: Any) -> str:
    """The path and query of the link."""
    parts = urlsplit(answer.context["link"].url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def with_note(deployment: Deployment, fake: FakePrefect) -> Deployment:
    note = {"title": "note", "type": "string", "position": 3, "default": ""}
    when = {"title": "when", "type": "string", "format": "date-time", "position": 4, "default": ""}
    options = {"title": "options", "type": "object", "position": 5, "default": {}}
    properties = {**SCHEMA["properties"], "note": note, "when": when, "options": options}
    fake.change_deployment(deployment.prefect_id, parameter_schema={**SCHEMA, "properties": properties})
    sync.sync(deployment.environment)
    return Deployment.objects.select_related("environment").get(pk=deployment.pk)


def test_the_link_holds_what_differs_and_fills_the_form_of_another(
    requester: User, deployment: Deployment, login: Login
) -> None:
    typed = {"parameters-rows": "7", "parameters-token": "s3cret", "tags": "a, b", "run_name": "January"}
    answer = copy(login(requester), deployment, **typed, reason="mine")
    found = link(answer)
    assert "s3cret" not in found + answer.content.decode()
    assert "reason" not in found
    assert answer.context["link"].left_out == "token"
    opened = login(requester).get(found)
    assert [attributes(opened.content.decode(), "data-code").count(f"parameter.{each}") for each in ("required",)] == [
        0
    ]
    page = opened.content.decode()
    for piece in ('value="2026-01"', 'value="7"', 'value="a, b"', 'value="January"'):
        assert piece in page
    assert not RunRequest.objects.exists()
    assert not AuditEntry.objects.filter(verb="request.submit").exists()


def test_a_value_at_its_default_is_not_in_it(requester: User, deployment: Deployment, login: Login) -> None:
    assert "rows" not in link(copy(login(requester), deployment, **{"parameters-rows": "100"}))


def test_every_kind_of_value_comes_back_the_same(
    requester: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    noted, client = with_note(deployment, fake), login(requester)
    typed = {
        "parameters-note": HOSTILE,
        "parameters-when": "2026-10-25T02:30:00+01:00",
        "parameters-options": '{"a": [1, null, "x"]}',
    }
    found = link(copy(client, noted, **typed))
    page = client.get(found).content.decode()
    assert "<script>alert" not in page
    answer = client.post(found, {**hidden(page), "start": "now", "parameters-month": "2026-01"})
    assert answer.status_code == 302
    values = requests.values_of(RunRequest.objects.get())
    assert (values["note"], values["options"]) == (HOSTILE, {"a": [1, None, "x"]})
    assert values["when"].startswith("2026-10-25T0")


def test_a_link_that_is_too_long_is_not_made(
    requester: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    long = {"parameters-note": "n" * keep_values.LONGEST_LINK}
    answer = copy(login(requester), with_note(deployment, fake), **long)
    assert attributes(answer.content.decode(), "data-error") == ["link.too_long"]
    assert answer.context["link"].url == ""


def test_a_wrong_value_makes_none(requester: User, deployment: Deployment, login: Login) -> None:
    answer = copy(login(requester), deployment, **{"parameters-rows": "7000"})
    assert attributes(answer.content.decode(), "data-error") == ["preset.values"]


def test_a_link_is_checked_when_it_is_opened(requester: User, deployment: Deployment, login: Login) -> None:
    page = login(requester).get(form_of(deployment, "?p.rows=7000&p.month=nonsense")).content.decode()
    codes = attributes(page, "data-code")
    assert {"parameter.maximum", "parameter.pattern"} <= {*codes}
    assert not RunRequest.objects.exists()


def test_a_secret_in_a_link_is_neither_shown_nor_sent_on(requester: User, deployment: Deployment, login: Login) -> None:
    client, query = login(requester), "?p.token=opensesame&p.month=2026-03"
    page = client.get(form_of(deployment, query)).content.decode()
    assert "opensesame" not in page
    assert "opensesame" not in copy(client, deployment, query).content.decode()


def test_who_may_not_run_the_deployment_makes_none(viewer: User, deployment: Deployment, login: Login) -> None:
    address = reverse("admin:flows_deployment_link", args=[deployment.pk])
    assert login(viewer).post(address, PLAIN).status_code == 403
    assert login(viewer).get(address).status_code == 302
