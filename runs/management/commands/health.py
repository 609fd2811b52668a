"""Check the Prefect servers."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from flows.models import Health
from runs import names, sync_now
from runs.management.cli.command import DONE, PREFECT, PortalCommand


class Command(PortalCommand):
    help = "Check the Prefect server of one environment or of all."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment", nargs="?", default="")
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        places = names.chosen(options.environment, by=None)
        found = {place.slug: sync_now.check(place) for place in places if place.is_active or options.environment}
        self.print_rows(
            [describe(*each) for each in found.items()],
            as_json=options.json,
            empty="No environments. Add one in the portal.",
        )
        return DONE if all(each.state == Health.State.UP for each in found.values()) else PREFECT


def describe(environment: str, health: Health) -> dict[str, Any]:
    return {
        "environment": environment,
        "state": health.get_state_display(),
        "version": health.version,
        "since": health.changed_at,
        "deployments_read": health.synced_at,
        "runs_read": health.runs_synced_at,
        "first_reading_percent": health.history_percent,
        "message": health.message,
    }
