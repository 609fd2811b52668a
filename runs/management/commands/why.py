"""Says why somebody may or may not do something."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.management.cli.arguments import parse_values
from runs.management.cli.command import DONE, FORBIDDEN, PortalCommand, plain, require_actor
from runs.management.commands.grant import told


class Command(PortalCommand):
    help = "Say why somebody may or may not: anybody of themselves, administrators of everybody."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="of whom")
        parser.add_argument("verb")
        parser.add_argument("environment")
        parser.add_argument("deployment", help="an alias, flow/deployment, or a name that only one has")
        parser.add_argument(
            "--parameters-file", default="", metavar="FILE|-", help="with these parameters, as a JSON object"
        )
        super().add_arguments(parser)

    def run(self, asked: Namespace) -> int:
        values = parse_values(asked.parameters_file) if asked.parameters_file else None
        by = require_actor(asked.person)
        found = desk.why(asked.user, asked.verb, asked.environment, asked.deployment, values, by=by)
        deciding = [{"grant": each.pk, "says": told(each)} for each in found.decision.grants]
        others = [{"grant": each.grant.pk, "says": told(each.grant), "why": each.why} for each in found.ignored]
        if asked.json:
            answer = {"allowed": found.decision.allowed, "code": found.decision.code, "why": found.decision.sentence}
            self.print_row({**answer, "decided_by": deciding, "does_not_count": others}, "", as_json=True)
        else:
            said = [f"Grant {each['grant']} decided: {each['says']}." for each in deciding]
            said += [f"Grant {each['grant']} does not count: {each['says']}. {each['why']}" for each in others]
            self.stdout.write("\n".join(map(plain, [found.decision.sentence, *said])))
        return DONE if found.decision else FORBIDDEN
