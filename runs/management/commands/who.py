"""Lists who may do what with a deployment."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from runs import desk
from runs.access import who_can
from runs.management.cli.command import DONE, PortalCommand, require_reader
from runs.models import Verb


class Command(PortalCommand):
    help = "List who may do what with a deployment, under which conditions, and who is prohibited."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment")
        parser.add_argument("deployment", help="an alias, flow/deployment, or a name that only one has")
        parser.add_argument("--verb", default="", help="only this one")
        super().add_arguments(parser)

    def run(self, asked: Namespace) -> int:
        verbs = [asked.verb] if asked.verb else []
        found = desk.who(asked.environment, asked.deployment, by=require_reader(asked.person), verbs=verbs)
        rows = [row for verb, roll in found.items() for row in lines(verb, roll)]
        self.tell(rows, as_json=asked.json, nothing="Nobody: no grant reaches it.")
        return DONE


def lines(verb: Verb, roll: who_can.Access) -> list[dict[str, Any]]:
    return [
        {
            "verb": str(verb),
            "person": each.name,
            "may": is_able,
            "as": list(each.groups),
            "only_when": each.only,
            "never_when": each.never,
            "until": each.until,
        }
        for people, is_able in ((roll.allowed, True), (roll.denied, False))
        for each in people
    ]
