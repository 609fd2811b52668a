"""Context of the page of a token."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone

from flows.models import Environment
from portal.ui import effective_permissions, token_labels
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import tokens
from runs.governance.rule_changes import oversees
from runs.models import Scope, Token

# Value of the form -> how long the replaced token stays valid, and its label.
OVERLAPS: dict[str, tuple[timedelta, str]] = {
    "now": (timedelta(0), "now"),
    "hour": (timedelta(hours=1), "in 1 hour"),
    "day": (tokens.OVERLAP, "in 24 hours"),
    "week": (tokens.LONGEST_OVERLAP, "in 7 days"),
}
USUAL_OVERLAP = "day"


@dataclass(frozen=True, slots=True)
class ScopeRow:
    """One scope in words, with its condition as JSON."""

    permissions: str
    place: str
    condition: str
    predicate: str


def context(token: Token, by: Actor) -> dict[str, Any]:
    """Build the template context; select with the token what `tokens.visible_to` selects."""
    replacement = Token.objects.filter(replaces=token.pk).first()
    return {
        "token": token,
        "badge": token_labels.state_badge(token),
        "account": token_labels.service_account_of(token),
        "scopes": [scope_row(scope) for scope in token.scopes.all()],
        "reach": effective_permissions.rows(
            Permissions.of(tokens.actor_of(token, address="")), Environment.objects.all()
        ),
        "is_enabled": token_labels.is_enabled(token),
        "replacement": replacement,
        "may_rotate": can_rotate(token, by),
        "may_revoke": can_revoke(token, by),
        "overlaps": [(value, label, value == USUAL_OVERLAP) for value, (_, label) in OVERLAPS.items()],
        "acts_address": acts_address(token) if by.user.has_perm("runs.view_auditentry") else "",
        # The operator needs to know which peppers are still in use.
        "pepper": token.pepper if oversees(by) and token.digest else None,
    }


def scope_row(scope: Scope) -> ScopeRow:
    return ScopeRow(
        ", ".join(scope.verb_labels),
        token_labels.scope_label(scope),
        token_labels.condition(scope),
        json.dumps(scope.predicate, indent=2, ensure_ascii=False) if scope.predicate else "",
    )


def can_rotate(token: Token, by: Actor) -> bool:
    """Return whether the service would let the actor replace the token."""
    return passes(
        lambda: tokens.require_own(token.user, by),
        lambda: tokens.require_valid(token),
        lambda: tokens.require_replaceable(token),
    )


def can_revoke(token: Token, by: Actor) -> bool:
    """Return whether the service would let the actor revoke the token, and it can still be used."""
    is_open = bool(token.digest) and (token.revoked_at is None or token.revoked_at > timezone.now())
    is_usable = is_open and token.expires_at > timezone.now()
    return is_usable and (by.is_administrator or passes(lambda: tokens.require_own(token.user, by)))


def passes(*checks: Callable[[], None]) -> bool:
    try:
        for check in checks:
            check()
    except Refused:
        return False
    return True


def acts_address(token: Token) -> str:
    """Return the address of the audit entries of what was done with a token."""
    return f"{reverse('admin:runs_auditentry_changelist')}?{urlencode({'token': token.key})}"
