"""Unfreeze an environment."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.management.cli.arguments import add_confirmation
from runs.management.cli.command import DONE, PortalCommand, require_actor
from runs.management.cli.request_command import describe_rules, waiting_line
from runs.models import ChangeRequest


class Command(PortalCommand):
    help = "Unfreeze an environment. Requires “manage” for the whole environment."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment")
        parser.add_argument("--reason", default="", help="required in some environments")
        parser.add_argument("--ticket", default="", help="ticket ID; required by some policies")
        add_confirmation(parser)
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        place = desk.unfreeze(
            options.environment,
            by=require_actor(options.person),
            reason=options.reason,
            ticket=options.ticket,
            confirm=options.confirm,
        )
        if isinstance(place, ChangeRequest):
            self.print_row(describe_rules(place), waiting_line(place), as_json=options.json)
            return DONE
        self.print_row(
            {"environment": place.slug}, f"{place} is unfrozen. Held runs are launched now.", as_json=options.json
        )
        return DONE
