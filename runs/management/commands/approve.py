"""Approve a request."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.actors import Actor
from runs.management.cli.request_command import RequestCommand
from runs.models import ChangeRequest, RunRequest


class Command(RequestCommand):
    help = "Approve a request. The run starts after the last approval."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", default="", help="comment")
        parser.add_argument("--digest", help="approve only if the request has this digest, as “inbox --json” prints it")
        super().add_arguments(parser)

    def act(self, options: Namespace, by: Actor) -> RunRequest | ChangeRequest:
        return desk.approve(options.request, by=by, reason=options.reason, displayed_digest=options.digest)
