"""Write long exports part by part: the only code that writes `Export` and its parts."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from runs import queue
from runs.actors import Actor
from runs.audit import lines, queries
from runs.audit.record import act
from runs.models import Export, ExportPart

# Rows in memory at a time.
ROWS_A_PART = 5000
# Well below the task timeout of a minute; the rest is done by another task.
SECONDS_A_TASK = 20
# An export is a copy of the trail outside its protection: it does not stay for ever.
KEPT_FOR = timedelta(days=7)


def request_export(criteria: Mapping[str, str], *, file_format: str, up_to: int, total: int, by: Actor) -> Export:
    """Queue an export of the entries that match the criteria, up to one entry."""
    with act("audit.export", None, by=by, subject_kind="audit") as this:
        export = Export.objects.create(
            requested_by=by.user,
            file_format=file_format,
            criteria=dict(criteria),
            up_to=up_to,
            total=total,
            forgotten_at=timezone.now() + KEPT_FOR,
        )
        this.subject_name = f"up to entry {up_to}, as {file_format}"
        this.after = {"format": file_format, "filters": dict(criteria), "entries": total, "in_background": True}
        queue.enqueue("runs.tasks.export_audit", export.pk)
    return export


def build_export(export: Export) -> None:
    """Add parts for up to `SECONDS_A_TASK`, then queue the rest."""
    began = time.monotonic()
    while add_part(export.pk):
        if time.monotonic() - began > SECONDS_A_TASK:
            queue.enqueue("runs.tasks.export_audit", export.pk)
            return


@transaction.atomic
def add_part(pk: int) -> bool:
    """Add one part and note how far it reached, in one transaction: a crash neither skips nor repeats a row.

    Returns whether there is more to do; False when another task is working on it.
    """
    # skip_locked: a task can run twice, and the second should not wait but stop.
    export = Export.objects.select_for_update(skip_locked=True).filter(pk=pk, state=Export.State.WANTED).first()
    if export is None:
        return False
    rows = queries.entries(export.criteria).filter(sequence__lte=export.up_to).order_by("-sequence")
    if export.reached is not None:
        rows = rows.filter(sequence__lt=export.reached)
    # By sequence, not by offset: entries written meanwhile do not shift the pages.
    page = list(rows[:ROWS_A_PART])
    chosen = lines.FORMATS[export.file_format]
    text = lines.written(page, lines.COLUMNS, chosen)
    if export.reached is None:
        text = chosen.head(list(lines.COLUMNS)) + text
    content = text.encode()
    ExportPart.objects.create(export=export, number=export.parts.count(), content=zlib.compress(content))
    is_over = len(page) < ROWS_A_PART
    Export.objects.filter(pk=pk).update(
        rows=export.rows + len(page),
        size=export.size + len(content),
        reached=page[-1].sequence if page else 0,
        state=Export.State.READY if is_over else Export.State.WANTED,
    )
    return not is_over


def piece(export: Export, number: int) -> bytes:
    """Return one part of the file, decompressed; `number` starts at 0."""
    return zlib.decompress(bytes(export.parts.get(number=number).content))


def note_download(export: Export, *, by: Actor) -> None:
    """Record a download in the audit trail."""
    with act("audit.download", None, by=by, subject_kind="audit", subject_name=str(export)) as this:
        this.after = {"format": export.file_format, "filters": export.criteria, "entries": export.rows}


def forget() -> int:
    """Delete expired files; return how many."""
    return Export.objects.filter(forgotten_at__lte=timezone.now()).delete()[1].get("runs.Export", 0)
