"""The tokens of the demo's people: one file each, issued as themselves, and what make targets do with them."""

from __future__ import annotations

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from flows.models import Environment
from portal.demo import demo_client
from portal.demo.account_tokens import ensure_tokens
from runs.governance import tokens
from runs.models import AuditEntry, Policy, Token, Verb
from tests.cast import by

PEOPLE = ["requester", "viewer"]


def actor(path: Path) -> str:
    return tokens.authenticate(path.read_text(), address="127.0.0.1").name


@pytest.fixture
def folder(tmp_path: Path, requester: User, viewer: User, prod: Environment) -> Path:
    made = tmp_path / "tokens"
    ensure_tokens(made, PEOPLE)
    return made


@pytest.mark.django_db
def test_each_who_can_sign_in_has_a_token_that_only_its_owner_reads(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: actor(path) for path in folder.iterdir()} == {name: name for name in PEOPLE}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    entries = AuditEntry.objects.filter(verb="token.issue")
    assert sorted(entries.values_list("actor_name", "actor_kind")) == [(name, "person") for name in PEOPLE]
    token = Token.objects.get(user__username="viewer")
    assert timedelta(days=29) < token.expires_at - timezone.now() <= timedelta(days=30)
    assert [scope.environment and scope.environment.slug for scope in token.scopes.order_by("pk")] == [None, "prod"]
    assert all(Verb.BREAK_GLASS not in scope.verbs for scope in token.scopes.all())
    texts = [path.read_text() for path in folder.iterdir()]
    assert not [text for text in texts if text in repr(list(AuditEntry.objects.values()))]


@pytest.mark.django_db
def test_a_good_token_stays(folder: Path) -> None:
    before = {path.name: path.read_text() for path in folder.iterdir()}
    ensure_tokens(folder, PEOPLE)
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    assert Token.objects.count() == len(PEOPLE)


@pytest.mark.django_db
@pytest.mark.parametrize("what", ["expires", "revoked", "another environment", "of somebody else", "cut off"])
def test_one_that_is_not_good_is_replaced(
    folder: Path, viewer: User, dev: Environment, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path, now = folder / "viewer", timezone.now
    before = path.read_text()
    token = Token.objects.get(user=viewer)
    match what:
        case "expires":
            monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(days=29, hours=1))
        case "revoked":
            tokens.revoke(token, by=by(viewer))
        case "another environment":
            Environment.objects.filter(pk=dev.pk).update(is_protected=True)
        case "of somebody else":
            path.write_text((folder / "requester").read_text())
        case "cut off":
            path.write_text(before[:-1])
    ensure_tokens(folder, PEOPLE)
    assert path.read_text() != before
    assert actor(path) == "viewer"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.django_db
def test_who_cannot_sign_in_has_none(folder: Path, viewer: User) -> None:
    User.objects.filter(pk=viewer.pk).update(is_active=False)
    ensure_tokens(folder, [*PEOPLE, "nobody-of-that-name"])
    assert [path.name for path in folder.iterdir()] == ["requester"]


@pytest.mark.django_db
def test_a_policy_can_shorten_their_lives(tmp_path: Path, viewer: User, prod: Environment) -> None:
    Policy.objects.create(name="short", environment=prod, token_days=7)
    ensure_tokens(tmp_path / "tokens", ["viewer"])
    assert Token.objects.get().expires_at <= timezone.now() + timedelta(days=7)


@pytest.mark.django_db
def test_an_installation_gets_no_accounts_of_the_demo(tmp_path: Path, settings: object) -> None:
    settings.PRODUCTION = True  # type: ignore[attr-defined]  # pytest-django's settings
    with pytest.raises(CommandError):
        call_command("demo_cast", tokens=tmp_path / "tokens")
    assert not User.objects.filter(username="ada").exists()
    assert not (tmp_path / "tokens").exists()


# What make targets use ------------------------------------------------------------------------------------------------


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a demo would be. Returns its folder; nothing is in the environment."""
    for name in ("PORTAL_ADDRESS", "PORTAL_TOKEN"):
        # Set first, so that what the code sets is taken back.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(demo_client, "DATA", tmp_path)
    return tmp_path


def start(demo: Path) -> None:
    (demo / "portal.env").write_text("PORTAL_MODE=demo\nPORTAL_PUBLIC_URL=http://127.0.0.1:8123\n")
    (demo / "tokens").mkdir()
    (demo / "tokens" / "axel").write_text("portal_x")


def test_a_target_uses_the_demo_that_runs_here(demo: Path) -> None:
    start(demo)
    demo_client.use_demo()
    assert (os.environ["PORTAL_ADDRESS"], os.environ["PORTAL_TOKEN"]) == ("http://127.0.0.1:8123", "portal_x")


def test_a_target_uses_the_portal_that_the_environment_names(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(demo)
    monkeypatch.setenv("PORTAL_ADDRESS", "https://portal.example.com")
    demo_client.use_demo()
    # The token of the demo goes nowhere else.
    assert "PORTAL_TOKEN" not in os.environ


def test_without_a_demo_a_target_says_how_to_start_one(demo: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        demo_client.use_demo()
    assert "make demo" in str(ended.value.code)
