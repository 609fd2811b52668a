"""The task runs of a run: what needs attention first, counted by state, a page at a time, as bars on one time axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import Case, Count, F, IntegerField, Max, Min, OuterRef, QuerySet, Subquery, Value, When
from django.utils import timezone
from django.utils.safestring import SafeString

from portal.ui import times
from portal.ui.text import number
from runs import failure_causes
from runs.access.decisions import Permissions
from runs.models import Run, TaskRun, Verb
from runs.models.run import STATES

# Rows of a page: each has an SVG of its own.
PAGE = 100
# State types in the order in which they are listed and counted; those that are not here come last.
ORDER = ("FAILED", "CRASHED", "RUNNING", "CANCELLING", "PAUSED", "PENDING", "SCHEDULED", "CANCELLED", "COMPLETED")


@dataclass(frozen=True, slots=True)
class Bar:
    """One task run as a bar of the chart: `left` and `width` in percent of the time from first start to last end."""

    task: TaskRun
    title: str = "not started"
    took: SafeString | str = ""
    left: str = "0"
    width: str = "0"
    note: str = ""


@dataclass(frozen=True, slots=True)
class StateCount:
    """How many task runs are in a state, and the link to these alone, or to all if they are shown alone."""

    label: str
    colour: str
    count: int
    link: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class TaskTable:
    """One page of rows, numbered `first` to `last` of those `shown`, with the links to the pages beside it."""

    bars: list[Bar]
    counts: list[StateCount]
    total: int
    first: int
    last: int
    shown: int
    previous: str
    following: str


def table(run: Run, permissions: Permissions, query: Mapping[str, str], now: datetime, *, has_notes: bool) -> TaskTable:
    """Build the table; `query` can name a state type (`tasks`) and a page, from 1 (`tasks_page`).

    `has_notes` shows messages of tasks: they quote what the run worked on, so they need the permission for logs.
    """
    counts = dict(run.task_runs.order_by().values_list("state_type").annotate(Count("pk")))
    chosen = query.get("tasks", "")
    chosen = chosen if chosen in counts else ""
    shown = counts[chosen] if chosen else sum(counts.values())
    last_page = max(1, -(-shown // PAGE))
    page = min(max(number(query.get("tasks_page"), otherwise=1) or 1, 1), last_page)
    begin = (page - 1) * PAGE
    rows = with_subflows(run, permissions)
    rows = rows.filter(state_type=chosen) if chosen else rows
    found = list(rows.order_by(urgency(), F("started_at").asc(nulls_last=True), "name", "pk")[begin : begin + PAGE])
    # Of all of them: one axis, whatever is shown.
    span = run.task_runs.aggregate(first=Min("started_at"), last=Max("ended_at"))
    return TaskTable(
        bars=bars(found, span["first"] or now, (run.is_over and span["last"]) or now, now, has_notes=has_notes),
        counts=[count_of(each, counts[each], chosen) for each in sorted(counts, key=place)],
        total=sum(counts.values()),
        first=begin + 1,
        last=begin + len(found),
        shown=shown,
        previous=link(chosen, page - 1) if page > 1 else "",
        following=link(chosen, page + 1) if page < last_page else "",
    )


def place(state_type: str) -> int:
    return ORDER.index(state_type) if state_type in ORDER else len(ORDER)


def urgency() -> Case:
    whens = [When(state_type=each, then=Value(place(each))) for each in ORDER]
    return Case(*whens, default=Value(len(ORDER)), output_field=IntegerField())


def count_of(state_type: str, count: int, chosen: str) -> StateCount:
    label, colour = STATES.get(state_type, (state_type.title(), "grey"))
    is_chosen = state_type == chosen
    return StateCount(label, colour, count, link("" if is_chosen else state_type), is_chosen)


def link(state_type: str, page: int = 1) -> str:
    given: dict[str, Any] = {"tasks": state_type, "tasks_page": page if page > 1 else ""}
    return f"?{urlencode({name: value for name, value in given.items() if value})}#tasks"


def with_subflows(run: Run, permissions: Permissions) -> QuerySet[TaskRun]:
    """Annotate each task run that stands for a subflow with the key of that run, if the reader can see it."""
    visible = run.children.filter(permissions.q(Verb.SEE, deployment="access_deployment__"))
    return run.task_runs.annotate(
        subflow=Subquery(visible.filter(parent_task_run_id=OuterRef("prefect_id")).values("pk")[:1])
    )


def bars(tasks: Sequence[TaskRun], first: datetime, last: datetime, now: datetime, *, has_notes: bool) -> list[Bar]:
    # Never zero: it is divided by, and all tasks may have started in the same instant.
    whole = max((last - first).total_seconds(), 0.001)
    return [bar(task, first, whole, now, note(task) if has_notes else "") for task in tasks]


def bar(task: TaskRun, first: datetime, whole: float, now: datetime, note: str) -> Bar:
    if task.started_at is None:
        return Bar(task, note=note)
    left = (task.started_at - first).total_seconds() / whole * 100
    # A task of milliseconds in a run of hours must still be visible.
    width = max(((task.ended_at or now) - task.started_at).total_seconds() / whole * 100, 0.8)
    return Bar(
        task,
        f"{task.state_label}, from {timezone.localtime(task.started_at):%H:%M:%S}"
        + (f" to {timezone.localtime(task.ended_at):%H:%M:%S}" if task.ended_at else " on"),
        times.duration(task.run_seconds) if task.ended_at else times.running_for(task.started_at),
        f"{min(left, 99.2):.2f}",
        f"{width:.2f}",
        note,
    )


def note(task: TaskRun) -> str:
    """Return why a task did not complete, without the words that repeat its state."""
    message = task.message.removeprefix("Task run encountered an exception").strip()
    return failure_causes.shorten(message) if message and task.state_type != "COMPLETED" else ""
