"""Withdraw a request."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.actors import Actor
from runs.management.cli.request_command import RequestCommand
from runs.models import ChangeRequest, RunRequest


class Command(RequestCommand):
    help = "Withdraw a request before it is launched."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", default="", help="shown on the request")
        super().add_arguments(parser)

    def act(self, options: Namespace, by: Actor) -> RunRequest | ChangeRequest:
        return desk.withdraw(options.request, by=by, reason=options.reason)
