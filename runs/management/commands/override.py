"""Override the change window of a request."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.actors import Actor
from runs.management.cli.request_command import RequestCommand
from runs.models import RunRequest


class Command(RequestCommand):
    help = "Launch a request that waits for a change window or the end of a freeze. Requires “override freeze”."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", default="", help="why it cannot wait (required)")
        super().add_arguments(parser)

    def act(self, options: Namespace, by: Actor) -> RunRequest:
        return desk.override(options.request, by=by, reason=options.reason)
