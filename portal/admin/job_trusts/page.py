"""Context of the page of a trusted job, and the lines to copy into a pipeline."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils import timezone

from portal.admin.tokens.page import scope_row
from portal.ui import token_labels
from portal.ui.rule_labels import Badge
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import job_claims, job_trusts, tokens
from runs.models import JobTrust, Token

LAST_USES = 20
# claims that only GitLab has -> which snippet fits
GITLAB = ("project_path", "project_id")


def context(trust: JobTrust, by: Actor, portal_address: str) -> dict[str, Any]:
    """Build the template context; select with the trust what `job_trusts.visible_to` selects."""
    is_gitlab = any(name in trust.claims for name in GITLAB)
    return {
        "trust": trust,
        "badge": state_badge(trust),
        "scopes": [scope_row(scope) for scope in trust.scopes.all()],
        "claims": sorted(trust.claims.items()),
        "warnings": job_claims.warnings(trust.claims) if is_open(trust) else {},
        "provider": "GitLab CI" if is_gitlab else "GitHub Actions",
        # Included by the page, which escapes what is in it.
        "snippet": f"portal/job_trust/{'gitlab' if is_gitlab else 'github'}.yml",
        "portal_address": portal_address,
        "is_public": trust.audience == portal_address,
        "uses": [use(token) for token in trust.tokens.order_by("-pk")[:LAST_USES]],
        "may_revoke": can_revoke(trust, by),
    }


def use(token: Token) -> dict[str, Any]:
    """Return one exchange for its row; the page of the job is linked if it is one on the web."""
    url = token.job.get("url", "")
    return {"token": token, "job": token.job, "href": url if url.startswith("https://") else ""}


def state_badge(trust: JobTrust) -> Badge:
    """Return the state of a trust; select the account and its owner with it."""
    account = trust.user.service_account
    if not trust.digest or trust.revoked_at:
        return Badge("Revoked", "grey")
    if not is_open(trust):
        return Badge("Expired", "grey")
    if account.owner_id != trust.created_by_id:
        return Badge("Of the previous owner", "grey")
    if not trust.user.is_active or not account.owner.is_active:
        return Badge("Account disabled", "grey")
    if not job_trusts.is_unchanged(trust):
        return Badge("Changed in the database", "red")
    if trust.issuer not in settings.JOB_ISSUERS:
        return Badge("Issuer not accepted", "red")
    return token_labels.expiry_badge(trust.expires_at)


def is_open(trust: JobTrust) -> bool:
    """Return what `job_trusts.open_now` selects, without a query for each row."""
    return bool(trust.digest) and trust.revoked_at is None and trust.expires_at > timezone.now()


def can_revoke(trust: JobTrust, by: Actor) -> bool:
    """Return whether the service would let the actor revoke the trust."""
    if not trust.digest or trust.revoked_at:
        return False
    try:
        job_trusts.require_may_revoke(trust, by)
        tokens.require_interactive(by)
    except Refused:
        return False
    return True
