"""How an environment is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flows.catalog import health, sync
from flows.models import Environment, Health, Server
from flows.prefect_api.records import Rejected, Unauthorized, Uncertain, Unreachable
from runs import mirror
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db


def test_a_server_that_answers_is_up_and_has_a_version(dev: Environment, fake: FakePrefect) -> None:
    found = health.check(dev.server)
    assert found.state == Health.State.UP
    assert found.version
    assert found.checked_at is not None


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Unreachable("It could not be reached."), Health.State.DOWN),
        (Unauthorized("It refused the credential."), Health.State.REFUSED),
        (Rejected("It answered, but not as a Prefect API."), Health.State.DOWN),
    ],
)
def test_a_check_says_what_is_wrong(dev: Environment, fake: FakePrefect, error: Exception, state: Health.State) -> None:
    fake.go_down(error)
    found = health.check(dev.server)
    assert (found.state, found.message) == (state, str(error))


def test_since_when_it_is_so_is_kept(dev: Environment, fake: FakePrefect) -> None:
    first = health.check(dev.server)
    again = health.check(dev.server)
    assert again.changed_at == first.changed_at
    fake.go_down()
    assert health.check(dev.server).changed_at > first.changed_at


def test_one_call_that_fails_does_not_make_a_server_down(dev: Environment, fake: FakePrefect) -> None:
    health.check(dev.server)
    found = health.record_error(dev.server, Uncertain("It answered with an error of its own."))
    assert found.state == Health.State.UP
    found.refresh_from_db()
    assert found.sync_message == "It answered with an error of its own."


def test_a_credential_that_cannot_be_opened_is_said(dev: Environment, fake: FakePrefect) -> None:
    dev.server.credential_kind = "basic"
    dev.server.sealed_credential = b"not a token"
    dev.server.save()
    found = health.check(dev.server)
    assert found.state == Health.State.REFUSED
    assert "PORTAL_FIELD_KEYS" in found.message


def test_a_credential_is_stored_encrypted(dev: Environment) -> None:
    dev.server.credential = "user:hunter22"
    dev.server.save()
    stored = bytes(Server.objects.values_list("sealed_credential", flat=True).get())
    assert b"hunter22" not in stored
    assert Server.objects.get().credential == "user:hunter22"


def cut() -> Rejected:
    return Rejected("Response unreadable: could not list the runs at http://dev.test/api.", code="response.unreadable")


@pytest.mark.parametrize("read", [sync.sync, mirror.sync])
def test_a_server_that_answers_the_check_and_fails_on_lists_says_so(
    read: Callable[[Environment], object], dev: Environment, fake: FakePrefect
) -> None:
    fake.go_down(cut())
    with pytest.raises(Rejected):
        read(dev)
    assert health.health_of(dev.server).message == str(cut())
    fake.come_back()
    found = health.check(dev.server)
    assert (found.state, found.message) == (Health.State.UP, str(cut()))
    read(dev)
    assert health.health_of(dev.server).message == ""
    assert health.check(dev.server).message == ""


def test_the_other_reading_does_not_hide_it(dev: Environment, fake: FakePrefect) -> None:
    fake.go_down(cut())
    with pytest.raises(Rejected):
        sync.sync(dev)
    fake.come_back()
    mirror.sync(dev)
    assert health.check(dev.server).message == str(cut())
