"""Request the cancellation of a run."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from runs import desk
from runs.management.cli.arguments import add_run
from runs.management.cli.command import DONE, PREFECT, RUN_FAILED, RUN_LOST, PortalCommand, require_actor
from runs.models import Action
from runs.models.action import State

# Final state of a cancellation -> exit code with --wait
ENDS = {
    State.DONE: DONE,
    State.OVERTAKEN: RUN_FAILED,
    State.FAILED: PREFECT,
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
        cancellation.target_run.refresh_from_db()
        return RUN_LOST if cancellation.target_run.is_lost else ENDS[State(cancellation.state)]


def describe(cancellation: Action) -> dict[str, Any]:
    return {
        "cancellation": cancellation.pk,
        "state": cancellation.state,
        "message": cancellation.message,
        "run": cancellation.target_run.name,
        "id": cancellation.target_run.prefect_id,
    }
