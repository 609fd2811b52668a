"""The settings: production refuses to start half-configured, and says in a sentence what is missing."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ImproperlyConfigured, ValidationError

from portal import settings

ROOT = Path(__file__).resolve().parent.parent
GOOD = {
    "PORTAL_SECRET_KEY": "x9" * 30 + "-many-different-characters",
    "PORTAL_FIELD_KEYS": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "PORTAL_AUDIT_KEYS": "an-audit-key-of-its-own-with-48-random-characters",
    "PORTAL_TOKEN_PEPPERS": "1:a-pepper-of-its-own-with-48-random-characters",
    "PORTAL_ALLOWED_HOSTS": "portal.example.com",
    "DATABASE_URL": "postgresql://portal_app@db.example.com:5432/portal",
}
Load = Callable[[Mapping[str, str]], dict[str, Any]]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Runs the settings file with these variables alone; gives the names it defines."""

    def run(variables: Mapping[str, str]) -> dict[str, Any]:
        for name in [name for name in os.environ if name.startswith(("PORTAL_", "DATABASE_URL"))]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(ROOT / "portal" / "settings.py"))

    return run


@pytest.fixture
def refused(load: Load) -> Callable[[Mapping[str, str]], str]:
    """The sentence with which it does not start."""

    def run(variables: Mapping[str, str]) -> str:
        with pytest.raises(ImproperlyConfigured) as caught:
            load(variables)
        return str(caught.value)

    return run


Refused = Callable[[Mapping[str, str]], str]


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in GOOD.items() if name not in names}


@pytest.mark.parametrize(
    "name", ["PORTAL_SECRET_KEY", "PORTAL_FIELD_KEYS", "PORTAL_AUDIT_KEYS", "PORTAL_TOKEN_PEPPERS"]
)
def test_production_refuses_to_start_without_a_secret(refused: Refused, name: str) -> None:
    assert refused(without(name)).startswith(f"{name} is not set. Set it, or {name}_FILE, to ")
    assert refused(GOOD | {name: ""}).startswith(f"{name} is not set.")


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("PORTAL_SECRET_KEY", settings.INSECURE_SECRET_KEY),
        ("PORTAL_FIELD_KEYS", settings.INSECURE_FIELD_KEY),
        ("PORTAL_AUDIT_KEYS", settings.INSECURE_AUDIT_KEY),
        ("PORTAL_TOKEN_PEPPERS", f"1:{settings.INSECURE_TOKEN_PEPPER}"),
    ],
)
def test_production_refuses_the_default_that_everybody_can_read(refused: Refused, name: str, default: str) -> None:
    assert refused(GOOD | {name: default}).startswith(f"{name} is not set.")
    assert refused(GOOD | {name: f"{GOOD[name]},{default}"}).startswith(f"{name} is not set.")


def test_production_is_the_default(load: Load) -> None:
    found = load(GOOD)
    assert (found["MODE"], found["DEBUG"], found["HTTPS"]) == ("production", False, True)


@pytest.mark.parametrize("mode", ["demo", "test"])
def test_demo_and_tests_start_without_any_secret(load: Load, mode: str) -> None:
    assert load({"PORTAL_MODE": mode})["SECRET_KEY"]


def test_an_unknown_mode_is_a_sentence(refused: Refused) -> None:
    said = refused(GOOD | {"PORTAL_MODE": "staging"})
    assert said == "PORTAL_MODE is 'staging'; it may be production, demo or test."


