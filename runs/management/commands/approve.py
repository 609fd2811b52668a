"""Approves a request."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.actors import Actor
from runs.management.cli.request_command import RequestCommand
from runs.models import RunRequest


class Command(RequestCommand):
    help = "Approve a request; with the last approval that it needs, it goes to Prefect."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", default="", help="what you looked at")
        parser.add_argument("--digest", help="only if it is what “inbox --json” showed under this digest")
        super().add_arguments(parser)

    def act(self, asked: Namespace, by: Actor) -> RunRequest:
        return desk.approve(asked.request, by=by, reason=asked.reason, displayed_digest=asked.digest)
