"""Lets a request go that waits for its time."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.actors import Actor
from runs.management.cli.request_command import RequestCommand
from runs.models import RunRequest


class Command(RequestCommand):
    help = "Let a request go now that waits for a change window or the end of a freeze. Takes “override freeze”."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", default="", help="why it cannot wait")
        super().add_arguments(parser)

    def act(self, asked: Namespace, by: Actor) -> RunRequest:
        return desk.override(asked.request, by=by, reason=asked.reason)
