"""The keyed hash of a hook: changed in the database, it accepts nothing. Its pepper is that of tokens."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from django.conf import settings

from flows import canonical, encryption
from runs.automation.hook_messages import is_usable
from runs.errors import Refused
from runs.models import Hook

# What it covers, beside the account's user and the secrets.
COVERED = [
    *("key", "name", "kind", "deployment_id", "account_id", "owner_id", "mapping", "predicate", "max_bytes"),
    *("valid_until", "is_enabled"),
]


def sign(hook: Hook) -> None:
    """Save a hook with the hash over what it says now and its secrets."""
    hook.pepper = max(settings.TOKEN_PEPPERS)
    hook.digest = digest(hook, texts_of(hook), settings.TOKEN_PEPPERS[hook.pepper])
    hook.save()


def digest(hook: Hook, texts: Sequence[str], pepper: str) -> str:
    """Return the HMAC-SHA256, in hexadecimal, over everything that a hook allows."""
    columns = {name: getattr(hook, name) for name in COVERED}
    covered = {"hook": columns, "user": hook.account.user_id, "secrets": list(texts)}
    return hmac.new(pepper.encode(), f"hook {canonical.text(covered)}".encode(), hashlib.sha256).hexdigest()


def is_intact(hook: Hook, texts: Sequence[str]) -> bool:
    """Return whether a hook and its secrets are as the portal saved them."""
    pepper = settings.TOKEN_PEPPERS.get(hook.pepper)
    if pepper is None or not all(is_usable(hook.kind, text) for text in texts):
        return False
    return hmac.compare_digest(digest(hook, texts, pepper).encode(), hook.digest.encode())


def require_intact(hook: Hook, texts: Sequence[str]) -> None:
    if not is_intact(hook, texts):
        raise Refused(
            "hook.altered",
            "The hook was changed in the database, or its pepper was removed. Check what it does, then replace its "
            "secrets.",
        )


def renew(hook: Hook, texts: Sequence[str]) -> None:
    """Move the hash of an intact hook to the newest pepper."""
    newest = max(settings.TOKEN_PEPPERS)
    if hook.pepper != newest:
        made = digest(hook, texts, settings.TOKEN_PEPPERS[newest])
        Hook.objects.filter(pk=hook.pk, digest=hook.digest).update(pepper=newest, digest=made)


def texts_of(hook: Hook) -> list[str]:
    """Return the texts of the secrets, the oldest first."""
    return [unsealed(secret.sealed_text) for secret in hook.secrets.order_by("pk")]


def unsealed(text: bytes | memoryview) -> str:
    """Return the text of a secret; "" if no key decrypts it, with which no hook is intact."""
    try:
        return encryption.unseal(text)
    except encryption.DecryptionError:
        return ""
