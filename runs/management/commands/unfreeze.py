"""Unfreeze an environment."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import names
from runs.governance import freezes
from runs.management.cli.command import DONE
from runs.management.cli.person_command import PersonCommand, require_actor, waiting_line


class Command(PersonCommand):
    help = "Unfreeze an environment. Requires “manage” for the whole environment."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment")
        parser.add_argument("--reason", default="", help="required in some environments")
        parser.add_argument("--ticket", default="", help="ticket ID; required by some policies")
        parser.add_argument(
            "--confirm", default="", metavar="NAME", help="name of the environment again, if it is protected"
        )
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        by = require_actor(options.person)
        place = names.environment(options.environment, by=by)
        waiting = freezes.unfreeze(
            place,
            by=by,
            reason=options.reason,
            ticket=options.ticket,
            confirm=options.confirm,
        )
        if waiting:
            row = {"environment": place.slug, "change_request": waiting.pk, "state": waiting.state}
            self.print_row(row, waiting_line(waiting), as_json=options.json)
            return DONE
        self.print_row(
            {"environment": place.slug}, f"{place} is unfrozen. Held runs are launched now.", as_json=options.json
        )
        return DONE
