"""Tells whether runs may start, and when."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from django.core.management.base import CommandParser

from runs import desk
from runs.management.cli.arguments import parse_moment
from runs.management.cli.command import DONE, PortalCommand, json_value, plain, require_reader, table


class Command(PortalCommand):
    help = "Tell whether runs may start in an environment or of a deployment, and when its change windows open."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment")
        parser.add_argument("deployment", nargs="?", default="", help="an alias, flow/deployment, or a unique name")
        parser.add_argument("--at", default="", metavar="TIME", help="then, instead of now: 2026-11-30T06:00")
        super().add_arguments(parser)

    def run(self, asked: Namespace) -> int:
        at = parse_moment(asked.at)
        found = desk.calendar(asked.environment, asked.deployment, by=require_reader(asked.person), at=at)
        rows = [described(each) for each in found.hours]
        told = {
            "environment": found.place.slug,
            "open": found.standing.is_open,
            "sentence": found.standing.sentence,
            "opens_at": found.standing.opens_at,
            "frozen": found.freeze.reason if found.freeze else None,
            "windows": rows,
        }
        if asked.json:
            self.stdout.write(json.dumps(told, default=json_value, indent=2))
        else:
            what = asked.deployment or found.place.slug
            self.stdout.write(plain(found.standing.sentence or f"Runs of {what} may start."))
            self.stdout.write(table(rows) if rows else "There are no change windows.")
        return DONE


def described(hours: desk.Hours) -> dict[str, Any]:
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
