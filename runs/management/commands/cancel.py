"""Asks for a run to be stopped."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from runs import desk
from runs.management.cli.command import DONE, PREFECT, RUN_FAILED, PortalCommand, require_actor
from runs.models import Cancellation

# How a cancellation ends -> exit code
ENDS = {
    Cancellation.State.CONFIRMED: DONE,
    Cancellation.State.OVERTAKEN: RUN_FAILED,
    Cancellation.State.FAILED: PREFECT,
}


class Command(PortalCommand):
    help = "Ask for a run to be stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", help="Prefect's id, a name that only one run has, or request:NUMBER")
        parser.add_argument("--env", default="", help="only in this environment")
        parser.add_argument("--reason", default="", help="why; protected environments want one")
        parser.add_argument("--ticket", default="", help="which one asks for it, where the policy wants one")
        parser.add_argument(
            "--force",
            action="store_true",
            help="tell Prefect that it is over although nothing confirms it; after a cancel that came to nothing",
        )
        parser.add_argument("--wait", action="store_true", help="until Prefect has confirmed it")
        parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="how long to wait (600)")
        super().add_arguments(parser)

    def run(self, asked: Namespace) -> int:
        by = require_actor(asked.person)
        cancellation = desk.cancel(
            asked.run, asked.env, by=by, reason=asked.reason, ticket=asked.ticket, force=asked.force
        )
        if asked.wait:
            cancellation = desk.wait(cancellation, seconds=asked.timeout)
        message = f" {cancellation.message}" if cancellation.message else ""
        self.print_row(described(cancellation), f"{cancellation}.{message}", as_json=asked.json)
        return ENDS[Cancellation.State(cancellation.state)] if asked.wait else DONE


def described(cancellation: Cancellation) -> dict[str, Any]:
    return {
        "cancellation": cancellation.pk,
        "state": cancellation.state,
        "message": cancellation.message,
        "run": cancellation.run.name,
        "id": cancellation.run.prefect_id,
    }
