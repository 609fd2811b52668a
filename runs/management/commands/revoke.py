"""Ends a permission or a prohibition."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.management.cli.command import DONE, PortalCommand, require_actor


class Command(PortalCommand):
    help = "End a grant now: any as an administrator, otherwise those that one gave."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("grant", type=int, help="its number, as “grant”, “why” and the pages say it")
        parser.add_argument("--reason", default="", help="why")
        parser.add_argument("--ticket", default="")
        super().add_arguments(parser)

    def run(self, asked: Namespace) -> int:
        row = desk.revoke(asked.grant, by=require_actor(asked.person), reason=asked.reason, ticket=asked.ticket)
        self.print_row({"grant": row.pk, "state": "revoked"}, f"Grant {row.pk} ended.", as_json=asked.json)
        return DONE
