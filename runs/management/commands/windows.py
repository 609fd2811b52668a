"""Show whether runs can start, and when."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from runs import desk, moments
from runs.management.cli.command import DONE, PortalCommand, json_value, plain, require_reader, table


class Command(PortalCommand):
    help = "Show whether runs of an environment or a deployment can start, and when change windows open."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment")
        parser.add_argument("deployment", nargs="?", default="", help="alias, flow/deployment, or a unique name")
        parser.add_argument(
            "--at", default="", metavar="TIME", help="at this time instead of now, for example 2026-11-30T06:00"
        )
        super().add_arguments(parser)

    def run(self, options: Namespace) -> int:
        at = moments.read(options.at)
        found = desk.calendar(options.environment, options.deployment, by=require_reader(options.person), at=at)
        rows = [describe(each) for each in found.hours]
        result = {
            "environment": found.place.slug,
            "open": found.standing.is_open,
            "sentence": found.standing.sentence,
            "opens_at": found.standing.opens_at,
            "frozen": found.freeze.reason if found.freeze else None,
            "windows": rows,
        }
        if options.json:
            self.stdout.write(json.dumps(result, default=json_value, indent=2))
        else:
            what = options.deployment or found.place.slug
            self.stdout.write(plain(found.standing.sentence or f"Runs of {what} can start."))
            self.stdout.write(table(rows) if rows else "No change windows.")
        return DONE


def describe(hours: desk.Hours) -> dict[str, Any]:
    window = hours.window
    return {
        "window": window.name,
        "effect": window.effect,
        "about": window.selector,
        "begins": f"{window.cron} {window.time_zone}",
        "minutes": window.minutes,
        "open": hours.is_open,
        "changes": hours.changes_at,
    }
