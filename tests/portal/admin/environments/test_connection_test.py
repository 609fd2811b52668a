"""A connection is tested in the form, before it is saved: nothing is lost, and no stored secret travels."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Environment, Server
from flows.prefect_api import connect
from flows.prefect_api.records import Credential, Unauthorized, Unreachable
from runs import tasks
from runs.governance import connection_tests
from runs.models import AuditEntry, ConnectionTest, QueuedTask
from tests.cast import FAKES, by
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes
from tests.refusals import refused

pytestmark = pytest.mark.django_db

BEGIN = reverse("admin:flows_environment_test")
SECRET = "robot:opensesame"
ELSEWHERE = "http://elsewhere.test/api"
Login = Callable[[User], Client]
SENT: list[tuple[str, Credential]] = []


def spy(api_url: str, credential: Credential) -> FakePrefect:
    """What `settings.PREFECT_CLIENT` names here: it notes which credential goes where."""
    SENT.append((api_url, credential))
    return FAKES.setdefault(api_url, FakePrefect())


@pytest.fixture(autouse=True)
def sent(settings: Any) -> list[tuple[str, Credential]]:
    settings.PREFECT_CLIENT = f"{__name__}.spy"
    SENT.clear()
    return SENT


@pytest.fixture
def client(admin_user: User, login: Login) -> Client:
    return login(admin_user)


def with_secret(environment: Environment) -> Environment:
    environment.server.credential_kind, environment.server.credential = "basic", SECRET
    environment.server.save()
    return environment


def begin(client: Client, **typed: Any) -> str:
    answer = client.post(BEGIN, {"api_url": ELSEWHERE, "credential_kind": "none", "new_credential": "", **typed})
    assert answer.status_code == 200
    return str(answer.content.decode())


def result(client: Client) -> str:
    """Make the newest test, and ask for its result as the page does."""
    test = ConnectionTest.objects.latest("pk")
    tasks.test_connection(test.pk)
    return str(client.get(reverse("admin:flows_environment_test_result", args=[test.pk])).content.decode())


def test_what_is_typed_is_tested_before_anything_is_saved(client: Client, sent: list[Any]) -> None:
    page = begin(client, credential_kind="basic", new_credential=SECRET)
    assert attributes(page, "data-test") == ["waiting"]
    # No web request waits for Prefect.
    assert sent == []
    test = ConnectionTest.objects.get()
    assert SECRET.encode() not in bytes(test.sealed_credential)
    page = result(client)
    assert attributes(page, "data-test") == ["connected"]
    # The result does not ask again.
    assert "hx-get" not in page
    assert sent == [(ELSEWHERE, Credential("basic", SECRET))]
    test.refresh_from_db()
    assert bytes(test.sealed_credential) == b""
    assert not Server.objects.exists()
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.outcome) == ("environment.test", "done")
    assert entry.after == {"api_url": ELSEWHERE, "credential_kind": "basic", "credential": "typed"}
    assert "opensesame" not in page
    # A second run of the task does nothing.
    tasks.test_connection(test.pk)
    assert len(sent) == 1


def test_the_stored_credential_is_used_for_its_own_address(client: Client, dev: Environment, sent: list[Any]) -> None:
    own = with_secret(dev).server.api_url
    begin(client, api_url=f"{own}/", credential_kind="basic", environment=dev.pk)
    assert attributes(result(client), "data-test") == ["connected"]
    assert sent == [(own, Credential("basic", SECRET))]
    assert AuditEntry.objects.get().after["credential"] == "stored"
    # Only the one that is typed would be kept, and none is.
    assert bytes(ConnectionTest.objects.get().sealed_credential) == b""


@pytest.mark.parametrize(
    "address", [ELSEWHERE, "http://dev.test/apis", "http://dev.test:81/api", "https://dev.test/api"]
)
def test_a_stored_credential_is_not_sent_to_another_address(
    address: str, client: Client, admin_user: User, dev: Environment, sent: list[Any]
) -> None:
    with_secret(dev)
    page = begin(client, api_url=address, credential_kind="basic", environment=dev.pk)
    assert attributes(page, "data-test") == ["refused"]
    with refused("credential.reenter"):
        connection_tests.request_test(api_url=address, credential_kind="basic", environment=dev, by=by(admin_user))
    assert not ConnectionTest.objects.exists()
    assert not QueuedTask.objects.filter(task="runs.tasks.test_connection").exists()
    assert sent == []


def test_nor_when_the_address_changes_before_the_task_runs(client: Client, dev: Environment, sent: list[Any]) -> None:
    own = with_secret(dev).server.api_url
    begin(client, api_url=own, credential_kind="basic", environment=dev.pk)
    Server.objects.update(api_url=ELSEWHERE)
    assert attributes(result(client), "data-code") == ["credential.reenter"]
    assert sent == []


def test_a_stored_credential_is_no_other_kind_and_of_no_other_environment(
    client: Client, admin_user: User, dev: Environment, prod: Environment
) -> None:
    own = with_secret(dev).server.api_url
    for kind, place in (("key", dev), ("basic", prod), ("basic", None)):
        with refused("credential.missing"):
            connection_tests.request_test(api_url=own, credential_kind=kind, environment=place, by=by(admin_user))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "prefect",
        "ftp://x.test/api",
        "http://robot:opensesame@x.test/api",
        "http://x.test/api?k=1",
        "http://x.test/#a",
    ],
)
def test_the_address_is_checked_as_when_it_is_saved(client: Client, admin_user: User, address: str) -> None:
    assert attributes(begin(client, api_url=address), "data-test") == ["refused"]
    with refused("environment.address"):
        connection_tests.request_test(api_url=address, credential_kind="none", by=by(admin_user))
    assert not ConnectionTest.objects.exists()
    assert "opensesame" not in f"{[entry.after for entry in AuditEntry.objects.all()]}"


def test_a_server_that_wants_a_credential_says_that_none_is_set(client: Client) -> None:
    fake = FAKES.setdefault(ELSEWHERE, FakePrefect())
    fake.go_down(Unauthorized("Authentication failed (401).", code="credential.refused", status=401))
    begin(client)
    page = result(client)
    assert (attributes(page, "data-test"), attributes(page, "data-code")) == (["failed"], ["credential.none"])
    fake.go_down(Unreachable("Connection refused: <b>.", code="connection.refused"))
    begin(client, credential_kind="basic", new_credential=SECRET)
    page = result(client)
    assert attributes(page, "data-code") == ["connection.refused"]
    assert "<b>" not in page


def test_a_test_that_did_not_start_is_not_made_later(client: Client, sent: list[Any]) -> None:
    begin(client, credential_kind="basic", new_credential=SECRET)
    ConnectionTest.objects.update(requested_at=timezone.now() - timedelta(minutes=3))
    test = ConnectionTest.objects.get()
    page = client.get(reverse("admin:flows_environment_test_result", args=[test.pk])).content.decode()
    assert attributes(page, "data-code") == ["test.expired"]
    assert attributes(result(client), "data-code") == ["test.expired"]
    assert sent == []
    test.refresh_from_db()
    assert bytes(test.sealed_credential) == b""
    ConnectionTest.objects.update(requested_at=timezone.now() - timedelta(days=2))
    begin(client)
    assert ConnectionTest.objects.count() == 1


def test_a_result_is_its_requesters_alone(
    client: Client, second_administrator: User, auditor: User, login: Login, dev: Environment
) -> None:
    begin(client)
    address = reverse("admin:flows_environment_test_result", args=[ConnectionTest.objects.get().pk])
    assert login(second_administrator).get(address).status_code == 404
    assert login(auditor).get(address).status_code == 403
    assert login(auditor).post(BEGIN, {"api_url": ELSEWHERE, "credential_kind": "none"}).status_code == 403
    assert ConnectionTest.objects.count() == 1


def test_the_form_has_the_button_and_keeps_no_client_of_a_typed_secret(client: Client, dev: Environment) -> None:
    page = client.get(reverse("admin:flows_environment_change", args=[dev.pk])).content.decode()
    assert attributes(page, "hx-post") == [BEGIN]
    server = Server(api_url=ELSEWHERE, credential_kind="basic")
    server.credential = SECRET
    opened = connect.for_server(ELSEWHERE, Credential("basic", SECRET))
    connect.forget(server)
    assert connect.for_server(ELSEWHERE, Credential("basic", SECRET)) is not opened
    connect.forget(server)
