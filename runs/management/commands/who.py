"""List who can do what with a deployment."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from runs import desk
from runs.access import who_can
from runs.management.cli.command import DONE, PortalCommand, require_reader
from runs.models import Verb


class Command(PortalCommand):
    help = "List who can do what with a deployment, under which conditions, and who is denied."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment")
        parser.add_argument("deployment", help="alias, flow/deployment, or a unique name")
        parser.add_argument("--verb", default="", help="only this verb")
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        verbs = [options.verb] if options.verb else []
        found = desk.who(options.environment, options.deployment, by=require_reader(options.person), verbs=verbs)
        rows = [row for verb, access in found.items() for row in describe(verb, access)]
        self.print_rows(rows, as_json=options.json, empty="No one: no grant applies to this deployment.")
        return DONE


def describe(verb: Verb, access: who_can.Access) -> list[dict[str, Any]]:
    """Return one row for each person, those allowed first."""
    return [
        {
            "verb": str(verb),
            "person": each.name,
            "may": is_allowed,
            "as": list(each.groups),
            "only_when": each.only,
            "never_when": each.never,
            "until": each.until,
        }
        for people, is_allowed in ((access.allowed, True), (access.denied, False))
        for each in people
    ]
