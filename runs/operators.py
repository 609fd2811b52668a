"""Who acts from a shell beside the database: a user of the portal by name, or the operator of the installation."""

from __future__ import annotations

import getpass
import socket

from runs.actors import Actor, Channel, Kind
from runs.names import user


def person(username: str) -> Actor:
    """Return the actor for a user of the portal; raises `NotVisible` for one who is unknown or inactive.

    Anyone with a shell here can name any user, so the operating system's account and the host are audited too.
    """
    return Actor.person(user(username), channel=Channel.COMMAND, address=socket.gethostname(), user_agent=account())


def operator() -> Actor:
    """Return the actor for the operator of the installation: no user, but the operating system's account."""
    return Actor(Kind.SYSTEM, "", account(), Channel.COMMAND, address=socket.gethostname())


def account() -> str:
    """Return the operating system's name of the current user, as a phrase."""
    try:
        return f"operating system account {getpass.getuser()}"
    except (OSError, KeyError):
        # A container can run under a user id without an account.
        return "operating system account without a name"
