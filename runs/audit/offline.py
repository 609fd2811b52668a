"""Verifies entries that left the database as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from runs.audit.chain import digest
from runs.audit.verify import Verification
from runs.models import AuditEntry


def read(path: Path) -> Iterator[AuditEntry]:
    """Raises ValueError or OSError for what is no such file."""
    with path.open() as file:
        for line in file:
            columns = json.loads(line)
            try:
                yield AuditEntry(**columns | {"at": datetime.fromisoformat(columns["at"])})
            except (TypeError, KeyError) as error:
                raise ValueError("a line is not an entry") from error


def verify(path: Path) -> tuple[Verification, set[str]]:
    """The chain of one file, whichever way round it was written, and the digests in it."""
    entries = sorted(read(path), key=lambda entry: entry.sequence)
    if not entries:
        raise ValueError("it is empty")
    first, previous, digests = entries[0].sequence, entries[0].previous_digest, set[str]()
    for count, entry in enumerate(entries):
        broken = ""
        if entry.sequence != first + count:
            broken = f"#{first + count} is missing: deleted, or left out by a filter."
        elif entry.previous_digest != previous:
            broken = f"#{entry.sequence} does not follow from the entry before it."
        elif digest(entry) != entry.digest:
            broken = f"#{entry.sequence} was changed after it was written."
        if broken:
            return Verification(count, previous, broken, first), digests
        previous = entry.digest
        digests.add(previous)
    return Verification(len(entries), previous, first=first), digests
