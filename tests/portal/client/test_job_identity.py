"""The client in a CI job: which credential counts, where it is sent, and what happens when it expires."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment
from portal.client import Misconfigured, Portal, PortalError, TokenRejected, credentials
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, JobTrust, JobTrustScope, ServiceAccount, Token
from tests.fakes.issuer import GITHUB, REQUEST_TOKEN, Issuer
from tests.portal.api.programs import Programs
from tests.portal.client.in_process import ADDRESS, Commands
from tests.portal.made_tokens import robot_of
from tests.portal.trusted_jobs import ON_GITLAB, trust

pytestmark = pytest.mark.django_db


@pytest.fixture
def robot(requester: User, deployment: Deployment) -> ServiceAccount:
    found = robot_of(requester)
    grants.grant(by=Actor.system(), person=found.user, verbs=["see", "trigger"], environment=deployment.environment)
    return found


@pytest.fixture
def trusted(robot: ServiceAccount, issuer: Issuer) -> JobTrust:
    # The client asks GitHub for a token whose audience is the address of the portal.
    return trust(robot, issuer.url, JobTrustScope(verbs=["see", "trigger"]), audience=ADDRESS)


@pytest.fixture
def on_github(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What GitHub sets in a job that may ask for a token."""
    monkeypatch.setenv("PORTAL_ADDRESS", ADDRESS)
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", issuer.request_url)
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN)


@pytest.mark.usefixtures("on_github")
def test_a_job_of_github_runs_a_deployment_without_a_secret(trusted: JobTrust, command: Commands) -> None:
    ended = command(None, "run", "monthly/monthly", "-e", "dev", "-p", "month=2026-10")
    assert (ended.code, ended.err) == (0, "")
    entry = AuditEntry.objects.get(verb="request.submit")
    assert (entry.actor_name, entry.on_behalf_of) == ("ci-robot", "requester")
    assert entry.token_id == Token.objects.get(job_trust=trusted).key


def test_a_job_of_gitlab_does_too(
    robot: ServiceAccount, issuer: Issuer, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(robot, issuer.url, claims=ON_GITLAB, audience=ADDRESS)
    monkeypatch.setenv("PORTAL_ADDRESS", ADDRESS)
    monkeypatch.setenv("PORTAL_JOB_TOKEN", issuer.gitlab(aud=ADDRESS))
    ended = command(None, "whoami")
    assert ended.code == 0, ended.err
    assert "ci-robot for requester" in ended.out


@pytest.mark.usefixtures("on_github")
def test_the_account_is_named_where_several_trust_the_job(
    trusted: JobTrust, issuer: Issuer, requester: User, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(robot_of(requester, "other-robot"), issuer.url, audience=ADDRESS)
    assert "job_token.ambiguous" in command(None, "whoami").err
    monkeypatch.setenv("PORTAL_JOB_ACCOUNT", "other-robot")
    assert "other-robot" in command(None, "whoami").out


@pytest.mark.usefixtures("on_github")
def test_a_static_token_goes_first(
    issuer: Issuer, requester: User, program: Programs, monkeypatch: pytest.MonkeyPatch, transport: httpx.MockTransport
) -> None:
    monkeypatch.setenv("PORTAL_TOKEN", program(requester).text)
    assert Portal(transport=transport).me().user == "requester"
    assert issuer.asked == []


@pytest.mark.usefixtures("on_github")
def test_the_job_goes_before_a_file_that_was_left(trusted: JobTrust, transport: httpx.MockTransport) -> None:
    credentials.save(credentials.Credentials(ADDRESS, "portal_of_somebody_else"))
    assert Portal(transport=transport).me().user == "ci-robot"


def test_a_job_token_is_sent_to_no_address_of_a_file(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch, transport: httpx.MockTransport
) -> None:
    credentials.save(credentials.Credentials(ADDRESS, "portal_stored"))
    monkeypatch.setenv("PORTAL_JOB_TOKEN", issuer.github())
    with pytest.raises(TokenRejected) as caught:
        Portal(transport=transport).me()
    assert caught.value.code == "token.invalid"
    with pytest.raises(Misconfigured):
        Portal("http://portal.example.com", transport=transport)


@pytest.mark.usefixtures("on_github")
def test_only_an_expired_token_is_renewed(trusted: JobTrust, transport: httpx.MockTransport) -> None:
    portal = Portal(transport=transport)
    Token.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    # Changed in the database, it is not valid, rather than expired.
    with pytest.raises(TokenRejected):
        portal.me()
    assert Token.objects.count() == 1


@pytest.mark.usefixtures("on_github")
def test_time_passes_and_the_job_goes_on(
    trusted: JobTrust, transport: httpx.MockTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    portal = Portal(transport=transport)
    first = portal.me().token
    now = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(minutes=16))
    change = portal.run("dev", "monthly/monthly", {"month": "2026-10"})
    assert change.id
    assert portal.me().token != first
    assert Token.objects.filter(job_trust=trusted).count() == 2


@pytest.mark.usefixtures("on_github")
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((401, {}, b"{}"), Misconfigured),
        ((302, {"Location": "https://evil.example.com"}, b""), Misconfigured),
        ((200, {}, b"<html>"), PortalError),
        ((200, {}, b"[]"), PortalError),
        ((200, {}, b'{"value": 7}'), Misconfigured),
    ],
)
def test_github_that_gives_no_token(
    issuer: Issuer, transport: httpx.MockTransport, answer: Any, kind: type[PortalError]
) -> None:
    issuer.answers["/request"] = answer
    with pytest.raises(kind) as caught:
        Portal(transport=transport)
    assert REQUEST_TOKEN not in str(caught.value)
    assert issuer.url not in str(caught.value)


def test_the_secret_of_the_runner_is_not_sent_in_the_clear(
    monkeypatch: pytest.MonkeyPatch, transport: httpx.MockTransport
) -> None:
    monkeypatch.setenv("PORTAL_ADDRESS", ADDRESS)
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "http://runner.example.com/x?y=1")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN)
    with pytest.raises(Misconfigured):
        Portal(transport=transport)


@pytest.mark.usefixtures("on_github")
def test_a_job_of_another_branch_is_told_so(trusted: JobTrust, issuer: Issuer, command: Commands) -> None:
    issuer.job = {**GITHUB, "ref": "refs/heads/other"}
    ended = command(None, "whoami")
    assert (ended.code, "ref" in ended.err, "job_token.claims" in ended.err) == (2, True, True)
