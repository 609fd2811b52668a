"""List runs."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from runs import desk
from runs.management.cli.command import DONE, PortalCommand, require_reader
from runs.models import Run


class Command(PortalCommand):
    help = "List the newest runs of one environment or of all."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--env", default="", help="only this environment")
        parser.add_argument("--state", default="", help="only runs in this state, for example running or failed")
        parser.add_argument("--stalled", action="store_true", help="only stalled runs")
        parser.add_argument("--limit", type=int, default=20, help="how many at most (20)")
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        found = desk.runs(
            options.env,
            by=require_reader(options.person),
            state=options.state,
            is_stalled=options.stalled,
            limit=max(options.limit, 0),
        )
        self.print_rows([describe(each) for each in found], as_json=options.json, empty="No runs found.")
        return DONE


def describe(run: Run) -> dict[str, Any]:
    return {
        "environment": run.environment.slug,
        "run": run.name,
        "deployment": run.deployment_name or run.flow_name,
        "state": run.state_label,
        "stalled": run.stalled_kind,
        "started": run.started_at,
        "seconds": run.run_seconds,
        "id": run.prefect_id,
    }
