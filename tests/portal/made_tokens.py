"""Tokens and service accounts for the tests of their pages, and what a browser sends to create one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from runs.governance import service_accounts, token_secrets, tokens
from runs.models import ServiceAccount, TokenScope
from tests.cast import by, person

# The form as a browser sends it, with four rows of scopes of which the first is filled in.
BLANK_ROW: dict[str, Any] = {
    **dict.fromkeys(("environment", "flow_name", "full_name", "tag", "predicate"), ""),
}


def new_token(user: User, *scopes: TokenScope, owner: User | None = None, **options: Any) -> tokens.NewToken:
    settings = {"name": "nightly CI", "expires_at": timezone.now() + timedelta(days=30)} | options
    return tokens.issue(user, by=by(owner or user), scopes=list(scopes) or [TokenScope(verbs=["see"])], **settings)


def robot_of(owner: User, name: str = "ci-robot", purpose: str = "deploys nightly") -> ServiceAccount:
    maker = User.objects.filter(username="maker").first() or person("maker", is_superuser=True)
    return service_accounts.create(name, owner=owner, purpose=purpose, by=by(maker))


def sent(account: User, /, *rows: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Return what a browser sends; `rows` are the scopes that were filled in."""
    plain = {
        "account": account.pk,
        "name": "nightly CI",
        "lifetime": "30",
        "until": "",
        "networks": "",
        "newest_token": "0",
        "scopes-TOTAL_FORMS": "4",
        "scopes-INITIAL_FORMS": "0",
    }
    filled: Sequence[dict[str, Any]] = rows or [{"verbs": ["see", "trigger"]}]
    for number in range(4):
        row = BLANK_ROW | (filled[number] if number < len(filled) else {})
        plain |= {f"scopes-{number}-{name}": value for name, value in row.items()}
    return plain | values


def texts(page: str) -> list[str]:
    """Return the texts of tokens, secret included, that a page shows."""
    return [found[0] for found in re.finditer(token_secrets.FORMAT, page)]
