"""Freeze an environment."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import moments, names
from runs.governance import freezes
from runs.management.cli.command import DONE
from runs.management.cli.person_command import PersonCommand, require_actor


class Command(PersonCommand):
    help = "Freeze an environment: no run starts until it is unfrozen. Requires “manage” for the whole environment."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment")
        parser.add_argument("--reason", default="", help="shown to everyone whose run is held")
        parser.add_argument("--ticket", default="", help="ticket ID; required by some policies")
        parser.add_argument(
            "--until", default="", metavar="TIME", help="end automatically at this time, for example 2026-11-30T06:00"
        )
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        by, until = require_actor(options.person), moments.read(options.until)
        row = freezes.freeze(
            names.environment(options.environment, by=by),
            by=by,
            reason=options.reason,
            ticket=options.ticket,
            until=until,
        )
        row_json = {"environment": row.environment.slug, "reason": row.reason, "ticket": row.ticket, "until": row.until}
        self.print_row(
            row_json, f"{row.environment} is frozen. Runs do not start until it is unfrozen.", as_json=options.json
        )
        return DONE
