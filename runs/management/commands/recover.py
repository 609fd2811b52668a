"""Put a stalled run back to Scheduled, or mark it as failed."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from runs import desk
from runs.management.cli.arguments import add_run
from runs.management.cli.command import DONE, PREFECT, RUN_FAILED, PortalCommand, require_actor
from runs.models import Action
from runs.models.action import Kind, State

# Word on the command line -> what is done.
KINDS = {"put-back": Kind.PUT_BACK, "fail": Kind.FAIL}
# Final state of a recovery -> exit code with --wait
ENDS = {
    State.DONE: DONE,
    State.OVERTAKEN: RUN_FAILED,
    State.FAILED: PREFECT,
}


class Command(PortalCommand):
    help = "Put a stalled run back to Scheduled, or mark it as failed. It is left alone if it has moved."

    def add_arguments(self, parser: CommandParser) -> None:
        add_run(
            parser,
            reason="required: how you know that no process is working on it",
            wait="wait for the result; it sets the exit code",
            seconds=120,
        )
        parser.add_argument("kind", choices=KINDS, help="what to do")
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        by = require_actor(options.person)
        recovery = desk.recover(
            options.run, KINDS[options.kind], options.env, by=by, reason=options.reason, ticket=options.ticket
        )
        if options.wait:
            recovery = desk.wait(recovery, seconds=options.timeout)
        message = f" {recovery.message}" if recovery.message else ""
        self.print_row(describe(recovery), f"{recovery}.{message}", as_json=options.json)
        return ENDS[State(recovery.state)] if options.wait else DONE


def describe(recovery: Action) -> dict[str, Any]:
    return {
        "recovery": recovery.pk,
        "kind": recovery.kind,
        "state": recovery.state,
        "message": recovery.message,
        "run": recovery.target_run.name,
        "id": recovery.target_run.prefect_id,
    }
