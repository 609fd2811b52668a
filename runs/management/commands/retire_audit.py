"""Retire old audit entries."""

from __future__ import annotations

import socket
from datetime import datetime, time
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import ProgrammingError
from django.utils import timezone
from django.utils.dateparse import parse_date

from runs.actors import Actor, Channel, Kind
from runs.audit import partitions, retention
from runs.errors import Refused
from runs.management.cli.command import OperatorCommand
from runs.operators import account


class Command(OperatorCommand):
    help = (
        "Retire audit entries from before a day: partitions with older entries only are verified, exported to files "
        "and dropped. A checkpoint replaces them, so that the rest still verifies. Run it as the owner of the tables."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--before", required=True, metavar="YYYY-MM-DD", help="keep entries since this day")
        parser.add_argument("--export", type=Path, metavar="FOLDER", help="export each partition to a file there first")
        parser.add_argument("--reason", default="", help="for the audit trail")
        parser.add_argument("--dry-run", action="store_true", help="show what would be retired")

    def handle(self, *args: Any, **options: Any) -> None:
        moment = midnight(options["before"])
        try:
            # First close the open partition if it is due, so that its entries can be retired as well.
            if not options["dry_run"]:
                partitions.cut()
            old = retention.older_than(moment)
            if not old:
                self.stdout.write("Nothing was retired: no partition has only entries from before that day.")
            for part in old:
                if options["dry_run"]:
                    self.stdout.write(f"Entries {part.first} to {part.last} would be retired.")
                    continue
                folder: Path | None = options["export"]
                file = folder / f"audit-{part.first}-{part.last}.jsonl" if folder else None
                retention.retire(part, by=operator(), reason=options["reason"], keep_in=file)
                where = f" and exported to {file}" if file else ""
                self.stdout.write(f"Entries {part.first} to {part.last} are retired{where}.")
        except Refused as refusal:
            raise CommandError(str(refusal), returncode=1) from refusal
        except ProgrammingError as error:
            raise CommandError(
                f"Nothing was dropped, the database refused: {str(error).splitlines()[0]}. "
                "Run this as the owner of the tables.",
                returncode=1,
            ) from error


def operator() -> Actor:
    """Return the actor: the person with the owner's password is known to the operating system, not to the portal."""
    return Actor(Kind.SYSTEM, "", account(), Channel.COMMAND, address=socket.gethostname())


def midnight(text: str) -> datetime:
    try:
        day = parse_date(text)
    except ValueError:
        day = None
    if day is None:
        raise CommandError(f"{text} is not a date. Use the format 2026-01-31.")
    return timezone.make_aware(datetime.combine(day, time.min))
