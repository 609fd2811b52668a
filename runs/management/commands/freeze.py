"""Freezes an environment."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.management.cli.arguments import parse_moment
from runs.management.cli.command import DONE, PortalCommand, require_actor


class Command(PortalCommand):
    help = "Let no run start in an environment until it is lifted. Takes “manage” of all of it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment")
        parser.add_argument("--reason", default="", help="why; everybody whose run has to wait reads it")
        parser.add_argument("--ticket", default="", help="which one asks for it, where the policy wants one")
        parser.add_argument("--until", default="", metavar="TIME", help="it ends by itself then, 2026-11-30T06:00")
        super().add_arguments(parser)

    def run(self, asked: Namespace) -> int:
        until = parse_moment(asked.until, option="--until")
        row = desk.freeze(
            asked.environment, by=require_actor(asked.person), reason=asked.reason, ticket=asked.ticket, until=until
        )
        told = {"environment": row.environment.slug, "reason": row.reason, "ticket": row.ticket, "until": row.until}
        self.print_row(told, f"{row.environment} is frozen: no run starts there.", as_json=asked.json)
        return DONE
