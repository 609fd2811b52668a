"""Reads a part of a run's log: its newest or oldest lines, those around a line, or those that arrived after one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Q, QuerySet, Value
from django.utils import timezone

from portal.ui.text import number
from runs.models import LogLine, Run, TaskRun

WINDOW = 500
# The download is built in memory, so its length is limited.
MOST_LINES = 100_000
LONGEST_TEXT = 200
# From here on a line is an error.
ERROR = 40

# (lowest number, name, tone); the first whose number is reached applies.
LEVELS: tuple[tuple[int, str, str], ...] = (
    (50, "critical", "red"),
    (ERROR, "error", "red"),
    (30, "warning", "amber"),
    (20, "info", "blue"),
    (0, "debug", "grey"),
)
# Choices of the filter: the lowest level shown, and its label.
CHOICES: tuple[tuple[int, str], ...] = ((0, "All levels"), (20, "Info+"), (30, "Warning+"), (40, "Error"))


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines of a log are shown: of this level and above, of one task run, with a text in them."""

    level: int = 0
    task: UUID | None = None
    text: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filter:
        """Read a query string; what is malformed counts as not given."""
        try:
            task = UUID(query.get("task", ""))
        except ValueError:
            task = None
        text = query.get("text", "").replace("\0", "")[:LONGEST_TEXT]
        return cls(number(query.get("level"), otherwise=0) or 0, task, text.strip())

    @property
    def query(self) -> str:
        """The query string that says the same."""
        given = {"level": self.level, "task": self.task, "text": self.text}
        return urlencode({name: value for name, value in given.items() if value})

    @property
    def is_all(self) -> bool:
        return self == Filter()

    def lines(self, run: Run) -> QuerySet[LogLine]:
        # A smallint has no such number, and no line has such a level.
        found = LogLine.objects.filter(run=run, level__gte=min(self.level, 1000))
        found = found.filter(task_run_id=self.task) if self.task else found
        return found.filter(message__icontains=self.text) if self.text else found


@dataclass(frozen=True, slots=True)
class Place:
    """Which part of a log: around a line, before or after one, its beginning, or, without any of these, its end."""

    line: int | None = None
    before: int | None = None
    after: int | None = None
    is_start: bool = False
    is_end: bool = False

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Place:
        line, before, after = (number(query.get(name)) for name in ("line", "before", "after"))
        return cls(line, before, after, is_start="start" in query, is_end="end" in query)


@dataclass(frozen=True, slots=True)
class Line:
    pk: int
    clock: str
    exactly: str
    level: str
    tone: str
    text: str
    task: str
    task_id: UUID | None


@dataclass(frozen=True, slots=True)
class Window:
    """Lines, oldest first. `before` and `after` are the keys to request older and newer lines with, if there are any.

    `target` is the line that the reader came for.
    """

    lines: list[Line]
    filter: Filter
    before: int | None = None
    after: int | None = None
    target: int | None = None
    first_error: int | None = None
    task: str = ""

    @property
    def is_tail(self) -> bool:
        return self.after is None

    @property
    def last(self) -> int:
        """The key of the line that arrived last. Flows send their lines in batches, so it need not be the newest."""
        return max((line.pk for line in self.lines), default=0)

    @property
    def choices(self) -> list[tuple[int, str, bool]]:
        return [(level, label, level == self.filter.level) for level, label in CHOICES]

    @property
    def zone(self) -> str:
        """The time zone of the clocks."""
        return timezone.localtime().tzname() or ""


def window(run: Run, chosen: Filter, place: Place) -> Window:
    """Return the part of the log that is asked for. Of a run that failed it is the first error, if none is."""
    error, edge = marks(run, chosen, place.line or place.before or place.after)
    if error and place == Place() and chosen.is_all and run.state_type in ("FAILED", "CRASHED"):
        place, edge = Place(line=error.pk), error
    rows, is_older, is_newer = part(chosen.lines(run), place, edge)
    return Window(
        lines_of(run, rows),
        chosen,
        before=rows[0].pk if rows and is_older else None,
        after=rows[-1].pk if rows and is_newer else None,
        target=place.line if any(each.pk == place.line for each in rows) else None,
        first_error=error.pk if error else None,
        task=name_of_task(run, chosen.task) if chosen.task else "",
    )


def marks(run: Run, chosen: Filter, pk: int | None) -> tuple[LogLine | None, LogLine | None]:
    """Return the first error, and the line with this key; in one query."""
    error = chosen.lines(run).filter(level__gte=ERROR).order_by("at", "pk").annotate(mark=Value("error"))[:1]
    if pk is None:
        return next(iter(error), None), None
    line = LogLine.objects.filter(run=run, pk=pk).annotate(mark=Value("line"))
    found = {each.mark: each for each in error.union(line, all=True).order_by()}
    return found.get("error"), found.get("line")


