"""Re-run a request."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from flows import deployments
from runs import desk
from runs.actors import Actor
from runs.management.cli.arguments import add_name_confirmation, parse_pairs
from runs.management.cli.request_command import RequestCommand
from runs.models import RunRequest


class Command(RequestCommand):
    help = "Re-run a request as a new request with the same values; secret ones are reused unseen."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "-p", dest="pairs", action="append", default=[], metavar="NAME=VALUE", help="a parameter to change"
        )
        parser.add_argument("--reason", default="", help="required in some environments")
        parser.add_argument("--ticket", default="", help="ticket ID; required by some policies")
        add_name_confirmation(parser)
        super().add_arguments(parser)

    def act(self, options: Namespace, by: Actor) -> RunRequest:
        run_request = desk.status(options.request, by=by)
        # The types of the deployment that would run: it can have been deployed again since.
        deployment = deployments.current(run_request.deployment) or run_request.deployment
        changes = desk.typed(deployment, parse_pairs(options.pairs), {})
        return desk.rerun(
            run_request, by=by, changes=changes, reason=options.reason, ticket=options.ticket, confirm=options.confirm
        )
