"""Tokens with which the demo's people use the command `portal`: a file for each, which only its owner can read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Environment
from runs import operators
from runs.errors import Refused
from runs.governance import token_limits, tokens
from runs.models import TokenScope

NAME = "Command line of the demo"
LIFE, RENEWED_BEFORE = timedelta(days=30), timedelta(days=1)


def ensure_tokens(folder: Path, names: Iterable[str]) -> None:
    """Write a token for each of these people who can sign in; a file whose token is still good stays as it is."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name in names:
        user = User.objects.filter(username=name, is_active=True, is_staff=True).first()
        if user is None:
            (folder / name).unlink(missing_ok=True)
        elif not is_good(folder / name, user):
            write(folder / name, new_token(user))


def is_good(path: Path, user: User) -> bool:
    """Return whether a file has a token of the user that is valid for another day, in every environment."""
    try:
        token = tokens.find(path.read_text())
    except OSError:
        return False
    if token is None or token.user_id != user.pk or token.expires_at < timezone.now() + RENEWED_BEFORE:
        return False
    try:
        tokens.require_valid(token)
    except Refused:
        return False
    reached = {scope.environment_id for scope in token.scopes.all()}
    return reached >= {scope.environment_id for scope in scopes()}


def new_token(user: User) -> str:
    """Create a token as its own user would on the page: with every verb that a token can have, within their grants.

    The one that it replaces stays valid until it expires: a terminal may be using it.
    """
    rows = scopes()
    made = tokens.issue(
        user,
        by=operators.person(user.get_username()),
        name=NAME,
        scopes=rows,
        expires_at=timezone.now() + min(LIFE, token_limits.longest(rows)),
    )
    return made.text


def scopes() -> list[TokenScope]:
    """Return a scope for all environments that are not protected, and one for each that is."""
    protected = Environment.objects.filter(is_protected=True).order_by("pk")[: token_limits.MOST_SCOPES - 1]
    return [TokenScope(verbs=list(token_limits.VERBS), environment=each) for each in (None, *protected)]


def write(path: Path, text: str) -> None:
    # Written beside and renamed: a reader finds the old token or the new one.
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.rename(path)
