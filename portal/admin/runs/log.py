"""Reads a part of a run's log: the newest lines, older ones, or those that arrived after a line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from django.db.models import Q, QuerySet
from django.utils import timezone

from runs.models import LogLine, Run

WINDOW = 500
# The download is built in memory, so its length is limited.
MOST_LINES = 100_000

# (lowest number, name, tone); the first whose number is reached applies.
LEVELS: tuple[tuple[int, str, str], ...] = (
    (50, "critical", "red"),
    (40, "error", "red"),
    (30, "warning", "amber"),
    (20, "info", "blue"),
    (0, "debug", "grey"),
)
# Choices of the filter: the lowest level shown, and its label.
CHOICES: tuple[tuple[int, str], ...] = ((0, "All"), (20, "Info+"), (30, "Warning+"), (40, "Error"))


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
    """Lines, oldest first. `before` is the key to request older lines with; None if there are none."""

    lines: list[Line]
    level: int
    before: int | None
    is_tail: bool

    @property
    def last(self) -> int:
        """The key of the line that arrived last. Flows send their lines in batches, so it need not be the newest."""
        return max((line.pk for line in self.lines), default=0)

    @property
    def choices(self) -> list[tuple[int, str, bool]]:
        return [(level, label, level == self.level) for level, label in CHOICES]


def window(run: Run, *, level: int, before: int | None = None) -> Window:
    """Return the newest lines of at least this level, or the newest before a line."""
    found = at_least(run, level).order_by("-at", "-pk")
    if before is not None and (edge := run.log_lines.filter(pk=before).first()):
        # Several lines can have the same time, so the key decides among them.
        found = found.filter(Q(at__lt=edge.at) | Q(at=edge.at, pk__lt=edge.pk))
    # One more than is shown tells whether there are older ones.
    newest_first = list(found[: WINDOW + 1])
    shown = newest_first[:WINDOW][::-1]
    older = shown[0].pk if len(newest_first) > WINDOW else None
    return Window([line(each) for each in shown], level, older, is_tail=before is None)


def since(run: Run, *, level: int, after: int) -> Window:
    """Return the lines that arrived after one; `before` of the result is always None."""
    found = at_least(run, level).filter(pk__gt=after).order_by("pk")[:WINDOW]
    return Window([line(each) for each in found], level, None, is_tail=True)


def as_text(run: Run, *, level: int) -> str:
    """Format the whole log as text."""
    found: Iterable[LogLine] = at_least(run, level).order_by("at", "pk").iterator(chunk_size=5000)
    lines = [
        f"{each.at.isoformat(timespec='milliseconds')} {name_of(each.level).upper():8} {each.message}"
        for each in islice(found, MOST_LINES + 1)
    ]
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"… truncated after {MOST_LINES} lines. The full log is in Prefect."]
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
        row.message,
    )


def name_of(level: int) -> str:
    return next((name for least, name, _ in LEVELS if level >= least), "debug")
