"""Asks for the run of a request once more."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.actors import Actor
from runs.management.cli.arguments import parse_pairs
from runs.management.cli.request_command import RequestCommand
from runs.models import RunRequest


class Command(RequestCommand):
    help = "Ask for the run of a request once more: the same values, the secret ones unseen. A new request."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "-p", dest="pairs", action="append", default=[], metavar="NAME=VALUE", help="a parameter to change"
        )
        parser.add_argument("--reason", default="", help="why; protected environments want one")
        parser.add_argument("--ticket", default="", help="which one asks for it, where the policy wants one")
        super().add_arguments(parser)

    def act(self, asked: Namespace, by: Actor) -> RunRequest:
        run_request = desk.status(asked.request, by=by)
        changes = desk.typed(run_request.deployment, parse_pairs(asked.pairs), {})
        return desk.rerun(run_request, by=by, changes=changes, reason=asked.reason, ticket=asked.ticket)
