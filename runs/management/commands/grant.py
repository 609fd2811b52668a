"""Gives a permission or a prohibition."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from runs import desk
from runs.access import predicates
from runs.errors import Refused
from runs.governance import grants
from runs.management.cli.arguments import parse_moment
from runs.management.cli.command import DONE, PortalCommand, require_actor
from runs.models import Grant, Verb


class Command(PortalCommand):
    help = "Give a grant, as an administrator, or as somebody who holds “manage” and hands on what they hold."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("subject", help="a user of the portal, or group:NAME")
        parser.add_argument("verbs", nargs="+", metavar="VERB", help=f"{', '.join(Verb.values)}; see-logs will do too")
        parser.add_argument("--deny", action="store_true", help="prohibit instead; a prohibition wins")
        parser.add_argument("--env", default="", help="only this environment; a protected one must be named")
        parser.add_argument("--flow", default="", help="only deployments of this flow")
        parser.add_argument("--deployment", default="", metavar="FLOW/NAME", help="only this deployment")
        parser.add_argument("--tag", default="", help="only deployments with this tag")
        parser.add_argument("--when", default="", metavar="JSON", help="only for parameters that fit this JSON Schema")
        parser.add_argument("--from", dest="since", default="", metavar="TIME", help="such as 2026-12-01T08:00")
        parser.add_argument("--until", default="", metavar="TIME")
        parser.add_argument("--reason", default="", help="why; some environments want one")
        parser.add_argument("--ticket", default="", help="which one asks for it, where the policy wants one")
        super().add_arguments(parser)

    def run(self, asked: Namespace) -> int:
        row = desk.grant(
            asked.subject,
            asked.verbs,
            by=require_actor(asked.person),
            environment_name=asked.env,
            flow_name=asked.flow,
            full_name=asked.deployment,
            tag=asked.tag,
            predicate=predicate_of(asked.when),
            prohibits=asked.deny,
            valid_from=parse_moment(asked.since, option="--from"),
            valid_until=parse_moment(asked.until, option="--until"),
            reason=asked.reason,
            ticket=asked.ticket,
        )
        self.print_row({"grant": row.pk, **grants.describe(row)}, f"Grant {row.pk}: {told(row)}.", as_json=asked.json)
        return DONE


def told(row: Grant) -> str:
    return f"{row} when {predicates.describe(row.predicate)}" if row.predicate else str(row)


def predicate_of(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused("grant.condition", f"--when needs JSON: {error}.") from error
    if not isinstance(found, dict):
        raise Refused(
            "grant.condition", '--when needs a JSON Schema, such as {"properties": {"region": {"const": "EU"}}}.'
        )
    return found
