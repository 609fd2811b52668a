"""Runs that delete data: the name of the deployment is typed at every door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.catalog import sync
from flows.models import Deployment, Environment
from flows.parameters import destructive_parameters
from runs import requests
from runs.models import AuditEntry, RunRequest
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.client.in_process import Commands
from tests.portal.forms import confirm, hidden
from tests.portal.page_elements import attributes, message_codes
from tests.refusals import refused

pytestmark = pytest.mark.django_db

NAME = "clean/up"
CODE = "destructive.unconfirmed"
SCHEMA = {
    "type": "object",
    "properties": {"dry_run": {"type": "boolean", "default": True, "x-destructive": [False], "position": 0}},
}
Login = Callable[[User], Client]


def deployed(place: Environment, fake: FakePrefect, **columns: Any) -> Deployment:
    fake.add_deployment(flow_name="clean", name="up", **{"parameter_schema": SCHEMA, **columns})
    sync.sync(place)
    return Deployment.objects.select_related("environment").get(environment=place)


@pytest.fixture
def cleanup(dev: Environment, fake: FakePrefect) -> Deployment:
    """Deletes unless it is a dry run, which is the default."""
    return deployed(dev, fake)


@pytest.fixture
def sweeper(dev: Environment, fake: FakePrefect) -> Deployment:
    """Deletes by default: operations changed its default."""
    return deployed(dev, fake, parameter_defaults={"dry_run": False})


@pytest.mark.parametrize(
    ("mark", "value", "is_destructive"),
    [
        ([False], False, True),
        ([False], True, False),
        ([False], 0, False),
        (["all", "old"], "old", True),
        ([], "old", False),
        (True, "anything", True),
        (False, "anything", False),
        ("yes", "anything", True),
        (None, "anything", True),
    ],
)
def test_the_values_that_a_schema_marks(mark: object, value: object, is_destructive: bool) -> None:
    schema = {"properties": {"p": {"x-destructive": mark}}}
    assert destructive_parameters(schema, {"p": value}) == (["p"] if is_destructive else [])


@pytest.mark.parametrize("schema", [{}, {"properties": []}, {"properties": {"p": 1}}, {"properties": {"p": {}}}])
def test_schemas_without_a_mark_delete_nothing(schema: dict[str, Any]) -> None:
    assert destructive_parameters(schema, {"p": False}) == []


@pytest.mark.parametrize("typed", ["", "clean", "dev", "CLEAN/UP"])
def test_the_service_refuses_without_the_name(cleanup: Deployment, requester: User, typed: str) -> None:
    with refused(CODE):
        requests.submit(cleanup, {"dry_run": False}, by=by(requester), confirmation=typed)
    assert AuditEntry.objects.get(verb="request.submit").outcome == "refused"
    assert not RunRequest.objects.exists()


def test_with_the_name_it_is_requested_and_the_trail_says_what_it_is(cleanup: Deployment, requester: User) -> None:
    requests.submit(cleanup, {"dry_run": False}, by=by(requester), confirmation=f" {NAME} ")
    assert AuditEntry.objects.get(verb="request.submit").after["destructive"] is True


def test_a_dry_run_needs_no_name(cleanup: Deployment, requester: User) -> None:
    requests.submit(cleanup, {}, by=by(requester))
    assert "destructive" not in AuditEntry.objects.get(verb="request.submit").after


def test_a_default_of_the_deployment_counts(sweeper: Deployment, requester: User) -> None:
    with refused(CODE):
        requests.submit(sweeper, {}, by=by(requester))


def test_a_tag_makes_every_run_destructive(dev: Environment, fake: FakePrefect, requester: User) -> None:
    wiper = deployed(dev, fake, parameter_schema={"type": "object"}, tags=("destructive",))
    with refused(CODE):
        requests.submit(wiper, {}, by=by(requester))


def test_a_re_run_is_confirmed_again(cleanup: Deployment, requester: User) -> None:
    first = requests.submit(cleanup, {"dry_run": False}, by=by(requester), confirmation=NAME)
    with refused(CODE):
        requests.rerun(first, by=by(requester))
    assert requests.rerun(first, by=by(requester), confirmation=NAME).spec.rerun_of == first


def test_the_client_has_an_option_for_it(cleanup: Deployment, requester: User, command: Commands) -> None:
    words = ("run", NAME, "-e", "dev", "-p", "dry_run=false")
    ended = command(requester, *words)
    assert (ended.code, CODE in ended.err) == (1, True)
    assert command(requester, *words, "--confirm", NAME).code == 0
    first = RunRequest.objects.get()
    ended = command(requester, "rerun", first.pk)
    assert (ended.code, CODE in ended.err) == (1, True)
    assert command(requester, "rerun", first.pk, "--confirm", NAME).code == 0
    assert RunRequest.objects.count() == 2


def test_the_form_asks_for_the_name_in_an_open_environment_too(
    cleanup: Deployment, requester: User, login: Login
) -> None:
    client, address = login(requester), reverse("admin:flows_deployment_run", args=[cleanup.pk])
    form = {"start": "now", "parameters-dry_run": "false", **hidden(client.get(address).content.decode())}
    page = client.post(address, form).content.decode()
    assert attributes(page, "data-key").count("destructive") == 1
    wrong = confirm(client, cleanup, page, "dev")
    assert attributes(wrong.content.decode(), "data-error") == ["confirmation.mismatch"]
    assert not RunRequest.objects.exists()
    assert confirm(client, cleanup, page, NAME).status_code == 302
    assert RunRequest.objects.get().spec.parameters == {"dry_run": False}


def test_a_quick_run_asks_for_the_name_of_the_deployment(sweeper: Deployment, requester: User, login: Login) -> None:
    client = login(requester)
    address = reverse("admin:flows_deployment_quick_run", args=[sweeper.pk])
    page = client.post(address).content.decode()
    assert f'<span class="portal-code">{NAME}</span>' in page
    assert confirm(client, sweeper, page, NAME).status_code == 302
    assert RunRequest.objects.count() == 1


def test_several_at_once_ask_for_each_name(sweeper: Deployment, requester: User, login: Login) -> None:
    client = login(requester)

    def post(**data: Any) -> Any:
        body = {"action": "quick_run_selected", "_selected_action": [sweeper.pk], "index": "0", **data}
        return client.post(reverse("admin:flows_deployment_changelist"), body, follow=True)

    page = post(reason="", **{f"confirmation-{NAME}": "dev"}).content.decode()
    assert attributes(page, "data-error") == ["confirmation.mismatch"]
    assert not RunRequest.objects.exists()
    assert message_codes(post(reason="", **{f"confirmation-{NAME}": NAME})) == ["success"]
    assert RunRequest.objects.count() == 1


def test_the_page_of_the_request_says_so(cleanup: Deployment, requester: User, login: Login) -> None:
    client = login(requester)
    for values, typed, count in (({"dry_run": False}, NAME, 1), ({}, "", 0)):
        found = requests.submit(cleanup, values, by=by(requester), confirmation=typed)
        page = client.get(reverse("admin:runs_runrequest_change", args=[found.pk])).content.decode()
        assert attributes(page, "data-key").count("destructive") == count
