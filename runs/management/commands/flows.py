"""List deployments."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from flows.models import Alias, Deployment
from flows.wording import how_to_deploy
from runs import desk
from runs.management.cli.command import DONE, PortalCommand, require_reader


class Command(PortalCommand):
    help = "List the deployments of one environment or of all."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--env", default="", help="only this environment")
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        by = require_reader(options.person)
        found = list(desk.deployments(options.env, by=by))
        aliases = {(alias.environment_id, alias.full_name): alias.name for alias in Alias.objects.all()}
        rows = [describe(each, aliases.get((each.environment_id, each.full_name), "")) for each in found]
        places = [str(each) for each in desk.chosen(options.env, by=by)]
        empty = "\n".join(map(how_to_deploy, places)) or "No environments. Add one in the portal."
        self.print_rows(rows, as_json=options.json, empty=empty)
        return DONE


def describe(deployment: Deployment, alias: str) -> dict[str, Any]:
    return {
        "environment": deployment.environment.slug,
        "deployment": deployment.full_name,
        "alias": alias,
        "status": "paused" if deployment.is_paused else deployment.status.lower().replace("_", " "),
        "work_pool": deployment.work_pool_name,
        "schedules": [schedule["description"] for schedule in deployment.schedules if schedule["is_active"]],
        "version": deployment.version,
    }
