"""Request the cancellation of a run."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from runs import desk
from runs.management.cli.arguments import add_run
from runs.management.cli.command import DONE, PREFECT, RUN_FAILED, RUN_LOST, PortalCommand, require_actor
from runs.models import Cancellation

# Final state of a cancellation -> exit code with --wait
ENDS = {
    Cancellation.State.CONFIRMED: DONE,
    Cancellation.State.OVERTAKEN: RUN_FAILED,
    Cancellation.State.FAILED: PREFECT,
}


class Command(PortalCommand):
    help = "Cancel a run."

    def add_arguments(self, parser: CommandParser) -> None:
        add_run(parser, reason="required in some environments", wait="wait until Prefect confirms it", seconds=600)
        parser.add_argument(
            "--force",
            action="store_true",
            help="mark the run as cancelled without confirmation, after an ordinary cancellation had no effect",
        )
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        by = require_actor(options.person)
        cancellation = desk.cancel(
            options.run, options.env, by=by, reason=options.reason, ticket=options.ticket, force=options.force
        )
        if options.wait:
            cancellation = desk.wait(cancellation, seconds=options.timeout)
        # Without --wait the cancellation is only requested: the exit code says nothing about the run.
        message = f" {cancellation.message}" if cancellation.message else ""
        self.print_row(describe(cancellation), f"{cancellation}.{message}", as_json=options.json)
        if not options.wait:
            return DONE
        cancellation.run.refresh_from_db()
        return RUN_LOST if cancellation.run.is_lost else ENDS[Cancellation.State(cancellation.state)]


def describe(cancellation: Cancellation) -> dict[str, Any]:
    return {
        "cancellation": cancellation.pk,
        "state": cancellation.state,
        "message": cancellation.message,
        "run": cancellation.run.name,
        "id": cancellation.run.prefect_id,
    }
