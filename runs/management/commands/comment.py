"""Comment on a request."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.actors import Actor
from runs.management.cli.request_command import RequestCommand
from runs.models import ChangeRequest, RunRequest


class Command(RequestCommand):
    help = "Comment on a request, visible to all who can see it."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("text", help="the comment")

    def act(self, options: Namespace, by: Actor) -> RunRequest | ChangeRequest:
        return desk.comment(options.request, options.text, by=by)
