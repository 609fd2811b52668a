"""The keys with which GitHub and GitLab sign job tokens, read from the issuers that the operator has allowed."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import httpx
from jwt import PyJWK, PyJWTError

from runs.errors import Refused

DISCOVERY = "/.well-known/openid-configuration"
TIMEOUT = httpx.Timeout(5.0)
# Seconds for one document, bytes of it, and keys of an issuer.
DEADLINE, LARGEST, MOST_KEYS = 10.0, 256 * 1024, 50
# Seconds for which keys are valid, and between two attempts to read them: an unknown key, which anyone can invent, must
# not make the portal ask the issuer each time.
KEPT_FOR, PAUSE = 3600.0, 60.0
# Never a symmetric one: the public key would be its secret.
ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
FAMILIES = ("RSA", "EC")
SHORTEST_RSA = 2048


class Unreadable(Exception):
    """The issuer did not answer, or not with keys."""


@dataclass(slots=True)
class Keys:
    """The keys of one issuer in this process, and when they were read and last asked for, in monotonic seconds."""

    by_id: dict[str, PyJWK] = field(default_factory=dict)
    read_at: float = float("-inf")
    asked_at: float = float("-inf")
    lock: Lock = field(default_factory=Lock)


KEYS: defaultdict[str, Keys] = defaultdict(Keys)


def key_of(issuer: str, key_id: str) -> PyJWK:
    """Return the key of an allowed issuer; raises `Refused` with code `job_token.signature` or `….unavailable`."""
    keys = KEYS[issuer]
    with keys.lock:
        now = time.monotonic()
        is_fresh = now < keys.read_at + KEPT_FOR
        if not (is_fresh and key_id in keys.by_id) and now >= keys.asked_at + PAUSE:
            keys.asked_at = now
            try:
                keys.by_id, keys.read_at, is_fresh = read(issuer), now, True
            except Unreadable as error:
                raise unavailable(issuer) from error
        if not is_fresh:
            raise unavailable(issuer)
        found = keys.by_id.get(key_id)
    if found is None:
        raise Refused("job_token.signature", "The job token is not signed with a key of its issuer.")
    return found


def unavailable(issuer: str) -> Refused:
    return Refused(
        "job_token.unavailable",
        f"The keys of {issuer} cannot be read at the moment. Try again in a minute.",
        retry_after=int(PAUSE),
    )


def read(issuer: str) -> dict[str, PyJWK]:
    """Return key id -> key, as the issuer publishes them; raises `Unreadable`."""
    # A proxy of the environment is for issuers elsewhere, not for one on this machine.
    with httpx.Client(timeout=TIMEOUT, follow_redirects=False, trust_env=issuer.startswith("https:")) as client:
        found = fetch(client, issuer + DISCOVERY)
        address = found.get("jwks_uri")
        if found.get("issuer") != issuer or not isinstance(address, str) or not is_same_place(issuer, address):
            raise Unreadable(f"The description of {issuer} is of another issuer, or names keys elsewhere.")
        rows = fetch(client, address).get("keys")
    if not isinstance(rows, list):
        raise Unreadable(f"{issuer} publishes no keys.")
    pairs = [(row.get("kid"), usable_key(row)) for row in rows[:MOST_KEYS] if isinstance(row, dict)]
    return {key_id: key for key_id, key in pairs if isinstance(key_id, str) and key}


def fetch(client: httpx.Client, address: str) -> dict[str, Any]:
    """Return one JSON object from an issuer, no larger and no slower than one can be."""
    ends, content = time.monotonic() + DEADLINE, b""
    try:
        with client.stream("GET", address, headers={"Accept": "application/json"}) as response:
            if response.status_code != 200:
                raise Unreadable(f"{address} answered with {response.status_code}.")
            for part in response.iter_bytes():
                content += part
                if len(content) > LARGEST or time.monotonic() > ends:
                    raise Unreadable(f"{address} sends too much, or too slowly.")
        found = json.loads(content)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
        raise Unreadable(f"{address} cannot be read.") from error
    if not isinstance(found, dict):
        raise Unreadable(f"{address} is not an object.")
    return found


def is_same_place(issuer: str, address: str) -> bool:
    """Return whether an address is on the host of the issuer: no answer of an issuer leads the portal elsewhere."""
    try:
        one, other = urlsplit(issuer), urlsplit(address)
        return (one.scheme, one.hostname, one.port) == (other.scheme, other.hostname, other.port)
    except ValueError:
        return False


def usable_key(row: dict[str, Any]) -> PyJWK | None:
    """Return a key that can verify signatures; None for any other."""
    if row.get("kty") not in FAMILIES or row.get("use", "sig") != "sig" or row.get("alg", "RS256") not in ALGORITHMS:
        return None
    try:
        found = PyJWK(row)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    is_long = row["kty"] != "RSA" or found.key.key_size >= SHORTEST_RSA
    # A row can hold a private key by mistake of the issuer; it verifies nothing.
    return found if is_long and hasattr(found.key, "verify") else None
