"""Signed messages of other systems: their headers, their signature and their age.

Standard Webhooks signs id, timestamp and body, with a secret `whsec_` + base64; GitHub signs the body alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from runs.errors import Refused
from runs.models import Hook

# How far the timestamp of a message may be from now, in both directions.
TOLERANCE = timedelta(minutes=5)
MOST_SECRETS = 3
# A sender signs with each secret that may be valid during a rotation.
MOST_SIGNATURES = 10
PREFIX = "whsec_"
SECRET_BYTES = 32
# Printable ASCII: it is stored, and displayed.
ID = re.compile(r"[\x21-\x7e]{1,255}")
TIMESTAMP = re.compile(r"[0-9]{1,12}")
SIGNATURE = re.compile(r"[0-9A-Za-z]{1,10},[0-9A-Za-z+/=]{1,500}")
GITHUB_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}")
# The event of GitHub that only says that the hook was set up.
PING = "ping"


@dataclass(frozen=True, slots=True)
class Message:
    """A message as its headers describe it; nothing of it is proven before `find_secret`.

    `signatures` are in the spelling of `sign`. `sent_at` is None where no time is signed, and `covers_id` says whether
    the id is signed.
    """

    id: str
    signed: bytes
    signatures: tuple[str, ...]
    sent_at: datetime | None = None
    covers_id: bool = True
    event: str = ""


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way of signing: how its headers are read, how it signs, and how its secrets are made."""

    read: Callable[[Mapping[str, str], bytes], Message]
    sign: Callable[[str, bytes], str]
    new_secret: Callable[[], str]


def read_standard(headers: Mapping[str, str], body: bytes) -> Message:
    name, time = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "").split(" ")
    if not ID.fullmatch(name) or not TIMESTAMP.fullmatch(time):
        raise Refused("hook.header", "The headers webhook-id and webhook-timestamp are missing or malformed.")
    if len(given) > MOST_SIGNATURES or not all(map(SIGNATURE.fullmatch, given)):
        raise Refused("hook.header", "The header webhook-signature is missing or malformed.")
    return Message(
        name,
        f"{name}.{time}.".encode() + body,
        # Other versions, such as v1a, are for keys that a hook does not have.
        tuple(each for each in given if each.startswith("v1,")),
        sent_at=datetime.fromtimestamp(int(time), tz=UTC) if int(time) < 10**11 else datetime.max.replace(tzinfo=UTC),
    )


def sign_standard(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def new_standard_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def read_github(headers: Mapping[str, str], body: bytes) -> Message:
    name, given = headers.get("x-github-delivery", ""), headers.get("x-hub-signature-256", "")
    if not ID.fullmatch(name):
        raise Refused("hook.header", "The header X-GitHub-Delivery is missing or malformed.")
    if not GITHUB_SIGNATURE.fullmatch(given):
        raise Refused("hook.header", "The header X-Hub-Signature-256 is missing or malformed.")
    return Message(name, body, (given,), covers_id=False, event=headers.get("x-github-event", "")[:100])


def sign_github(secret: str, signed: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def new_github_secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


SCHEMES: dict[str, Scheme] = {
    Hook.Kind.STANDARD: Scheme(read_standard, sign_standard, new_standard_secret),
    Hook.Kind.GITHUB: Scheme(read_github, sign_github, new_github_secret),
}
# Take the place of secrets that a hook does not have, so that each message takes the same work.
DECOYS = {kind: [scheme.new_secret() for _ in range(MOST_SECRETS)] for kind, scheme in SCHEMES.items()}


def find_secret(message: Message, kind: str, texts: Sequence[str]) -> int | None:
    """Return the position of the secret that signed a message; None if none of them did.

    Every signature is compared with every secret, also after one fitted: how long it takes says nothing.
    """
    found: int | None = None
    for position, secret in enumerate([*texts, *DECOYS[kind]][:MOST_SECRETS]):
        expected = SCHEMES[kind].sign(secret, message.signed).encode()
        fits = False
        for given in message.signatures:
            fits |= hmac.compare_digest(expected, given.encode())
        found = position if fits and position < len(texts) else found
    return found


def require_recent(message: Message, now: datetime) -> None:
    """Refuse a message that was signed too long ago, or in the future."""
    if message.sent_at and abs(message.sent_at - now) > TOLERANCE:
        raise Refused(
            "hook.timestamp",
            f"The message was signed more than {TOLERANCE.seconds // 60} minutes ago, or the clock of its sender is "
            "wrong.",
        )


def is_usable(kind: str, secret: str) -> bool:
    """Return whether a stored secret can sign."""
    try:
        SCHEMES[kind].sign(secret, b"")
    except (binascii.Error, ValueError):
        return False
    return True
