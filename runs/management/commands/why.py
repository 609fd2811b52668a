"""Explain access."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.management.cli.arguments import parse_values
from runs.management.cli.command import DONE, FORBIDDEN, PortalCommand, plain, require_actor
from runs.management.commands.grant import describe_grant


class Command(PortalCommand):
    help = "Explain whether a user is allowed something. Administrators can ask for any user, others for themselves."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="portal user")
        parser.add_argument("verb")
        parser.add_argument("environment")
        parser.add_argument("deployment", help="alias, flow/deployment, or a unique name")
        parser.add_argument(
            "--parameters-file", default="", metavar="FILE|-", help="with these parameters, as a JSON object"
        )
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        # None, not an empty object: without values the question is whether any would be allowed.
        values = parse_values(options.parameters_file) if options.parameters_file else None
        by = require_actor(options.person)
        found = desk.why(options.user, options.verb, options.environment, options.deployment, values, by=by)
        deciding = [{"grant": each.pk, "says": describe_grant(each)} for each in found.decision.grants]
        others = [
            {"grant": each.grant.pk, "says": describe_grant(each.grant), "why": each.why} for each in found.ignored
        ]
        if options.json:
            decision = {"allowed": found.decision.allowed, "code": found.decision.code, "why": found.decision.sentence}
            self.print_row({**decision, "decided_by": deciding, "does_not_count": others}, "", as_json=True)
        else:
            lines = [f"Grant {each['grant']} decided: {each['says']}." for each in deciding]
            lines += [f"Grant {each['grant']} does not apply: {each['says']}. {each['why']}" for each in others]
            self.stdout.write("\n".join(map(plain, [found.decision.sentence, *lines])))
        return DONE if found.decision else FORBIDDEN
