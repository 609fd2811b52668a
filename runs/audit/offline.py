"""Verify entries that were exported as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from runs.audit import signatures
from runs.audit.chain import digest
from runs.audit.verify import Verification
from runs.models import AuditEntry


def read(path: Path) -> Iterator[AuditEntry]:
    """Yield the entries of a file; raises ValueError or OSError when it is not an export."""
    with path.open() as file:
        for line in file:
            columns = json.loads(line)
            try:
                yield AuditEntry(**columns | {"at": datetime.fromisoformat(columns["at"])})
            except (TypeError, KeyError) as error:
                raise ValueError("a line is not an entry") from error


def verify(path: Path, keys: signatures.Keys | None = None) -> tuple[Verification, set[str]]:
    """Verify the chain in one file, and its signatures if keys are given; return the result and its entries' digests.

    Raises ValueError or OSError when it is not an export.
    """
    # Exports are written newest first, retired entries oldest first.
    entries = sorted(read(path), key=lambda entry: entry.sequence)
    if not entries:
        raise ValueError("it is empty")
    # What precedes the first entry is not in the file: its previous digest is taken as it is.
    first, previous, digests = entries[0].sequence, entries[0].previous_digest, set[str]()
    for count, entry in enumerate(entries):
        broken = ""
        if entry.sequence != first + count:
            broken = f"#{first + count} is missing: deleted, or excluded by a filter."
        elif entry.previous_digest != previous:
            broken = f"#{entry.sequence} does not follow from the entry before it."
        elif digest(entry) != entry.digest:
            broken = f"#{entry.sequence} was changed after it was written."
        elif keys is not None and not signatures.is_signed(entry, keys):
            broken = f"#{entry.sequence} is not signed with one of these keys."
        if broken:
            return Verification(count, previous, broken, first), digests
        previous = entry.digest
        digests.add(previous)
    return Verification(len(entries), previous, first=first), digests
