"""A window on a run's log: the tail, an older part, or what is new since a line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from django.db.models import Q, QuerySet
from django.utils import timezone

from portal.ui.text import without_control
from runs.models import LogLine, Run

WINDOW = 500
# A file longer than this is read where the log comes from.
MOST_LINES = 100_000

# From this level on -> name and tone; the first that fits counts.
LEVELS: tuple[tuple[int, str, str], ...] = (
    (50, "critical", "red"),
    (40, "error", "red"),
    (30, "warning", "amber"),
    (20, "info", "blue"),
    (0, "debug", "grey"),
)
# What the filter offers: the least level, and what it is called.
CHOICES: tuple[tuple[int, str], ...] = ((0, "Everything"), (20, "Info and up"), (30, "Warnings and up"), (40, "Errors"))


@dataclass(frozen=True, slots=True)
class Line:
    pk: int
    clock: str
    exactly: str
    level: str
    tone: str
    text: str


@dataclass(frozen=True, slots=True)
class Window:
    """Lines, oldest first. `before` is the line to ask for older ones with; None when there are none."""

    lines: list[Line]
    level: int
    before: int | None
    is_tail: bool

    @property
    def last(self) -> int:
        """The newest line in the order of arrival: what comes later has a larger key."""
        return max((line.pk for line in self.lines), default=0)

    @property
    def choices(self) -> list[tuple[int, str, bool]]:
        return [(level, label, level == self.level) for level, label in CHOICES]


def window(run: Run, *, level: int, before: int | None = None) -> Window:
    """The last lines of at least this level, or the last ones before a line."""
    found = at_least(run, level).order_by("-at", "-pk")
    if before is not None and (edge := run.log_lines.filter(pk=before).first()):
        found = found.filter(Q(at__lt=edge.at) | Q(at=edge.at, pk__lt=edge.pk))
    newest_first = list(found[: WINDOW + 1])
    shown = newest_first[:WINDOW][::-1]
    older = shown[0].pk if len(newest_first) > WINDOW else None
    return Window([line(each) for each in shown], level, older, is_tail=before is None)


def since(run: Run, *, level: int, after: int) -> Window:
    """What has come since a line; `before` says nothing here."""
    found = at_least(run, level).filter(pk__gt=after).order_by("pk")[:WINDOW]
    return Window([line(each) for each in found], level, None, is_tail=True)


def as_text(run: Run, *, level: int) -> str:
    """The whole log as a file, one line a line."""
    found: Iterable[LogLine] = at_least(run, level).order_by("at", "pk").iterator(chunk_size=5000)
    lines = [
        f"{each.at.isoformat(timespec='milliseconds')} {name_of(each.level).upper():8} {without_control(each.message)}"
        for each in islice(found, MOST_LINES + 1)
    ]
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"… cut after {MOST_LINES} lines; Prefect has the rest."]
    return "\n".join([*lines, ""])


def at_least(run: Run, level: int) -> QuerySet[LogLine]:
    return LogLine.objects.filter(run=run, level__gte=level)


def line(row: LogLine) -> Line:
    local = timezone.localtime(row.at)
    return Line(
        row.pk,
        f"{local:%H:%M:%S}",
        f"{local:%d %b %Y, %H:%M:%S.%f %Z}",
        name_of(row.level),
        next(tone for least, _, tone in LEVELS if row.level >= least),
        without_control(row.message),
    )


def name_of(level: int) -> str:
    return next((name for least, name, _ in LEVELS if level >= least), "debug")
