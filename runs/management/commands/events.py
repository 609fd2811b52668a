"""Show how far the events were delivered, and those that could not be."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import consumers
from runs.management.cli.command import DONE, REFUSED, PortalCommand


class Command(PortalCommand):
    help = "Show the consumers of events and the events that one of them could not handle."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--retry", action="store_true", help="handle the events that were set aside once more")
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        if options.retry:
            consumers.retry_set_aside()
        rows = consumers.status()
        self.print_rows(rows, as_json=options.json, empty="There are no consumers.")
        return REFUSED if any(row["set_aside"] for row in rows) else DONE
