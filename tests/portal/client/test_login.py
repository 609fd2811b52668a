"""Signing in and out: the file, its mode, and which token goes where."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from portal.client import Misconfigured, credentials
from tests.portal.api.programs import Programs
from tests.portal.client.in_process import ADDRESS, Commands

pytestmark = pytest.mark.django_db


@pytest.fixture
def signed_in(requester: User, program: Programs, command: Commands, monkeypatch: pytest.MonkeyPatch) -> str:
    text = program(requester).text
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n"))
    ended = command(None, "login", ADDRESS, "--token-stdin")
    assert ended.code == 0, ended.err
    assert text not in ended.out + ended.err
    return text


def test_the_token_is_stored_for_its_owner_alone(signed_in: str, own_settings: Path, command: Commands) -> None:
    assert own_settings.stat().st_mode & 0o777 == 0o600
    assert own_settings.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in own_settings.parent.iterdir()] == ["credentials.toml"]
    ended = command(None, "whoami")
    assert (ended.code, "requester" in ended.out, signed_in in ended.out) == (0, True, False)


def test_a_token_that_is_not_valid_is_not_stored(
    command: Commands, own_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("portal_wrong"))
    ended = command(None, "login", ADDRESS, "--token-stdin")
    assert (ended.code, own_settings.exists(), "portal_wrong" in ended.err) == (2, False, False)


def test_the_token_is_asked_for_without_echo(
    requester: User, program: Programs, command: Commands, monkeypatch: pytest.MonkeyPatch, own_settings: Path
) -> None:
    text = program(requester).text
    monkeypatch.setattr("builtins.input", lambda prompt: ADDRESS)
    monkeypatch.setattr("getpass.getpass", lambda prompt: text)
    assert command(None, "login").code == 0
    assert own_settings.exists()


def test_signing_out_removes_the_file(signed_in: str, command: Commands, own_settings: Path) -> None:
    assert command(None, "logout").code == 0
    assert not own_settings.exists()
    ended = command(None, "runs")
    assert (ended.code, "portal login" in ended.err) == (1, True)


def test_the_stored_token_goes_to_its_own_address_alone(signed_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials.find(f"{ADDRESS}/").token == signed_in
    monkeypatch.setenv("PORTAL_ADDRESS", "https://other.example.com")
    with pytest.raises(Misconfigured):
        credentials.find()


def test_arguments_count_before_the_environment_and_the_file(signed_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_TOKEN", "from-environment")
    assert credentials.find().token == "from-environment"
    assert credentials.find(token="given").token == "given"
    assert "given" not in repr(credentials.find(token="given"))


def test_a_broken_file_is_an_error(signed_in: str, own_settings: Path, command: Commands) -> None:
    own_settings.write_text("address = ")
    ended = command(None, "whoami")
    assert (ended.code, "portal login" in ended.err) == (1, True)
