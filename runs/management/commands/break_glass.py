"""Run a request without its approvals."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.actors import Actor
from runs.management.cli.request_command import RequestCommand
from runs.models import RunRequest


class Command(RequestCommand):
    help = (
        "Emergency override: run a request without its approvals. Requires the verb “break glass”, and a review by "
        "someone else afterwards."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", default="", help="describe the emergency")
        parser.add_argument("--minutes", type=int, default=15, help="launch within this time or not at all (15)")
        super().add_arguments(parser)

    def act(self, options: Namespace, by: Actor) -> RunRequest:
        return desk.break_glass(options.request, by=by, reason=options.reason, minutes=options.minutes)
