"""Encryption at rest for credentials and secret parameters: Fernet, with key rotation."""

from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class DecryptionError(Exception):
    """A stored secret cannot be decrypted with any of the configured keys."""

    def __init__(self) -> None:
        super().__init__(
            "A stored secret cannot be decrypted with any key in PORTAL_FIELD_KEYS. Add the missing key back."
        )


# Cached by the keys, because tests and rotation change the setting within one process.
@cache
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def seal(text: str) -> bytes:
    """Encrypt with the newest key."""
    return _cipher(tuple(settings.FIELD_KEYS)).encrypt(text.encode())


def unseal(token: bytes | memoryview) -> str:
    """Decrypt with the first key that fits; raise `DecryptionError` if none does."""
    try:
        return _cipher(tuple(settings.FIELD_KEYS)).decrypt(bytes(token)).decode()
    except InvalidToken as error:
        raise DecryptionError from error


def is_current(token: bytes | memoryview) -> bool:
    """Return whether the token is encrypted with the newest key; rotation rewrites the others."""
    try:
        _cipher(tuple(settings.FIELD_KEYS[:1])).decrypt(bytes(token))
    except InvalidToken:
        return False
    return True
