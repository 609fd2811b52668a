"""Retire old partitions without breaking the chain: the only code that writes `AuditCheckpoint`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from django.db import connection, transaction

from runs.actors import Actor
from runs.audit import lines, signatures
from runs.audit.partitions import Part, parts
from runs.audit.record import act
from runs.audit.verify import verify
from runs.errors import Refused
from runs.models import AuditCheckpoint, AuditEntry


def older_than(moment: datetime) -> list[Part]:
    """Return the partitions, oldest first, with all entries before `moment`; never the open-ended one."""
    found: list[Part] = []
    # From the oldest on, and none after the first that is too young: a gap would break the chain.
    for part in parts():
        last = AuditEntry.objects.filter(sequence=part.last).first() if part.last else None
        if last is None or last.at >= moment:
            break
        found.append(part)
    return found


def retire(part: Part, *, by: Actor, reason: str = "", keep_in: Path | None = None) -> AuditCheckpoint:
    """Verify the oldest partition, write it to a new file if one is named, store a checkpoint, and drop it.

    Needs the owner of the tables. All of it is one transaction with the audit entry.
    """
    with act("audit.retire", None, by=by, reason=reason, subject_kind="audit") as this:
        this.subject_name = f"entries {part.first} to {part.last}"
        # 1. Verify: what is dropped unverified could never be checked again.
        verification = verify(up_to=part.last)
        if not verification:
            raise Refused(
                "audit.tampered", f"The audit trail does not verify and was not changed: {verification.broken}"
            )
        if part.last is None or verification.last != part.last or verification.first != part.first:
            raise Refused(
                "audit.order",
                f"{part.table} is not the oldest partition. Retire partitions in order.",
                table=part.table,
            )
        # 2. Write the file, before anything is changed.
        inside = AuditEntry.objects.filter(sequence__gte=part.first, sequence__lte=part.last).order_by("sequence")
        if keep_in:
            write(inside.iterator(chunk_size=2000), keep_in)
        first, last = inside.first(), inside.last()
        if first is None or last is None:
            raise Refused("audit.empty", f"{part.table} is empty.", table=part.table)
        # 3. The checkpoint, from which the rest of the chain verifies.
        checkpoint = AuditCheckpoint(
            first=part.first,
            last=part.last,
            digest=last.digest,
            began_at=first.at,
            ended_at=last.at,
            retired_by=by.name,
            kept_in=str(keep_in or ""),
        )
        checkpoint.signature = signatures.sign(checkpoint)
        checkpoint.save(force_insert=True)
        this.before = {"first": part.first, "last": part.last, "from": first.at, "to": last.at}
        this.after = {"last": part.last, "digest": last.digest, "file": str(keep_in or "")}
        # 4. Drop it last: this locks the whole trail, so nothing slow may follow.
        drop(part)
    return checkpoint


def drop(part: Part) -> None:
    """Detach and drop a partition; give up rather than block all writers for long."""
    with transaction.atomic(), connection.cursor() as cursor:
        table = connection.ops.quote_name(part.table)
        # Writers hold their locks until they commit; one that is stuck must not make everyone else wait.
        cursor.execute("SELECT set_config('lock_timeout', '5s', true)")
        cursor.execute(f"ALTER TABLE {AuditEntry._meta.db_table} DETACH PARTITION {table}")
        cursor.execute(f"DROP TABLE {table}")


def write(entries: Iterator[AuditEntry], path: Path) -> None:
    """Write JSON lines, oldest first, synced to disk; never overwrites a file."""
    try:
        # Mode x: an older file may be the only copy of what was retired.
        with path.open("x") as file:
            for entry in entries:
                file.write(lines.written([entry], lines.COLUMNS, lines.FORMATS["jsonl"]))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Refused("file.unwritable", f"{path} could not be written: {error.strerror}.", path=str(path)) from error
