"""Trusted jobs: CI jobs that act as a service account, without a stored secret.

A job shows the job token that GitHub or GitLab has signed for it, and is given a short-lived token of the portal. What
the job token must say is in the trust. The only code that writes `JobTrust` and `JobTrustScope`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from flows import canonical
from flows.db_text import sanitize
from runs import audit
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import job_claims, token_limits, token_secrets, tokens
from runs.governance.powers import owns
from runs.governance.rule_changes import oversees
from runs.models import JobTrust, JobTrustScope, Scope, Token, TokenScope

# Minutes that the token of a job is valid: by default, and at most.
USUAL_MINUTES, MOST_MINUTES = 15, 360
# A job may be given several tokens for one job token, as its steps do not share them.
MOST_EXCHANGES = 50
LONGEST_AUDIENCE = 300
# Expired tokens of jobs are deleted after it: the audit trail keeps what they were.
KEPT_FOR = timedelta(days=30)
SWEPT_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class JobToken:
    """What a job token says, after its signature, issuer, audience and times were verified."""

    issuer: str
    audience: str
    claims: Mapping[str, Any] = field(repr=False)
    # SHA-256 of the job token, by which its exchanges are counted.
    digest: str


# Create and revoke ----------------------------------------------------------------------------------------------------


def create(
    user: User,
    *,
    by: Actor,
    name: str,
    issuer: str,
    audience: str,
    claims: Mapping[str, str],
    scopes: Sequence[JobTrustScope],
    expires_at: datetime,
    token_minutes: int = USUAL_MINUTES,
) -> JobTrust:
    """Trust jobs with these claims to act as a service account, by its owner.

    `scopes` are unsaved rows. Raises `Refused` with a code `job_trust.…`, `token.…` or `grant.condition…`.
    """
    with audit.act("job_trust.create", None, by=by, subject_kind="jobtrust", subject_name=name.strip()) as act:
        tokens.require_interactive(by)
        if not owns(by.user, user.pk):
            raise Refused("job_trust.not_own", f"{user} is not a service account that you own.")
        if issuer not in settings.JOB_ISSUERS:
            raise Refused("job_trust.issuer", "Choose one of the issuers that the operator of the portal has allowed.")
        if not 1 <= token_minutes <= MOST_MINUTES:
            raise Refused("job_trust.minutes", f"A token of a job is valid for 1 to {MOST_MINUTES} minutes.")
        trust = JobTrust(
            key=token_secrets.new_key(),
            user=user,
            name=token_limits.required_name(name),
            issuer=issuer,
            audience=required_audience(audience),
            claims=job_claims.parse(claims),
            token_minutes=token_minutes,
            expires_at=token_limits.checked_expiry(expires_at, scopes),
            created_by=by.user,
            created_by_name=by.name,
        )
        require_limited(trust, scopes)
        require_different(trust)
        sign(trust, scopes)
        trust.save(force_insert=True)
        for scope in scopes:
            scope.job_trust = trust
        JobTrustScope.objects.bulk_create(scopes)
        trust.refresh_from_db(fields=["created_at"])
        act.subject, act.after = trust, describe(trust, scopes)
    return trust


def revoke(trust: JobTrust, *, by: Actor, reason: str = "") -> None:
    """Revoke a trust and all tokens that jobs were given by it: by the owner of its account, or an administrator."""
    with audit.act("job_trust.revoke", trust, by=by, reason=reason) as act:
        tokens.require_interactive(by)
        require_may_revoke(trust, by)
        stored = lock(trust)
        if not stored.digest or stored.revoked_at:
            raise Refused("job_trust.revoked", f"The trusted job {stored} was already revoked.")
        now = timezone.now()
        # Without the digest the row fits nothing any more, whatever the times say.
        stored.digest, stored.revoked_at, stored.revoked_by_name = "", now, by.name
        stored.save(update_fields=["digest", "revoked_at", "revoked_by_name"])
        ended = Token.objects.filter(tokens.active(), job_trust=stored)
        count = ended.update(digest="", revoked_at=now, revoked_by_name=by.name)
        act.after = {"revoked_at": now, "tokens_ended": count}


def require_may_revoke(trust: JobTrust, by: Actor) -> None:
    if not by.is_administrator and not owns(by.user, trust.user_id):
        raise Refused("job_trust.not_own", f"{trust.user} is not a service account that you own.")


def required_audience(audience: str) -> str:
    audience = sanitize(audience.strip())
    if not audience or len(audience) > LONGEST_AUDIENCE or " " in audience or not audience.isprintable():
        raise Refused(
            "job_trust.audience", "Give the audience that job tokens must name, such as the portal's address."
        )
    return audience


def require_different(trust: JobTrust) -> None:
    """Refuse a trust that fits the same jobs as another one of the account: neither could be chosen."""
    # A second click waits here, and then finds the trust of the first.
    User.objects.select_for_update(no_key=True).get(pk=trust.user_id)
    same = JobTrust.objects.filter(open_now(), user=trust.user, issuer=trust.issuer, audience=trust.audience)
    if found := same.filter(claims=trust.claims).first():
        raise Refused("job_trust.same", f"{found} trusts the same jobs already. Revoke it first.")


def require_limited(trust: JobTrust, scopes: Iterable[Scope]) -> None:
    """Refuse any branch of a repository in a protected environment: who can push would change what runs there."""
    if job_claims.is_limited(trust.claims):
        return
    for scope in scopes:
        if scope.environment and scope.environment.is_protected:
            raise Refused(
                "job_trust.unlimited",
                f"{scope.environment} is protected: give ref or environment exactly, or require ref_protected = true.",
                environment=scope.environment.slug,
            )


# Exchange -------------------------------------------------------------------------------------------------------------


def exchange(job: JobToken, *, account: str = "", address: str, user_agent: str = "") -> tokens.NewToken:
    """Return a short-lived token of the service account that trusts the job; `account` chooses between several.

    Raises `Refused` with a code `job_token.…` or `token.user_inactive`.
    """
    trust = find(job, account)
    before = count_exchanges(trust, job)
    if before >= MOST_EXCHANGES:
        raise Refused("job_token.used_up", f"This job token was exchanged {before} times already. Request another one.")
    scopes = [TokenScope(**token_secrets.scope_columns(scope)) for scope in trust.scopes.all()]
    ends = min(timezone.now() + timedelta(minutes=trust.token_minutes), trust.expires_at)
    token = tokens.build(trust.user, trust.name, scopes, ends, ())
    facts = job_claims.facts(job.claims)
    token.job_trust, token.job = trust, {**facts, "job_token": job.digest}
    by = Actor.program(
        trust.user,
        token_id=token.key,
        scope=tuple(map(tokens.as_grant, scopes)),
        owner=trust.created_by,
        address=address,
        user_agent=user_agent,
    )
    with audit.act("token.exchange", None, by=by, subject_kind="token", subject_name=str(token)) as act:
        # Again, under a lock: it may have been revoked meanwhile.
        require_open(lock(trust))
        if trust.pepper != max(settings.TOKEN_PEPPERS):
            sign(trust, trust.scopes.all())
            trust.save(update_fields=["pepper", "digest"])
        new = tokens.insert(token, scopes)
        JobTrust.objects.filter(pk=trust.pk).update(last_used_at=timezone.now(), last_job=facts)
        act.subject = token
        act.after = {
            "job": facts,
            "exchange": before + 1,
            "job_trust": trust.key,
            **tokens.describe(token, scopes),
        }
    return new


def find(job: JobToken, account: str = "") -> JobTrust:
    """Return the one trust that a job token fits."""
    rows = candidates(job.issuer, [job.audience])
    rows = rows.filter(user__username=account) if account else rows
    found, nearest = [], None
    for trust in filter(is_unchanged, rows):
        differing = job_claims.differing(trust.claims, job.claims)
        if not differing:
            found.append(trust)
        elif nearest is None or len(differing) < len(nearest):
            nearest = differing
    if not found:
        raise no_fit(nearest)
    if len(found) > 1:
        raise Refused(
            "job_token.ambiguous",
            f"{len(found)} trusted jobs fit this job token. Name the service account, or revoke all but one of them.",
        )
    require_open(found[0])
    require_limited(found[0], found[0].scopes.all())
    return found[0]


def no_fit(differing: Sequence[str] | None) -> Refused:
    """Return the refusal; only a job of a trusted repository is told which other claims do not fit."""
    names = [] if differing is None or differing[0] in job_claims.REPOSITORY else differing
    which = f" These claims differ: {', '.join(names)}." if names else " Its repository is not trusted here."
    return Refused("job_token.claims", f"No trusted job fits this job token.{which}", claims=list(names))


def candidates(issuer: str, audiences: Sequence[str]) -> QuerySet[JobTrust]:
    """Return the trusts of an issuer for an audience that have not ended."""
    rows = JobTrust.objects.filter(open_now(), issuer=issuer, audience__in=audiences)
    return rows.select_related("user__service_account__owner", "created_by").prefetch_related("scopes__environment")


def require_open(trust: JobTrust) -> None:
    """Refuse a trust that has ended, or whose account or owner cannot act."""
    account = getattr(trust.user, "service_account", None)
    if account is None or not tokens.is_trusted(trust, account) or trust.expires_at <= timezone.now():
        raise Refused("job_token.claims", "No trusted job fits this job token. Its trust has ended.", claims=[])
    if not trust.user.is_active or not account.owner.is_active:
        raise Refused("token.user_inactive", f"The account {trust.user}, or its owner's, is disabled.")


def count_exchanges(trust: JobTrust, job: JobToken) -> int:
    return Token.objects.filter(job_trust=trust, job__job_token=job.digest).count()


# The signature --------------------------------------------------------------------------------------------------------


def sign(trust: JobTrust, scopes: Iterable[Scope]) -> None:
    trust.pepper = max(settings.TOKEN_PEPPERS)
    trust.digest = digest(trust, scopes, settings.TOKEN_PEPPERS[trust.pepper])


def is_unchanged(trust: JobTrust) -> bool:
    """Return whether a trust is what its owner created, and not what someone has written into the database."""
    pepper = settings.TOKEN_PEPPERS.get(trust.pepper)
    if pepper is None or not trust.digest:
        return False
    return hmac.compare_digest(digest(trust, trust.scopes.all(), pepper).encode(), trust.digest.encode())


def digest(trust: JobTrust, scopes: Iterable[Scope], pepper: str) -> str:
    """Return the HMAC-SHA256, in hexadecimal, over everything that a trust allows."""
    names = ("key", "user_id", "issuer", "audience", "claims", "token_minutes", "expires_at", "created_by_id")
    covered = {name: getattr(trust, name) for name in names}
    # The kind, because the pepper keys the digests of tokens too.
    text = canonical.text({"kind": "job trust", **covered, "scopes": token_secrets.scopes_text(scopes)})
    return hmac.new(pepper.encode(), text.encode(), hashlib.sha256).hexdigest()


# Queries and retention ------------------------------------------------------------------------------------------------


def visible_to(by: Actor) -> QuerySet[JobTrust]:
    """Return the trusts that the actor sees: those of their service accounts; administrators and auditors see all."""
    rows = JobTrust.objects.select_related("user__service_account__owner", "created_by")
    rows = rows.prefetch_related("scopes__environment")
    return rows if oversees(by) else rows.filter(user__service_account__owner=by.user)


def open_now() -> Q:
    return ~Q(digest="") & Q(revoked_at=None, expires_at__gt=timezone.now())


def owner_unchanged() -> Q:
    return Q(created_by=F("user__service_account__owner"))


def lock(trust: JobTrust) -> JobTrust:
    rows = JobTrust.objects.select_for_update(of=["self"], no_key=True)
    return rows.select_related("user__service_account__owner").get(pk=trust.pk)


def sweep_tokens() -> bool:
    """Delete tokens of jobs that expired long ago; return whether there is more."""
    old = Token.objects.filter(job_trust__isnull=False, expires_at__lt=timezone.now() - KEPT_FOR)
    keys = list(old.values_list("pk", flat=True)[:SWEPT_AT_ONCE])
    with transaction.atomic():
        TokenScope.objects.filter(token__in=keys).delete()
        Token.objects.filter(pk__in=keys).delete()
    return len(keys) == SWEPT_AT_ONCE


def describe(trust: JobTrust, scopes: Iterable[Scope]) -> dict[str, Any]:
    """Return the trust for the audit trail."""
    return {
        "key": trust.key,
        "user": trust.user.get_username(),
        "issuer": trust.issuer,
        "audience": trust.audience,
        "claims": trust.claims,
        "scopes": [str(scope) for scope in scopes],
        "token_minutes": trust.token_minutes,
        "expires_at": trust.expires_at,
    }
