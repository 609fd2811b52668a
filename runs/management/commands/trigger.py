"""Request a run."""

from __future__ import annotations

import uuid
from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk, moments
from runs.errors import Refused
from runs.management.cli.arguments import add_name_confirmation, parse_pairs, parse_values
from runs.management.cli.command import DONE, RUN_FAILED, RUN_LOST, PortalCommand, require_actor
from runs.management.cli.request_command import describe, outcome_line
from runs.models.request import State


class Command(PortalCommand):
    help = "Request a run of a deployment, with the same rules and audit entries as in the portal."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment")
        parser.add_argument("deployment", help="alias, flow/deployment, or a unique name")
        parser.add_argument("-p", dest="pairs", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
        parser.add_argument(
            "--parameters-file",
            default="",
            metavar="FILE|-",
            help="parameters as a JSON object; put secrets here, not on the command line",
        )
        parser.add_argument("--reason", default="", help="required in some environments")
        parser.add_argument("--ticket", default="", help="ticket ID; required by some policies")
        parser.add_argument(
            "--on-behalf-of", default="", metavar="USER", help="the person you act for, if not yourself"
        )
        parser.add_argument(
            "--override-window",
            action="store_true",
            help="start despite change windows and freezes; requires “override freeze” and a reason",
        )
        parser.add_argument(
            "--retries", type=int, default=0, metavar="N", help="retries in place that are approved with the run (0)"
        )
        parser.add_argument("--tag", action="append", default=[], help="can be repeated")
        parser.add_argument("--name", default="", help="the name of the run")
        parser.add_argument("--at", default="", metavar="TIME", help="start time, for example 2026-11-30T06:00 (now)")
        parser.add_argument("--key", type=uuid.UUID, help="UUID; the same key again returns the same request")
        parser.add_argument("--wait", action="store_true", help="wait for the run; its result sets the exit code")
        parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS", help="how long to wait (3600)")
        add_name_confirmation(parser)
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        # 1. The deployment first: the types of its parameters decide how the text values are read.
        by = require_actor(options.person)
        found = desk.deployment(options.environment, options.deployment, by=by)
        run_request = desk.trigger(
            options.environment,
            found.full_name,
            desk.typed(found, parse_pairs(options.pairs), parse_values(options.parameters_file)),
            by=by,
            reason=options.reason,
            tags=options.tag,
            run_name=options.name,
            scheduled_for=moments.read(options.at),
            key=options.key,
            ticket=options.ticket,
            on_behalf_of=options.on_behalf_of,
            override_window=options.override_window,
            retries=options.retries,
            confirm=options.confirm,
        )
        # 2. Wait if asked to, then print the request as it is now.
        if options.wait:
            run_request = desk.wait(run_request, seconds=options.timeout)
        run_request = desk.status(run_request)
        self.print_row(describe(run_request), outcome_line(run_request), as_json=options.json)
        # 3. The exit code is the result of the run only when it was waited for.
        if not options.wait or run_request.state == State.COMPLETED:
            return DONE
        if run_request.flow_run_id is None:
            raise Refused("run.not_started", f"No run was started. {run_request.message}")
        return RUN_LOST if run_request.state == State.LOST else RUN_FAILED