@pytest.mark.parametrize("key", ["abc", "not base64 at all", "MDEy", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=,"])
def test_what_is_no_fernet_key_is_refused_at_the_start(refused: Refused, key: str) -> None:
    assert "of PORTAL_FIELD_KEYS is not a Fernet key" in refused(GOOD | {"PORTAL_FIELD_KEYS": key})


def test_several_field_keys_may_be_given(load: Load) -> None:
    keys = ["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "OTg3NjU0MzIxMDk4NzY1NDMyMTA5ODc2NTQzMjEwOTg="]
    assert load(GOOD | {"PORTAL_FIELD_KEYS": ", ".join(keys)})["FIELD_KEYS"] == keys


@pytest.mark.parametrize("keys", ["short", f"{GOOD['PORTAL_AUDIT_KEYS']},short", f"{GOOD['PORTAL_AUDIT_KEYS']},"])
def test_an_audit_key_that_could_be_found_by_trying_is_refused_at_the_start(refused: Refused, keys: str) -> None:
    assert "of PORTAL_AUDIT_KEYS is too short" in refused(GOOD | {"PORTAL_AUDIT_KEYS": keys})


def test_several_audit_keys_may_be_given(load: Load) -> None:
    keys = [GOOD["PORTAL_AUDIT_KEYS"], "the-audit-key-of-last-year-with-48-random-letters"]
    assert load(GOOD | {"PORTAL_AUDIT_KEYS": ", ".join(keys)})["AUDIT_KEYS"] == keys


PEPPER = GOOD["PORTAL_TOKEN_PEPPERS"].partition(":")[2]


@pytest.mark.parametrize("peppers", [PEPPER, f"one:{PEPPER}", f"1:{PEPPER},1:{PEPPER}", f"1:{PEPPER},", "1:short"])
def test_a_pepper_without_a_number_or_that_could_be_found_is_refused_at_the_start(
    refused: Refused, peppers: str
) -> None:
    assert "PORTAL_TOKEN_PEPPERS" in refused(GOOD | {"PORTAL_TOKEN_PEPPERS": peppers})


def test_several_peppers_may_be_given(load: Load) -> None:
    peppers = f"2:{PEPPER}-new, 1:{PEPPER}"
    assert load(GOOD | {"PORTAL_TOKEN_PEPPERS": peppers})["TOKEN_PEPPERS"] == {2: f"{PEPPER}-new", 1: PEPPER}


# Secrets from files


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("PORTAL_SECRET_KEY", GOOD["PORTAL_SECRET_KEY"], lambda found: found["SECRET_KEY"]),
        ("PORTAL_FIELD_KEYS", GOOD["PORTAL_FIELD_KEYS"], lambda found: found["FIELD_KEYS"][0]),
        ("PORTAL_AUDIT_KEYS", GOOD["PORTAL_AUDIT_KEYS"], lambda found: found["AUDIT_KEYS"][0]),
        ("PORTAL_TOKEN_PEPPERS", GOOD["PORTAL_TOKEN_PEPPERS"], lambda found: f"1:{found['TOKEN_PEPPERS'][1]}"),
        ("PORTAL_DATABASE_PASSWORD", "p:/@ss", lambda found: found["DATABASES"]["default"]["PASSWORD"]),
        ("PORTAL_ALLOWED_HOSTS", "portal.example.com", lambda found: found["ALLOWED_HOSTS"][0]),
        ("PORTAL_TIME_ZONE", "Europe/Vienna", lambda found: found["TIME_ZONE"]),
        ("PORTAL_SINGLE_ADMINISTRATOR", "true", lambda found: str(found["SINGLE_ADMINISTRATOR"]).lower()),
    ],
)
def test_any_setting_may_come_from_a_file(
    load: Load, tmp_path: Path, name: str, value: str, read: Callable[[dict[str, Any]], str]
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{value}\n")
    assert read(load(without(name) | {f"{name}_FILE": str(file)})) == value


def test_a_file_that_cannot_be_read_is_a_sentence(refused: Refused) -> None:
    said = refused(without("PORTAL_SECRET_KEY") | {"PORTAL_SECRET_KEY_FILE": "/no/such/file"})
    assert said == "PORTAL_SECRET_KEY_FILE: /no/such/file cannot be read: No such file or directory."


# The database


@pytest.mark.parametrize("url", ["mysql://root@db/portal", "sqlite:///portal.sqlite3", "portal", "http://db"])
def test_another_database_than_postgres_is_a_sentence(refused: Refused, url: str) -> None:
    said = refused(GOOD | {"DATABASE_URL": url})
    assert said == "DATABASE_URL must begin with postgresql://; the portal needs Postgres."


@pytest.mark.parametrize("url", ["postgresql://db:port/portal", "postgresql://[db/portal"])
def test_an_address_that_is_none_is_a_sentence_without_the_address(refused: Refused, url: str) -> None:
    assert refused(GOOD | {"DATABASE_URL": url}).startswith("DATABASE_URL is no address; it looks like ")


def test_a_database_address_is_taken_apart() -> None:
    found = settings.database("postgresql://us%40er:p%3Aw@db.example.com:5433/por%2Ftal?sslmode=require")
    wanted = {"USER": "us@er", "PASSWORD": "p:w", "HOST": "db.example.com", "PORT": "5433", "NAME": "por/tal"}
    assert {name: found[name] for name in wanted} == wanted
    assert found["OPTIONS"]["sslmode"] == "require"
    assert settings.database("postgresql://postgres@/portal?host=/run/postgresql")["HOST"] == "/run/postgresql"


def test_only_the_web_process_has_a_pool(load: Load) -> None:
    assert "pool" in load(GOOD | {"PORTAL_PROCESS": "web"})["DATABASES"]["default"]["OPTIONS"]
    assert "pool" not in load(GOOD)["DATABASES"]["default"]["OPTIONS"]


def test_the_address_of_the_database_can_turn_prepared_statements_off(load: Load) -> None:
    options = load(GOOD)["DATABASES"]["default"]["OPTIONS"]
    assert options == {
        "server_side_binding": True,
        "prepare_threshold": 5,
        "options": "-c join_collapse_limit=4 -c random_page_cost=1.1",
    }
    off = load(GOOD | {"DATABASE_URL": "postgresql://portal@db/portal?prepare_threshold=none"})
    assert off["DATABASES"]["default"]["OPTIONS"]["prepare_threshold"] is None
    none = load(GOOD | {"DATABASE_URL": "postgresql://portal@db/portal?options="})
    assert none["DATABASES"]["default"]["OPTIONS"]["options"] == ""


def test_mail_needs_an_address_for_its_links(refused: Refused, load: Load) -> None:
    mail = GOOD | {"PORTAL_MAIL_HOST": "mail.example.com"}
    assert "PORTAL_PUBLIC_URL is not set" in refused(mail)
    found = load(mail | {"PORTAL_PUBLIC_URL": "https://portal.example.com", "PORTAL_MAIL_TLS": "no"})
    assert found["SENDS_MAIL"]
    assert found["MAILERS"]["default"]["OPTIONS"]["host"] == "mail.example.com"
    assert found["MAILERS"]["default"]["OPTIONS"]["use_tls"] is False
    assert not load(GOOD)["SENDS_MAIL"]


@pytest.mark.parametrize(
    "value", ["proxy.example:3128", "socks5://proxy.example", "http://", "http://p/x", "http://p:x"]
)
def test_a_proxy_is_named_by_its_address(refused: Refused, load: Load, value: str) -> None:
    assert "PORTAL_OUTGOING_PROXY" in refused(GOOD | {"PORTAL_OUTGOING_PROXY": value})
    assert load(GOOD | {"HTTPS_PROXY": "http://proxy.example:3128"})["OUTGOING_PROXY"] == ""
    for good in ("http://user:secret@proxy.example:3128", "environment"):
        assert load(GOOD | {"PORTAL_OUTGOING_PROXY": good})["OUTGOING_PROXY"] == good


# What a deployment is checked for


def test_djangos_own_deployment_check_finds_nothing() -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=kept | GOOD,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_only_behind_a_proxy_the_proxy_says_whether_it_was_https(load: Load) -> None:
    assert load(GOOD)["SECURE_PROXY_SSL_HEADER"] is None
    assert load(GOOD | {"PORTAL_BEHIND_PROXY": "true"})["SECURE_PROXY_SSL_HEADER"] == (
        "HTTP_X_FORWARDED_PROTO",
        "https",
    )


@pytest.mark.parametrize(("given", "wanted"), [("on", True), ("off", False)])
def test_cookies_and_redirects_follow_https(load: Load, given: str, wanted: bool) -> None:
    found = load(GOOD | {"PORTAL_HTTPS": given})
    names = ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS")
    assert [bool(found[name]) for name in names] == [wanted] * 4
    # Browsers refuse a cookie of this name without Secure, so plain HTTP needs another one.
    cookies = ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME")
    assert [found[name].startswith("__Host-") for name in cookies] == [wanted] * 2


@pytest.mark.parametrize("password", ["Winter2026", "sse12345", "portal-demo", "ssejohnson26", "password1234"])
def test_weak_passwords_are_refused(password: str) -> None:
    person = User(username="sse.johnson", email="sse@example.org")
    with pytest.raises(ValidationError):
        validate_password(password, person)


def test_no_host_is_allowed_that_was_not_named(load: Load) -> None:
    assert load(without("PORTAL_ALLOWED_HOSTS"))["ALLOWED_HOSTS"] == []
