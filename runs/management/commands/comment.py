"""Says something about a request."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.actors import Actor
from runs.management.cli.request_command import RequestCommand
from runs.models import RunRequest


class Command(RequestCommand):
    help = "Say something about a request, for everybody who may see it."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("text", help="what there is to say")

    def act(self, asked: Namespace, by: Actor) -> RunRequest:
        return desk.comment(asked.request, asked.text, by=by)
