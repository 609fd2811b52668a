"""Base class of the few commands that act as a user of the portal, for when its web process is down.

None of them requests, approves or grants anything: anyone who can run them could name any user.
"""

from __future__ import annotations

import os

from django.core.management.base import CommandParser

from runs import operators
from runs.actors import Actor
from runs.errors import Refused
from runs.management.cli.command import PortalCommand
from runs.models import ChangeRequest


class PersonCommand(PortalCommand):
    """A command with `--as USER`, whose grants apply."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--as",
            dest="person",
            metavar="USER",
            default=os.environ.get("PORTAL_USER", ""),
            help="act as this portal user (default: PORTAL_USER)",
        )
        super().add_arguments(parser)


def require_actor(name: str) -> Actor:
    """Return the user who acts; raises `Refused` when none is named."""
    if not name:
        raise Refused("actor.required", "Name the user of the portal: --as USER, or PORTAL_USER in the environment.")
    return operators.person(name)


def waiting_line(change: ChangeRequest) -> str:
    """Return that a change of rules waits, and how it is approved."""
    return (
        f"Change request {change.pk} waits, because it loosens the rules of {change.environment_name}. Another "
        f"administrator must approve it on its page."
    )
