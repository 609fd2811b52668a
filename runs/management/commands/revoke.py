"""Revoke a grant."""

from __future__ import annotations

from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.management.cli.arguments import add_confirmation
from runs.management.cli.command import DONE, PortalCommand, require_actor
from runs.management.cli.request_command import describe_rules, waiting_line
from runs.models import ChangeRequest


class Command(PortalCommand):
    help = "Revoke a grant. Administrators can revoke any grant, others those they created."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("grant", type=int, help="grant number")
        parser.add_argument("--reason", default="", help="required in some environments")
        parser.add_argument("--ticket", default="")
        add_confirmation(parser)
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        row = desk.revoke(
            options.grant,
            by=require_actor(options.person),
            reason=options.reason,
            ticket=options.ticket,
            confirm=options.confirm,
        )
        if isinstance(row, ChangeRequest):
            self.print_row(describe_rules(row), waiting_line(row), as_json=options.json)
            return DONE
        self.print_row({"grant": row.pk, "state": "revoked"}, f"Grant {row.pk} revoked.", as_json=options.json)
        return DONE
