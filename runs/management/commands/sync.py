"""Sync environments from Prefect now."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from flows.encryption import DecryptionError
from flows.models import Environment
from flows.prefect_api.records import PrefectError
from runs import names, sync_now
from runs.management.cli.command import DONE, PREFECT, PortalCommand


class Command(PortalCommand):
    help = "Sync deployments and runs of one environment or of all now; the portal also does so periodically."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment", nargs="?", default="")
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        places = names.chosen(options.environment, by=None)
        rows = [row(place) for place in places if place.is_active or options.environment]
        self.print_rows(rows, as_json=options.json, empty="No environments. Add one in the portal.")
        return DONE if all(each["done"] for each in rows) else PREFECT


def row(place: Environment) -> dict[str, Any]:
    """Sync one environment and report an error as a row: one that is down must not stop the others."""
    try:
        return {"environment": place.slug, "done": True, "message": str(sync_now.sync(place))}
    except (PrefectError, DecryptionError) as error:
        return {"environment": place.slug, "done": False, "message": str(error)}
