"""Asks for a run."""

from __future__ import annotations

import uuid
from argparse import Namespace

from django.core.management.base import CommandParser

from runs import desk
from runs.errors import Refused
from runs.management.cli.arguments import parse_moment, parse_pairs, parse_values
from runs.management.cli.command import DONE, RUN_FAILED, PortalCommand, require_actor
from runs.management.cli.request_command import describe, outcome_line
from runs.models.request import State


class Command(PortalCommand):
    help = "Ask for a run of a deployment, under the same rules and with the same audit as in the portal."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment")
        parser.add_argument("deployment", help="an alias, flow/deployment, or a name that only one has")
        parser.add_argument("-p", dest="pairs", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
        parser.add_argument(
            "--parameters-file", default="", metavar="FILE|-", help="parameters as a JSON object; secrets belong here"
        )
        parser.add_argument("--reason", default="", help="why; protected environments want one")
        parser.add_argument("--ticket", default="", help="which one asks for it, where the policy wants one")
        parser.add_argument("--on-behalf-of", default="", metavar="USER", help="whom you act for, if not yourself")
        parser.add_argument(
            "--override-window",
            action="store_true",
            help="go in spite of change windows and freezes; takes “override freeze” and a reason",
        )
        parser.add_argument("--tag", action="append", default=[], help="may be repeated")
        parser.add_argument("--name", default="", help="the name of the run")
        parser.add_argument("--at", default="", metavar="TIME", help="when, such as 2026-11-30T06:00; now without it")
        parser.add_argument("--key", type=uuid.UUID, help="a UUID: the same one again gives the same request")
        parser.add_argument("--wait", action="store_true", help="until the run is over; its end makes the exit code")
        parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS", help="how long to wait (3600)")
        super().add_arguments(parser)

    def run(self, asked: Namespace) -> int:
        by = require_actor(asked.person)
        found = desk.deployment(asked.environment, asked.deployment, by=by)
        run_request = desk.trigger(
            asked.environment,
            found.full_name,
            desk.typed(found, parse_pairs(asked.pairs), parse_values(asked.parameters_file)),
            by=by,
            reason=asked.reason,
            tags=asked.tag,
            run_name=asked.name,
            scheduled_for=parse_moment(asked.at),
            key=asked.key,
            ticket=asked.ticket,
            on_behalf_of=asked.on_behalf_of,
            override_window=asked.override_window,
        )
        if asked.wait:
            run_request = desk.wait(run_request, seconds=asked.timeout)
        run_request = desk.status(run_request)
        self.print_row(describe(run_request), outcome_line(run_request), as_json=asked.json)
        if not asked.wait or run_request.state == State.COMPLETED:
            return DONE
        if run_request.flow_run_id is None:
            raise Refused("run.not_started", f"No run was started. {run_request.message}")
        return RUN_FAILED
