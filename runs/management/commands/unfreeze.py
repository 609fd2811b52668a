"""Lifts a freeze."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.management.cli.command import DONE, PortalCommand, require_actor


class Command(PortalCommand):
    help = "Let runs start in an environment again. Takes “manage” of all of it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment")
        parser.add_argument("--reason", default="", help="why, where the policy wants one")
        parser.add_argument("--ticket", default="", help="which one asks for it, where the policy wants one")
        super().add_arguments(parser)

    def run(self, asked: Namespace) -> int:
        place = desk.unfreeze(
            asked.environment, by=require_actor(asked.person), reason=asked.reason, ticket=asked.ticket
        )
        self.print_row({"environment": place.slug}, f"{place} goes on: what waited is sent.", as_json=asked.json)
        return DONE
