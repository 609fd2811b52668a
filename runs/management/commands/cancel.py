"""Request the cancellation of a run."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from runs import names, requests
from runs.management.cli.command import DONE, PREFECT, RUN_FAILED, RUN_LOST
from runs.management.cli.person_command import PersonCommand, require_actor
from runs.management.cli.row_waits import wait
from runs.models import Action
from runs.models.action import State

# Final state of a cancellation -> exit code with --wait
ENDS = {
    State.DONE: DONE,
    State.OVERTAKEN: RUN_FAILED,
    State.FAILED: PREFECT,
}


class Command(PersonCommand):
    help = "Cancel a run."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", help="Prefect ID, unique run name, or request:NUMBER")
        parser.add_argument("--env", default="", help="only in this environment")
        parser.add_argument("--reason", default="", help="required in some environments")
        parser.add_argument("--ticket", default="", help="ticket ID; required by some policies")
        parser.add_argument("--wait", action="store_true", help="wait until Prefect confirms it")
        parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="how long to wait (600)")
        parser.add_argument(
            "--force",
            action="store_true",
            help="mark the run as cancelled without confirmation, after an ordinary cancellation had no effect",
        )
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        by = require_actor(options.person)
        verb = requests.force_cancel if options.force else requests.cancel
        run = names.run(options.run, options.env, by=by)
        cancellation = verb(run, by=by, reason=options.reason, ticket=options.ticket)
        if options.wait:
            cancellation = wait(cancellation, seconds=options.timeout)
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
