"""The address and token: given, from the environment, from the CI job, or from the file that `portal login` writes."""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from . import job_identity
from .client_errors import Misconfigured
from .web_session import safe_address

ADDRESS, TOKEN, INSECURE = "PORTAL_ADDRESS", "PORTAL_TOKEN", "PORTAL_ALLOW_INSECURE"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Without a `token`, the job token of the CI job is exchanged for one."""

    address: str
    token: str = field(repr=False)
    allow_insecure: bool = False


def path() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "portal" / "credentials.toml"


def find(address: str = "", token: str = "", *, allow_insecure: bool = False) -> Credentials:
    """Return what to use: arguments before the environment before the CI job before the file; raises `Misconfigured`.

    The token of the file is sent to the address of the file alone, and a job token only to an address that is given.
    """
    address = address or os.environ.get(ADDRESS, "")
    token = token or os.environ.get(TOKEN, "")
    allow_insecure = allow_insecure or os.environ.get(INSECURE, "") == "1"
    if address and not token and job_identity.is_offered():
        return Credentials(address, "", allow_insecure)
    if not address or not token:
        stored = load()
        if stored is None:
            missing = ADDRESS if not address else TOKEN
            raise Misconfigured(f"Sign in first: “portal login”, or set {ADDRESS} and {TOKEN}. {missing} is missing.")
        if not token and address and not is_same(address, stored.address):
            raise Misconfigured(
                f"The stored token is for {stored.address}, not for this address. Sign in there: “portal login”."
            )
        token, address = token or stored.token, address or stored.address
        allow_insecure = allow_insecure or (stored.allow_insecure and is_same(address, stored.address))
    return Credentials(address, token, allow_insecure)


def is_same(one: str, other: str) -> bool:
    return safe_address(one, allow_insecure=True) == safe_address(other, allow_insecure=True)


def load() -> Credentials | None:
    """Return the content of the file, or None without one."""
    try:
        found = tomllib.loads(path().read_text())
        return Credentials(str(found["address"]), str(found["token"]), found.get("allow_insecure") is True)
    except FileNotFoundError:
        return None
    except (OSError, KeyError, ValueError) as error:
        raise Misconfigured(f"{path()} cannot be read. Sign in again: “portal login”.") from error


def save(credentials: Credentials) -> Path:
    """Write the file, readable by its owner alone, at once or not at all."""
    target = path()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A JSON string of ASCII text is a TOML string. mkstemp creates the file with mode 600.
    lines = [f"address = {json.dumps(credentials.address)}", f"token = {json.dumps(credentials.token)}"]
    lines += ["allow_insecure = true"] if credentials.allow_insecure else []
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".credentials-")
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines) + "\n")
    Path(name).replace(target)
    return target


def remove() -> bool:
    """Remove the file; return whether there was one."""
    existed = path().exists()
    path().unlink(missing_ok=True)
    return existed
