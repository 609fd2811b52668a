"""Job tokens: what is verified, with which keys, and that no stranger makes the portal ask the issuer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured

from portal import settings as product_settings
from portal.auth import issuer_keys, job_tokens
from runs.governance.tokens import NewToken
from runs.models import JobTrust, ServiceAccount, Token
from tests.fakes.issuer import AUDIENCE, GITHUB, Issuer, new_key, serving
from tests.portal.made_tokens import robot_of
from tests.portal.trusted_jobs import ON_GITLAB, trust
from tests.refusals import refused

pytestmark = pytest.mark.django_db
DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def robot(requester: User) -> ServiceAccount:
    return robot_of(requester)


@pytest.fixture
def trusted(robot: ServiceAccount, issuer: Issuer) -> JobTrust:
    return trust(robot, issuer.url)


def show(text: str, address: str = "192.0.2.7") -> NewToken:
    return job_tokens.exchange(text, account="", address=address, user_agent="curl")


def part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def test_a_job_of_github_is_given_a_token(trusted: JobTrust, issuer: Issuer) -> None:
    new = show(issuer.github())
    assert new.token.job_trust == trusted
    assert new.token.user.username == "ci-robot"


def test_so_is_one_of_gitlab(robot: ServiceAccount, issuer: Issuer) -> None:
    trusted = trust(robot, issuer.url, claims=ON_GITLAB)
    assert show(issuer.gitlab()).token.job_trust == trusted


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aud": "https://elsewhere.example.com"}, "job_token.audience"),
        ({"aud": [AUDIENCE, "https://elsewhere.example.com"]}, "job_token.audience"),
        ({"aud": []}, "job_token.audience"),
        ({"aud": None}, "job_token.audience"),
        ({"iss": "https://evil.example.com"}, "job_token.issuer"),
        ({"iss": None}, "job_token.malformed"),
        ({"exp": None}, "job_token.malformed"),
        ({"nbf": None}, "job_token.malformed"),
        ({"iat": None}, "job_token.malformed"),
        ({"exp": 1e300}, "job_token.malformed"),
        ({"exp": True}, "job_token.malformed"),
        ({"crit": ["exp"]}, "job_token.malformed"),
        ({"kid": "invented"}, "job_token.signature"),
        ({"repository": "acme/other"}, "job_token.claims"),
    ],
)
def test_what_is_refused(trusted: JobTrust, issuer: Issuer, changes: dict[str, Any], code: str) -> None:
    with refused(code):
        show(issuer.github(**changes))
    assert not Token.objects.exists()


@pytest.mark.parametrize(("name", "seconds"), [("exp", -120), ("nbf", 300), ("iat", 300)])
def test_one_of_another_time_is_refused(trusted: JobTrust, issuer: Issuer, name: str, seconds: int) -> None:
    with refused("job_token.expired"):
        show(issuer.github(**{name: int(time.time()) + seconds}))
    assert not Token.objects.exists()


def test_a_job_token_within_the_leeway_is_accepted(trusted: JobTrust, issuer: Issuer) -> None:
    assert show(issuer.github(exp=int(time.time()) - 30))
    assert show(issuer.github(nbf=int(time.time()) + 30))


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é" * 20, "x" * 20_000, "a." * 2000, ".." * 10])
def test_other_texts_are_refused(trusted: JobTrust, issuer: Issuer, text: str) -> None:
    with refused("job_token.malformed"):
        show(text)
    assert issuer.asked == []


def test_deep_content_is_refused(trusted: JobTrust, issuer: Issuer) -> None:
    deep = base64.urlsafe_b64encode(b'{"iss":' + b"[" * 5000).decode().rstrip("=")
    with refused("job_token.malformed"):
        show(f"{part({'alg': 'RS256', 'kid': 'first'})}.{deep}.x")


def test_it_must_be_signed_by_the_issuer(trusted: JobTrust, issuer: Issuer) -> None:
    with refused("job_token.signature"):
        show(issuer.github(key=new_key()))


def test_a_changed_claim_breaks_the_signature(trusted: JobTrust, issuer: Issuer) -> None:
    header, _, signature = issuer.github().split(".")
    claims = {**GITHUB, "iss": issuer.url, "aud": AUDIENCE, "repository_id": "123456789"}
    now = int(time.time())
    body = part({**claims, "exp": now + 600, "nbf": now, "iat": now})
    with refused("job_token.signature"):
        show(f"{header}.{body}.{signature}")


def test_no_signature_and_no_shared_secret_is_accepted(trusted: JobTrust, issuer: Issuer) -> None:
    now = int(time.time())
    claims = {**GITHUB, "iss": issuer.url, "aud": AUDIENCE, "exp": now + 600, "nbf": now, "iat": now}
    with refused("job_token.malformed"):
        show(f"{part({'alg': 'none', 'kid': 'first'})}.{part(claims)}.")
    # The public key is known to all: with it as the secret of an HMAC anyone could sign.
    public = issuer.keys["first"].public_key()
    secret = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = f"{part({'alg': 'HS256', 'kid': 'first'})}.{part(claims)}"
    mac = base64.urlsafe_b64encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest()).decode().rstrip("=")
    with refused("job_token.malformed"):
        show(f"{signed}.{mac}")


def test_a_signature_of_another_kind_than_the_key_is_refused(trusted: JobTrust, issuer: Issuer) -> None:
    with refused("job_token.signature"):
        show(issuer.github(key=ec.generate_private_key(ec.SECP256R1()), alg="ES256"))


def test_short_and_symmetric_keys_of_an_issuer_are_not_used(trusted: JobTrust, issuer: Issuer) -> None:
    issuer.keys["first"] = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with refused("job_token.signature"):
        show(issuer.github())
    assert issuer_keys.usable_key({"kty": "oct", "k": "c2VjcmV0", "kid": "x"}) is None
    assert issuer_keys.usable_key({"kty": "RSA", "use": "enc", "kid": "x"}) is None


# Asking the issuer ----------------------------------------------------------------------------------------------------


def test_keys_are_read_once_an_hour(trusted: JobTrust, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    show(issuer.github())
    show(issuer.github())
    assert issuer.asked == [DISCOVERY, "/keys"]
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + issuer_keys.KEPT_FOR)
    show(issuer.github())
    assert len(issuer.asked) == 4


def test_a_new_key_is_read_but_only_once_a_minute(
    trusted: JobTrust, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(issuer.github())
    issuer.rotate()
    with refused("job_token.signature"):
        show(issuer.github())
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + issuer_keys.PAUSE)
    assert show(issuer.github())
    asked = len(issuer.asked)
    for number in range(5):
        with refused("job_token.signature"):
            show(issuer.github(kid=f"invented-{number}"))
    assert len(issuer.asked) == asked


def test_a_stranger_does_not_make_the_portal_ask(trusted: JobTrust, issuer: Issuer) -> None:
    now = int(time.time())
    for changes in ({"aud": "x"}, {"exp": now - 300}, {"iss": "https://evil.example.com"}, {"nbf": now + 300}):
        with pytest.raises(Exception, match="job token"):
            show(issuer.github(**changes))
    trusted.digest = ""
    trusted.save()
    with refused("job_token.audience"):
        show(issuer.github())
    assert issuer.asked == []


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (DISCOVERY, (302, {"Location": "https://evil.example.com"}, b"")),
        (DISCOVERY, (500, {}, b"{}")),
        (DISCOVERY, (200, {}, b"not json")),
        (DISCOVERY, (200, {}, b"[]")),
        (DISCOVERY, (200, {}, b" " * (issuer_keys.LARGEST + 1))),
        (DISCOVERY, (200, {}, b'{"issuer": "https://evil.example.com", "jwks_uri": "ISSUER/keys"}')),
        (DISCOVERY, (200, {}, b'{"issuer": "ISSUER", "jwks_uri": "http://127.0.0.1:1/keys"}')),
        (DISCOVERY, (200, {}, b'{"issuer": "ISSUER", "jwks_uri": "https://evil.example.com/keys"}')),
        (DISCOVERY, (200, {}, b'{"issuer": "ISSUER", "jwks_uri": "file:///etc/passwd"}')),
        ("/keys", (200, {}, b'{"keys": "x"}')),
        ("/keys", (302, {"Location": "/other"}, b"")),
    ],
)
def test_an_issuer_that_fails_or_leads_elsewhere(
    trusted: JobTrust, issuer: Issuer, path: str, answer: tuple[int, dict[str, str], bytes]
) -> None:
    status, headers, body = answer
    issuer.answers[path] = status, headers, body.replace(b"ISSUER", issuer.url.encode())
    with refused("job_token.unavailable"):
        show(issuer.github())
    # Once: not again within the minute, however many come.
    asked = len(issuer.asked)
    with refused("job_token.unavailable"):
        show(issuer.github(), address="192.0.2.8")
    assert len(issuer.asked) == asked


def test_keys_elsewhere_are_not_even_asked_for(trusted: JobTrust, issuer: Issuer) -> None:
    with serving() as other:
        answer = {"issuer": issuer.url, "jwks_uri": f"{other.url}/keys"}
        issuer.answers[DISCOVERY] = 200, {}, json.dumps(answer).encode()
        with refused("job_token.unavailable"):
            show(issuer.token(GITHUB, key=other.keys[other.kid]))
        assert other.asked == []


@pytest.mark.parametrize(
    "text",
    [
        "http://gitlab.example.com",
        "gitlab.com",
        "https://gitlab.com/",
        "https://gitlab.com?x=1",
        "https://user@gitlab.com",
        "file:///etc/passwd",
    ],
)
def test_an_issuer_is_an_https_address(text: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        product_settings.job_issuers(text)


def test_issuers_are_those_of_the_operator() -> None:
    assert product_settings.job_issuers("https://gitlab.com, https://git.example.com/x") == [
        "https://gitlab.com",
        "https://git.example.com/x",
    ]
