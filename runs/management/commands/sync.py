"""Reads environments from Prefect now."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from flows.encryption import DecryptionError
from flows.prefect_api.records import PrefectError
from runs import desk
from runs.management.cli.command import DONE, PREFECT, PortalCommand, require_reader


class Command(PortalCommand):
    help = "Read deployments and runs from Prefect now, of one environment or of all; the portal does it by itself too."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment", nargs="?", default="")
        super().add_arguments(parser)

    def run(self, asked: Namespace) -> int:
        places = desk.chosen(asked.environment, by=require_reader(asked.person))
        rows = [row(place.slug) for place in places if place.is_active or asked.environment]
        self.tell(rows, as_json=asked.json, nothing="There is no environment. Add one in the portal.")
        return DONE if all(each["done"] for each in rows) else PREFECT


def row(name: str) -> dict[str, Any]:
    """One environment that is down must not keep the others from being read."""
    try:
        return {"environment": name, "done": True, "message": str(desk.sync(name))}
    except (PrefectError, DecryptionError) as error:
        return {"environment": name, "done": False, "message": str(error)}
