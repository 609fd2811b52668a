"""Labels of tokens: state, account, scopes, and when they end and were used."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.formats import date_format

from portal.ui import grant_labels
from portal.ui.rule_labels import Badge
from runs.access import predicates
from runs.governance import tokens
from runs.models import Scope, ServiceAccount, Token

# A token that ends within this time is marked, so that it is replaced before.
SOON = timedelta(days=7)


def state_badge(token: Token, now: datetime | None = None) -> Badge:
    """Return the state of a token; `StateFilter` of the list has the same rules in SQL.

    Select the user, the service account and its owner with the token.
    """
    now = now or timezone.now()
    if not token.digest or (token.revoked_at and token.revoked_at <= now):
        return Badge("Revoked", "grey")
    if token.expires_at <= now:
        return Badge("Expired", "grey")
    if not is_enabled(token):
        return Badge("Account disabled", "grey")
    if token.revoked_at:
        return Badge(f"Replaced until {short_time(token.revoked_at)}", "amber")
    # The token of a job always ends soon.
    return Badge("Active", "green") if token.job_trust_id else expiry_badge(token.expires_at, now)


def expiry_badge(expires_at: datetime, now: datetime | None = None) -> Badge:
    is_soon = expires_at <= (now or timezone.now()) + SOON
    return Badge("Expires soon", "amber") if is_soon else Badge("Active", "green")


def is_enabled(token: Token) -> bool:
    """Return whether the user of a token, the owner of its service account, and the trust of its CI job, can act."""
    account = service_account_of(token)
    is_trusted = token.job_trust is None or tokens.is_trusted(token.job_trust, account)
    return token.user.is_active and (account is None or account.owner.is_active) and is_trusted


def service_account_of(token: Token) -> ServiceAccount | None:
    found: ServiceAccount | None = getattr(token.user, "service_account", None)
    return found


def scope_label(scope: Scope) -> str:
    """Return where a scope applies, such as “prod, flow monthly”."""
    # Like a grant, a scope must name a protected environment.
    environment = str(scope.environment) if scope.environment else "all unprotected environments"
    return ", ".join([environment, *grant_labels.narrowed(scope)])


def condition(scope: Scope) -> str:
    return f"only when {predicates.describe(scope.predicate)}" if scope.predicate else ""


def describe(scope: Scope) -> str:
    """Return a scope in words, such as “view, run in dev, only when region is EU”."""
    bound = condition(scope)
    return f"{', '.join(scope.verb_labels)} in {scope_label(scope)}{f', {bound}' if bound else ''}"


def short_time(at: datetime) -> str:
    return date_format(timezone.localtime(at), "j M Y, H:i")
