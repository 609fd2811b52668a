"""Trusted jobs: who creates and revokes them, what a job is given, and what ends it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import changes, requests, sweeps
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import grants, job_refusals, job_trusts, service_accounts, token_limits, tokens
from runs.governance.job_trusts import JobToken
from runs.models import AuditEntry, JobTrust, JobTrustScope, ServiceAccount, Token, TokenScope
from tests.cast import by, person
from tests.fakes.issuer import AUDIENCE, GITHUB
from tests.portal.made_tokens import robot_of
from tests.portal.trusted_jobs import ON_GITHUB, trust
from tests.refusals import refused
from tests.runs.conftest import Later

pytestmark = pytest.mark.django_db
ISSUER = "https://token.actions.githubusercontent.com"
PLACE = "192.0.2.7"


@pytest.fixture
def robot(requester: User) -> ServiceAccount:
    return robot_of(requester)


@pytest.fixture
def trusted(robot: ServiceAccount) -> JobTrust:
    return trust(robot, ISSUER)


def job(digest: str = "d1", **claims: Any) -> JobToken:
    """What a verified job token says."""
    return JobToken(ISSUER, AUDIENCE, {"iss": ISSUER, **GITHUB, **claims}, digest)


def exchange(found: JobToken | None = None, **options: Any) -> tokens.NewToken:
    return job_trusts.exchange(found or job(), address=PLACE, user_agent="curl", **options)


def use(new: tokens.NewToken) -> Actor:
    return tokens.authenticate(new.text, address=PLACE)


# Who trusts -----------------------------------------------------------------------------------------------------------


def test_only_the_owner_creates_one(robot: ServiceAccount, admin_user: User, approver: User) -> None:
    for other in (admin_user, approver):
        with refused("job_trust.not_own"):
            trust(robot, ISSUER, owner=other)
    assert trust(robot, ISSUER).created_by == robot.owner
    entry = AuditEntry.objects.filter(verb="job_trust.create", outcome="done").get()
    assert entry.after["claims"] == ON_GITHUB


def test_not_for_oneself(requester: User) -> None:
    with refused("job_trust.not_own"):
        job_trusts.create(
            requester,
            by=by(requester),
            name="x",
            issuer=ISSUER,
            audience=AUDIENCE,
            claims=ON_GITHUB,
            scopes=[JobTrustScope(verbs=["see"])],
            expires_at=timezone.now() + timedelta(days=1),
        )


def test_a_token_creates_and_revokes_none(robot: ServiceAccount, trusted: JobTrust) -> None:
    new = tokens.issue(
        robot.owner,
        by=by(robot.owner),
        name="x",
        scopes=[TokenScope(verbs=list(token_limits.VERBS))],
        expires_at=timezone.now() + timedelta(days=1),
    )
    actor = use(new)
    with refused("token.interactive"):
        job_trusts.revoke(trusted, by=actor)
    with refused("token.interactive"):
        job_trusts.create(
            robot.user,
            by=actor,
            name="x",
            issuer=ISSUER,
            audience=AUDIENCE,
            claims=ON_GITHUB,
            scopes=[JobTrustScope(verbs=["see"])],
            expires_at=timezone.now() + timedelta(days=1),
        )


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"name": " "}, "token.name_required"),
        ({"audience": "two words"}, "job_trust.audience"),
        ({"audience": ""}, "job_trust.audience"),
        ({"claims": {"ref": "refs/heads/main"}}, "job_trust.repository"),
        ({"token_minutes": 0}, "job_trust.minutes"),
        ({"token_minutes": 361}, "job_trust.minutes"),
        ({"expires_at": timezone.now() + timedelta(days=400)}, "token.expiry"),
    ],
)
def test_what_is_refused(robot: ServiceAccount, options: dict[str, Any], code: str) -> None:
    with refused(code):
        trust(robot, ISSUER, **options)
    assert not JobTrust.objects.exists()


def test_only_issuers_of_the_operator(robot: ServiceAccount) -> None:
    with refused("job_trust.issuer"):
        trust(robot, "https://evil.example.com")


def test_a_protected_environment_needs_one_ref(robot: ServiceAccount, prod: Environment) -> None:
    def reaching() -> JobTrustScope:
        return JobTrustScope(verbs=["trigger"], environment=prod)

    any_branch = {"repository": "acme/pipelines", "repository_id": "123456789"}
    for claims in (any_branch, {**any_branch, "ref": "refs/heads/*"}, {**any_branch, "ref_protected": "false"}):
        with refused("job_trust.unlimited"):
            trust(robot, ISSUER, reaching(), claims=claims)
    assert trust(robot, ISSUER, reaching(), claims={**any_branch, "ref_protected": "true"})
    assert trust(robot, ISSUER, reaching(), claims={**any_branch, "environment": "production"})
    # Elsewhere a page warns of it.
    assert trust(robot, ISSUER, claims=any_branch)


def test_an_environment_that_becomes_protected_needs_it_too(robot: ServiceAccount, dev: Environment) -> None:
    trust(robot, ISSUER, JobTrustScope(verbs=["trigger"], environment=dev), claims={"repository": "acme/pipelines"})
    assert exchange()
    Environment.objects.filter(pk=dev.pk).update(is_protected=True)
    with refused("job_trust.unlimited"):
        exchange()


# What a job is given --------------------------------------------------------------------------------------------------


def test_a_job_acts_as_the_service_account(robot: ServiceAccount, trusted: JobTrust, deployment: Deployment) -> None:
    grants.grant(by=Actor.system(), person=robot.user, verbs=["see", "trigger"], environment=deployment.environment)
    new = exchange()
    actor = use(new)
    assert (actor.user, actor.owner, actor.on_behalf_of) == (robot.user, robot.owner, "requester")
    requests.submit(deployment, {"month": "2026-10"}, by=actor)
    entry = AuditEntry.objects.get(verb="request.submit")
    assert (entry.token_id, entry.actor_name, entry.on_behalf_of) == (new.token.key, "ci-robot", "requester")


def test_its_token_is_short_and_has_the_scopes_of_the_trust(robot: ServiceAccount) -> None:
    trust(robot, ISSUER, JobTrustScope(verbs=["see"], flow_name="monthly"), token_minutes=5)
    new = exchange()
    assert timedelta(minutes=4) < new.token.expires_at - timezone.now() <= timedelta(minutes=5)
    assert [(each.verbs, each.flow_name) for each in new.token.scopes.all()] == [(["see"], "monthly")]


def test_it_does_not_outlive_the_trust(robot: ServiceAccount) -> None:
    trust(robot, ISSUER, expires_at=timezone.now() + timedelta(minutes=3), token_minutes=60)
    assert exchange().token.expires_at <= timezone.now() + timedelta(minutes=3)


def test_the_trail_says_which_job_it_was_and_not_its_token(trusted: JobTrust) -> None:
    new = exchange(job(digest="ab" * 32))
    entry = AuditEntry.objects.get(verb="token.exchange")
    assert (entry.actor_name, entry.on_behalf_of, entry.token_id) == ("ci-robot", "requester", new.token.key)
    assert entry.after["job"]["url"] == "https://github.com/acme/pipelines/actions/runs/7700112233/attempts/1"
    assert (entry.after["job"]["started_by"], entry.after["exchange"]) == ("amira", 1)
    assert new.text.partition(".")[2] not in repr(list(AuditEntry.objects.values()))


def test_one_job_token_is_exchanged_again_but_not_without_end(
    trusted: JobTrust, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_trusts, "MOST_EXCHANGES", 2)
    assert exchange().text != exchange().text
    assert [entry.after["exchange"] for entry in AuditEntry.objects.filter(verb="token.exchange")] == [2, 1]
    with refused("job_token.used_up"):
        exchange()
    assert exchange(job(digest="d2"))


def test_of_two_trusts_one_must_be_named(robot: ServiceAccount, trusted: JobTrust, requester: User) -> None:
    other = robot_of(requester, "other-robot")
    trust(other, ISSUER)
    with refused("job_token.ambiguous"):
        exchange()
    assert exchange(account="other-robot").token.user == other.user
    trust(other, ISSUER, name="again", claims={"repository_id": "123456789"})
    with refused("job_token.ambiguous"):
        exchange(account="other-robot")


def test_a_stranger_is_not_told_what_fits(trusted: JobTrust) -> None:
    with refused("job_token.claims") as caught:
        exchange(job(repository="evil/pipelines", repository_id="666", ref="refs/heads/x"))
    assert caught.value.data["claims"] == []
    with refused("job_token.claims") as caught:
        exchange(job(ref="refs/heads/x"))
    assert caught.value.data["claims"] == ["ref"]


# What ends it ---------------------------------------------------------------------------------------------------------


def test_revoking_ends_the_trust_and_its_tokens(trusted: JobTrust, robot: ServiceAccount) -> None:
    new = exchange()
    job_trusts.revoke(trusted, by=by(robot.owner), reason="left")
    with refused("token.invalid"):
        use(new)
    with refused("job_token.claims"):
        exchange()
    with refused("job_trust.revoked"):
        job_trusts.revoke(trusted, by=by(robot.owner))


def test_administrators_revoke_too_but_no_one_else(trusted: JobTrust, admin_user: User, approver: User) -> None:
    with refused("job_trust.not_own"):
        job_trusts.revoke(trusted, by=by(approver))
    job_trusts.revoke(trusted, by=by(admin_user))
    trusted.refresh_from_db()
    assert (trusted.digest, trusted.revoked_by_name) == ("", "administrator")


def test_a_trust_that_is_ended_in_the_database_ends_its_tokens(trusted: JobTrust) -> None:
    new = exchange()
    JobTrust.objects.filter(pk=trusted.pk).update(revoked_at=timezone.now())
    with refused("token.revoked"):
        use(new)


def test_a_disabled_account_or_owner_has_no_jobs(trusted: JobTrust, robot: ServiceAccount) -> None:
    new = exchange()
    for user in (robot.owner, robot.user):
        User.objects.filter(pk=user.pk).update(is_active=False)
        with refused("token.user_inactive"):
            use(new)
        with refused("token.user_inactive"):
            exchange()
        User.objects.filter(pk=user.pk).update(is_active=True)
    assert use(new)


def test_another_owner_has_to_trust_the_job_anew(
    trusted: JobTrust, robot: ServiceAccount, admin_user: User, approver: User
) -> None:
    new = exchange()
    service_accounts.change(robot, owner=approver, purpose="x", is_active=True, by=by(admin_user))
    # The owner before can push to the repository, and is no longer kept from approving what the account requests.
    with refused("token.invalid"):
        use(new)
    with refused("job_token.claims"):
        exchange()


@pytest.mark.parametrize(
    "change",
    [
        lambda row: {"claims": {**row.claims, "ref": "*"}},
        lambda row: {"claims": {}},
        lambda row: {"issuer": "https://gitlab.com"},
        lambda row: {"audience": "https://x.example.com"},
        lambda row: {"token_minutes": 300},
        lambda row: {"expires_at": row.expires_at + timedelta(days=300)},
        lambda row: {"created_by": person("other").pk},
        lambda row: {"user": person("other").pk},
        lambda row: {"key": "000000000000"},
        lambda row: {"digest": "0" * 64},
    ],
)
def test_a_trust_that_is_changed_in_the_database_opens_nothing(
    trusted: JobTrust, change: Callable[[JobTrust], dict[str, Any]]
) -> None:
    changed = change(trusted)
    JobTrust.objects.filter(pk=trusted.pk).update(**changed)
    issuer, audience = changed.get("issuer", ISSUER), changed.get("audience", AUDIENCE)
    with refused("job_token.claims"):
        exchange(JobToken(issuer, audience, {**GITHUB, "iss": issuer}, "d1"))
    assert not Token.objects.exists()


def test_nor_does_one_whose_scopes_are(trusted: JobTrust) -> None:
    JobTrustScope.objects.filter(job_trust=trusted).update(verbs=["see", "trigger", "approve"])
    with refused("job_token.claims"):
        exchange()


def test_a_token_cannot_be_taken_out_of_its_trust(trusted: JobTrust, robot: ServiceAccount) -> None:
    new = exchange()
    Token.objects.filter(pk=new.token.pk).update(job_trust=None)
    with refused("token.invalid"):
        use(new)


def test_the_token_of_a_job_is_not_replaced(trusted: JobTrust, robot: ServiceAccount) -> None:
    with refused("token.of_job"):
        tokens.rotate(exchange().token, by=by(robot.owner))


def test_a_trust_moves_to_the_newest_pepper(trusted: JobTrust, settings: Any) -> None:
    settings.TOKEN_PEPPERS = {**settings.TOKEN_PEPPERS, 9: "n" * 40}
    exchange()
    trusted.refresh_from_db()
    assert trusted.pepper == 9
    settings.TOKEN_PEPPERS = {9: "n" * 40}
    assert exchange(job(digest="d2"))


# Four eyes ------------------------------------------------------------------------------------------------------------


def test_the_owner_cannot_approve_what_a_job_requests(
    robot: ServiceAccount, prod_deployment: Deployment, approver: User
) -> None:
    prod = prod_deployment.environment
    grants.grant(by=Actor.system(), person=robot.user, verbs=["see", "trigger"], environment=prod)
    grants.grant(by=Actor.system(), person=robot.owner, verbs=["see", "approve"], environment=prod)
    trust(robot, ISSUER, JobTrustScope(verbs=["see", "trigger"], environment=prod))
    row = requests.submit(prod_deployment, {"month": "2026-10"}, by=use(exchange()), reason="month end")
    with refused("approval.own"):
        changes.approve(row.change, by=by(robot.owner), displayed_digest=row.change.digest)
    changes.approve(row.change, by=by(approver), displayed_digest=row.change.digest)


def test_a_job_approves_nothing(robot: ServiceAccount, prod_deployment: Deployment, requester: User) -> None:
    prod = prod_deployment.environment
    grants.grant(by=Actor.system(), person=robot.user, verbs=["see", "approve"], environment=prod)
    trust(robot, ISSUER, JobTrustScope(verbs=["see", "approve"], environment=prod))
    row = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="month end")
    with pytest.raises(Refused):
        changes.approve(row.change, by=use(exchange()), displayed_digest=row.change.digest)


# Refusals and retention -----------------------------------------------------------------------------------------------


def test_refusals_are_recorded_once_a_minute_with_their_number(later: Later) -> None:
    refusal = Refused("job_token.signature", "Not signed.")

    def record() -> None:
        job_refusals.record(refusal, issuer=ISSUER, address=PLACE)

    for _ in range(4):
        record()
    entries = AuditEntry.objects.filter(verb="token.exchange", outcome="refused")
    assert [entry.after["refusals"] for entry in entries] == [1]
    later(job_refusals.RECORDED_EVERY)
    record()
    assert [entry.after["refusals"] for entry in entries.order_by("sequence")] == [1, 4]


def test_an_issuer_that_a_stranger_invents_is_not_recorded() -> None:
    for number in range(3):
        job_refusals.record(
            Refused("job_token.issuer", "Not accepted."), issuer=f"https://x{number}.example.com", address=PLACE
        )
    entry = AuditEntry.objects.get(verb="token.exchange")
    assert entry.after == {"refused": {"code": "job_token.issuer"}, "refusals": 1, "issuer": ""}


def test_expired_tokens_of_jobs_are_deleted_and_no_others(trusted: JobTrust, requester: User, later: Later) -> None:
    new = exchange()
    own = tokens.issue(
        requester,
        by=by(requester),
        name="x",
        scopes=[TokenScope(verbs=["see"])],
        expires_at=timezone.now() + timedelta(minutes=1),
    )
    later(job_trusts.KEPT_FOR)
    assert not sweeps.sweep_shared()
    assert Token.objects.count() == 2
    later(timedelta(hours=1))
    sweeps.sweep_shared()
    assert list(Token.objects.values_list("key", flat=True)) == [own.token.key]
    assert AuditEntry.objects.filter(verb="token.exchange", token_id=new.token.key).exists()
