"""Takes old audit entries out of the database."""

from __future__ import annotations

import socket
from datetime import datetime, time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import ProgrammingError
from django.utils import timezone
from django.utils.dateparse import parse_date

from runs.actors import Actor, Channel, Kind
from runs.audit import partitions, retention
from runs.desk.queries import account
from runs.errors import Refused


class Command(BaseCommand):
    help = (
        "Retire the audit entries written before a day: the parts of the trail that are older as a whole are verified, "
        "written to files, and dropped; a checkpoint takes their place, so that the rest still verifies. Run it as the "
        "owner of the tables."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--before", required=True, metavar="YYYY-MM-DD", help="keep what was written since that day"
        )
        parser.add_argument("--export", type=Path, metavar="FOLDER", help="write each part to a file there first")
        parser.add_argument("--reason", default="", help="for the audit trail")
        parser.add_argument("--dry-run", action="store_true", help="say what would be retired")

    def handle(self, *args: Any, **options: Any) -> None:
        moment = midnight(options["before"])
        try:
            if not options["dry_run"]:
                partitions.cut()
            old = retention.older_than(moment)
            if not old:
                self.stdout.write("No part of the trail is older as a whole: nothing was retired.")
            for part in old:
                if options["dry_run"]:
                    self.stdout.write(f"Entries {part.first} to {part.last} would be retired.")
                    continue
                folder: Path | None = options["export"]
                file = folder / f"audit-{part.first}-{part.last}.jsonl" if folder else None
                retention.retire(part, by=operator(), reason=options["reason"], keep_in=file)
                where = f", and kept in {file}" if file else ""
                self.stdout.write(f"Entries {part.first} to {part.last} are retired{where}.")
        except Refused as refusal:
            raise CommandError(str(refusal), returncode=1) from refusal
        except ProgrammingError as error:
            raise CommandError(
                f"The database refused it, so nothing was dropped: {str(error).splitlines()[0]}. "
                "Run this as the owner of the tables.",
                returncode=1,
            ) from error


def operator() -> Actor:
    """The holder of the owner's password is known to the operating system, not to the portal."""
    return Actor(Kind.SYSTEM, "", account(), Channel.COMMAND, address=socket.gethostname())


def midnight(text: str) -> datetime:
    try:
        day = parse_date(text)
    except ValueError:
        day = None
    if day is None:
        raise CommandError(f"{text} is not a day: write it as 2026-01-31.")
    return timezone.make_aware(datetime.combine(day, time.min))
