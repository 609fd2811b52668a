"""Create a grant."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from runs import desk, moments
from runs.access import predicates
from runs.errors import Refused
from runs.governance import grants
from runs.management.cli.arguments import add_confirmation
from runs.management.cli.command import DONE, PortalCommand, require_actor
from runs.management.cli.request_command import describe_rules, waiting_line
from runs.models import ChangeRequest, Grant, Verb

# Stored name, with the label that the pages show where that is another.
VERBS_HELP = ", ".join(
    verb.value.replace(" ", "-") + (f" ({verb.label})" if verb.label != verb.value else "") for verb in Verb
)


class Command(PortalCommand):
    help = "Create a grant. Administrators can grant anything, people with “manage” what they have themselves."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("subject", help="portal user, or group:NAME")
        parser.add_argument("verbs", nargs="+", metavar="VERB", help=VERBS_HELP)
        parser.add_argument("--deny", action="store_true", help="deny instead of allow; a denial takes precedence")
        parser.add_argument("--env", default="", help="only this environment; a protected one must be named")
        parser.add_argument("--flow", default="", help="only deployments of this flow")
        parser.add_argument("--deployment", default="", metavar="FLOW/NAME", help="only this deployment")
        parser.add_argument("--tag", default="", help="only deployments with this tag")
        parser.add_argument(
            "--when", default="", metavar="JSON", help="only for parameters that match this JSON Schema"
        )
        parser.add_argument("--from", dest="since", default="", metavar="TIME", help="for example 2026-12-01T08:00")
        parser.add_argument("--until", default="", metavar="TIME", help="no end by default")
        parser.add_argument("--reason", default="", help="required in some environments")
        parser.add_argument("--ticket", default="", help="ticket ID; required by some policies")
        add_confirmation(parser)
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        row = desk.grant(
            options.subject,
            options.verbs,
            by=require_actor(options.person),
            environment_name=options.env,
            flow_name=options.flow,
            full_name=options.deployment,
            tag=options.tag,
            predicate=parse_condition(options.when),
            deny=options.deny,
            valid_from=moments.read(options.since),
            valid_until=moments.read(options.until),
            reason=options.reason,
            ticket=options.ticket,
            confirm=options.confirm,
        )
        if isinstance(row, ChangeRequest):
            self.print_row(describe_rules(row), waiting_line(row), as_json=options.json)
            return DONE
        self.print_row(
            {"grant": row.pk, **grants.describe(row)}, f"Grant {row.pk}: {describe_grant(row)}.", as_json=options.json
        )
        return DONE


def describe_grant(row: Grant) -> str:
    """Return the grant and its condition as one sentence."""
    return f"{row} when {predicates.describe(row.predicate)}" if row.predicate else str(row)


def parse_condition(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused("grant.condition", f"--when needs JSON: {error}.") from error
    if not isinstance(found, dict):
        raise Refused(
            "grant.condition", '--when needs a JSON Schema, for example {"properties": {"region": {"const": "EU"}}}.'
        )
    return found
