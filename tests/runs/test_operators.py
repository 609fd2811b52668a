"""Who acts from a shell, and what a shell asks Prefect now."""

from __future__ import annotations

import getpass

import pytest
from django.contrib.auth.models import User

from flows.models import Environment, Health
from flows.prefect_api.records import PrefectError, Unreachable
from runs import operators, sync_now
from runs.actors import Channel, Kind
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db


def test_a_person_acts_by_command_and_the_account_is_kept(requester: User) -> None:
    by = operators.person("requester")
    assert (by.user, by.kind, by.channel) == (requester, Kind.PERSON, Channel.COMMAND)
    assert by.user_agent == f"operating system account {getpass.getuser()}"
    assert by.address


@pytest.mark.parametrize("name", ["nobody-of-that-name", "requester"])
def test_nobody_acts_without_an_active_account(requester: User, name: str) -> None:
    User.objects.update(is_active=False)
    with refused("user.unknown"):
        operators.person(name)


def test_an_account_without_a_name_acts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise OSError

    monkeypatch.setattr(getpass, "getuser", nameless)
    assert operators.operator().name == "operating system account without a name"


def test_health_and_sync_ask_prefect_now(dev: Environment, fake: FakePrefect) -> None:
    assert sync_now.check(dev).state == Health.State.UP
    fake.add_deployment(flow_name="etl", name="new")
    assert sync_now.sync(dev).new == 1


def test_a_server_that_is_down_is_said(dev: Environment, fake: FakePrefect) -> None:
    fake.go_down()
    assert sync_now.check(dev).state == Health.State.DOWN
    with pytest.raises(PrefectError):
        sync_now.sync(dev)
    assert issubclass(Unreachable, PrefectError)
