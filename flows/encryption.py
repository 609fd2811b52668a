"""Encryption at rest for credentials and secret parameters."""

from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class DecryptionError(Exception):
    """A stored secret cannot be opened with any of the configured keys."""

    def __init__(self) -> None:
        super().__init__(
            "A stored secret cannot be decrypted with any key in PORTAL_FIELD_KEYS. Add the missing key back."
        )


@cache
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def seal(text: str) -> bytes:
    """Encrypt with the newest key."""
    return _box(tuple(settings.FIELD_KEYS)).encrypt(text.encode())


def unseal(token: bytes | memoryview) -> str:
    """Decrypt with whichever key fits, or raise `DecryptionError`."""
    try:
        return _box(tuple(settings.FIELD_KEYS)).decrypt(bytes(token)).decode()
    except InvalidToken as error:
        raise DecryptionError from error


def is_current(token: bytes | memoryview) -> bool:
    """Whether it is encrypted with the newest key."""
    try:
        _box(tuple(settings.FIELD_KEYS[:1])).decrypt(bytes(token))
    except InvalidToken:
        return False
    return True
