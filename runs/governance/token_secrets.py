"""The secret of a token, and the keyed hash over it and everything that it opens.

The secret ends with a checksum over all that precedes it, so that scanners for leaked secrets find tokens without false
alarms.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.auth.models import User

from flows import canonical
from runs.models import Scope, Token

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
PREFIX = "portal_"
KEY_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 12, 40, 6
# For scanners as well: docs/tokens.md quotes it.
FORMAT = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{KEY_LENGTH}}})\.([0-9A-Za-z]{{{SECRET_LENGTH + CHECKSUM_LENGTH}}})")


def new_key() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(KEY_LENGTH))


def new_secret(key: str) -> str:
    """Return a secret with its checksum."""
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    return secret + checksum(f"{PREFIX}{key}.{secret}")


def checksum(text: str) -> str:
    """Return the CRC-32 of a text in base 62."""
    number, found = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        found = ALPHABET[digit] + found
    return found


def digest(token: Token, scopes: Sequence[Scope], secret: str, pepper: str) -> str:
    """Return the HMAC-SHA256, in hexadecimal, over a secret and everything that it opens."""
    covered = {
        "key": token.key,
        "user": token.user_id,
        "agent": token.agent_id,
        # Whoever knows the token of a service account must stay the one who cannot approve what it requests.
        "owner": owner_id(token.user),
        "secret": secret,
        "expires_at": token.expires_at,
        "networks": token.networks,
        "reads_trail": token.reads_trail,
        "scopes": scopes_text(scopes),
        # Otherwise the token would outlive its trust when the reference to it is removed.
        "job_trust": token.job_trust_id,
    }
    return hmac.new(pepper.encode(), canonical.text(covered).encode(), hashlib.sha256).hexdigest()


def owner_id(user: User) -> int | None:
    """Return the key of a service account's owner; None for a person."""
    account = getattr(user, "service_account", None)
    return account.owner_id if account else None


def scopes_text(scopes: Iterable[Scope]) -> list[str]:
    """Return the scopes as a digest covers them, in whatever order they were read."""
    return sorted(canonical.text(scope_columns(scope)) for scope in scopes)


def scope_columns(scope: Scope) -> dict[str, Any]:
    names = ("environment_id", "tag", "flow_name", "full_name", "verbs", "predicate")
    return {name: getattr(scope, name) for name in names}