def part(found: QuerySet[LogLine], place: Place, edge: LogLine | None) -> tuple[list[LogLine], bool, bool]:
    """Return lines, oldest first, and whether there are older and newer ones; `edge` is the line of the place."""
    if place.is_start or (place.after and edge):
        rows, is_newer = first_of(found.filter(later(edge)) if edge else found)
        return rows, edge is not None, is_newer
    if place.before and edge:
        rows, is_older = last_of(found.filter(earlier(edge)))
        return rows, is_older, True
    if place.line and edge:
        return around(found, edge, WINDOW // 2)
    rows, is_older = last_of(found)
    return rows, is_older, False


def around(found: QuerySet[LogLine], edge: LogLine, most: int) -> tuple[list[LogLine], bool, bool]:
    """Return a line between those before and after it, and whether there are others; in one query."""
    older = found.filter(earlier(edge)).order_by("-at", "-pk").annotate(is_older=Value(True))[: most + 1]
    newer = found.filter(Q(pk=edge.pk) | later(edge)).order_by("at", "pk").annotate(is_older=Value(False))[: most + 1]
    # Sorted here: a union has no order.
    rows = sorted(older.union(newer, all=True).order_by(), key=lambda line: (line.at, line.pk))
    before, after = [row for row in rows if row.is_older], [row for row in rows if not row.is_older]
    return [*before[-most:], *after[:most]], len(before) > most, len(after) > most


def edge_of(run: Run, pk: int | None) -> LogLine | None:
    return LogLine.objects.filter(run=run, pk=pk).first() if pk else None


def first_of(found: QuerySet[LogLine], most: int = WINDOW) -> tuple[list[LogLine], bool]:
    # One more than is shown tells whether there are others.
    rows = list(found.order_by("at", "pk")[: most + 1])
    return rows[:most], len(rows) > most


def last_of(found: QuerySet[LogLine], most: int = WINDOW) -> tuple[list[LogLine], bool]:
    rows = list(found.order_by("-at", "-pk")[: most + 1])
    return rows[:most][::-1], len(rows) > most


# Several lines can have the same time, so the key decides among them.
def earlier(edge: LogLine) -> Q:
    return Q(at__lt=edge.at) | Q(at=edge.at, pk__lt=edge.pk)


def later(edge: LogLine) -> Q:
    return Q(at__gt=edge.at) | Q(at=edge.at, pk__gt=edge.pk)


def piece(run: Run, chosen: Filter, query: Mapping[str, str]) -> list[Line]:
    """Return the lines before one, those after it (`newer`), or those that arrived after it, up to `WINDOW`."""
    before, newer = (edge_of(run, number(query.get(name))) for name in ("before", "newer"))
    found = chosen.lines(run)
    if before:
        return lines_of(run, last_of(found.filter(earlier(before)))[0])
    if newer:
        return lines_of(run, first_of(found.filter(later(newer)))[0])
    after = number(query.get("after"), otherwise=0) or 0
    return lines_of(run, list(found.filter(pk__gt=after).order_by("pk")[:WINDOW]))


def as_text(run: Run, chosen: Filter) -> str:
    """Format the log as text, with a heading that says what it holds."""
    names = dict(run.task_runs.values_list("prefect_id", "name"))
    found: Iterable[LogLine] = chosen.lines(run).order_by("at", "pk").iterator(chunk_size=5000)
    lines = [as_line(each, names) for each in islice(found, MOST_LINES + 1)]
    is_cut = len(lines) > MOST_LINES
    count = f"the first {MOST_LINES:,}" if is_cut else f"{len(lines):,}"
    heading = [
        f"# Log of {run} ({run.prefect_id}) in {run.environment}",
        f"# {describe(run, chosen)}; {count} lines; times are {timezone.localtime():%Z}",
    ]
    return "\n".join([*heading, *lines[:MOST_LINES], ""])


def as_line(row: LogLine, names: Mapping[UUID, str]) -> str:
    at = timezone.localtime(row.at).isoformat(timespec="milliseconds")
    name = names.get(row.task_run_id) if row.task_run_id else None
    task = f"[{one_line(name)}] " if name else ""
    return f"{at} {name_of(row.level).upper():8} {task}{row.message}"


def describe(run: Run, chosen: Filter) -> str:
    """Return which lines a filter lets through, in words."""
    parts = [next(label for level, label in reversed(CHOICES) if chosen.level >= level)]
    if chosen.task:
        parts.append(f"task {one_line(name_of_task(run, chosen.task))}")
    if chosen.text:
        parts.append(f"with “{one_line(chosen.text)}”")
    return ", ".join(parts)


def one_line(text: str) -> str:
    return " ".join(text.split())


def lines_of(run: Run, rows: list[LogLine]) -> list[Line]:
    ids = {row.task_run_id for row in rows if row.task_run_id}
    names = dict(TaskRun.objects.filter(run=run, prefect_id__in=ids).values_list("prefect_id", "name")) if ids else {}
    return [line(row, names) for row in rows]


def line(row: LogLine, names: Mapping[UUID, str]) -> Line:
    local = timezone.localtime(row.at)
    return Line(
        row.pk,
        f"{local:%H:%M:%S}",
        exactly(local),
        name_of(row.level),
        next(tone for least, _, tone in LEVELS if row.level >= least),
        row.message,
        names.get(row.task_run_id, "") if row.task_run_id else "",
        row.task_run_id,
    )


def exactly(local: datetime) -> str:
    return f"{local:%d %b %Y, %H:%M:%S.%f %Z}"


def name_of_task(run: Run, task: UUID) -> str:
    found = run.task_runs.filter(prefect_id=task).first()
    return str(found) if found else "unknown task"


def name_of(level: int) -> str:
    return next((name for least, name, _ in LEVELS if level >= least), "debug")
