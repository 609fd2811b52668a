"""Sync environments from Prefect now."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from flows.encryption import DecryptionError
from flows.prefect_api.records import PrefectError
from runs import desk
from runs.management.cli.command import DONE, PREFECT, PortalCommand, require_reader


class Command(PortalCommand):
    help = "Sync deployments and runs of one environment or of all now; the portal also does so periodically."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment", nargs="?", default="")
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        places = desk.chosen(options.environment, by=require_reader(options.person))
        rows = [row(place.slug) for place in places if place.is_active or options.environment]
        self.print_rows(rows, as_json=options.json, empty="No environments. Add one in the portal.")
        return DONE if all(each["done"] for each in rows) else PREFECT


def row(name: str) -> dict[str, Any]:
    """Sync one environment and report an error as a row: one that is down must not stop the others."""
    try:
        return {"environment": name, "done": True, "message": str(desk.sync(name))}
    except (PrefectError, DecryptionError) as error:
        return {"environment": name, "done": False, "message": str(error)}
