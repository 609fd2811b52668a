"""The task runs of a run as a table: what needs attention first, counted by state, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Case, F, IntegerField, OuterRef, QuerySet, Subquery, Value, When
from django.utils import timezone
from django.utils.safestring import SafeString

from portal.admin.runs import task_groups
from portal.admin.runs.task_groups import ORDER, TaskGroups
from portal.ui import times
from portal.ui.text import number
from runs import failure_causes
from runs.access.decisions import Permissions
from runs.models import Run, TaskRun, Verb

PAGE = 100
# Task runs that a row names as what it depends on.
MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One task run; `after` says what it depends on."""

    task: TaskRun
    started: str
    exactly: str
    took: SafeString | str
    attempts: str
    after: str
    note: str


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
    """One page of rows, numbered `first` to `last` of those `shown`, with the links to the pages beside it.

    `band` is the task whose runs alone are shown, by name. `is_front` says that the first rows are those that need
    attention most of all task runs.
    """

    rows: list[Row]
    counts: list[StateCount]
    total: int
    first: int
    last: int
    shown: int
    previous: str
    following: str
    band: str
    link_to_all: str
    zone: str
    is_front: bool


def table(
    run: Run, permissions: Permissions, query: Mapping[str, str], groups: TaskGroups, *, has_notes: bool
) -> TaskTable:
    """Build the table; `query` can name a state type (`tasks`), a task (`band`) and a page, from 1 (`tasks_page`).

    `has_notes` shows messages of tasks: they quote what the run worked on, so they need the permission for logs.
    """
    # 1. Which task runs, and which page of them.
    band = groups.chosen(query)
    counts = groups.by_state(None if band is None else [band])
    chosen = query.get("tasks", "")
    chosen = chosen if chosen in counts else ""
    shown = counts[chosen] if chosen else sum(counts.values())
    last_page = max(1, -(-shown // PAGE))
    page = min(max(number(query.get("tasks_page"), otherwise=1) or 1, 1), last_page)
    begin = (page - 1) * PAGE
    # 2. The rows.
    tasks = with_subflows(run, permissions)
    tasks = tasks if band is None else tasks.filter(task_key=band)
    tasks = tasks.filter(state_type=chosen) if chosen else tasks
    found = list(tasks.order_by(urgency(), F("started_at").asc(nulls_last=True), "name", "pk")[begin : begin + PAGE])
    return TaskTable(
        rows=rows(found, is_over=run.is_over, has_notes=has_notes),
        counts=[count_of(state, count, chosen, band) for state, count in counts.items()],
        total=groups.total,
        first=begin + 1,
        last=begin + len(found),
        shown=shown,
        previous=link(chosen, band, page - 1) if page > 1 else "",
        following=link(chosen, band, page + 1) if page < last_page else "",
        band="" if band is None else task_groups.name_of(band),
        link_to_all=link(chosen),
        zone=timezone.localtime().tzname() or "",
        is_front=page == 1 and not chosen and band is None,
    )


def urgency() -> Case:
    whens = [When(state_type=each, then=Value(place)) for place, each in enumerate(ORDER)]
    return Case(*whens, default=Value(len(ORDER)), output_field=IntegerField())


def count_of(state_type: str, count: int, chosen: str, band: str | None) -> StateCount:
    label, colour = task_groups.label_and_colour(state_type)
    is_chosen = state_type == chosen
    return StateCount(label, colour, count, link("" if is_chosen else state_type, band), is_chosen)


def link(state_type: str, band: str | None = None, page: int = 1) -> str:
    given: dict[str, Any] = {"tasks": state_type or None, "band": band, "tasks_page": page if page > 1 else None}
    return f"?{urlencode({name: value for name, value in given.items() if value is not None})}#tasks"


def with_subflows(run: Run, permissions: Permissions) -> QuerySet[TaskRun]:
    """Annotate each task run that stands for a subflow with the key of that run, if the reader can see it."""
    visible = run.children.filter(permissions.q(Verb.SEE, deployment="access_deployment__"))
    return run.task_runs.annotate(
        subflow=Subquery(visible.filter(parent_task_run_id=OuterRef("prefect_id")).values("pk")[:1])
    )


def rows(tasks: Sequence[TaskRun], *, is_over: bool, has_notes: bool) -> list[Row]:
    names = {task.prefect_id: str(task) for task in tasks}
    return [row(task, names, is_over=is_over, note=note(task) if has_notes else "") for task in tasks]


def row(task: TaskRun, names: Mapping[UUID, str], *, is_over: bool, note: str) -> Row:
    began = timezone.localtime(task.started_at) if task.started_at else None
    return Row(
        task,
        f"{began:%H:%M:%S}" if began else "-",
        times.exact_time(began) if began else "",
        took(task, is_over=is_over),
        str(task.run_count) if task.run_count > 1 else "",
        after(task, names),
        note,
    )


def took(task: TaskRun, *, is_over: bool) -> SafeString | str:
    if task.started_at and task.ended_at:
        return times.duration(task.run_seconds)
    # Of a run that is over it is not known when a task ended that never reported its end.
    return times.running_for(task.started_at) if task.started_at and not is_over else ""


def after(task: TaskRun, names: Mapping[UUID, str]) -> str:
    """Return the names of what a task run depends on, as far as these have them, and how many others there are."""
    known = [names[each] for each in task.upstream if each in names][:MOST_NAMED]
    others = len(task.upstream) - len(known)
    return ", ".join([*known, *([f"{others} more" if known else f"{others} others"] if others else [])])


def note(task: TaskRun) -> str:
    """Return why a task did not complete, without the words that repeat its state."""
    return explain(task.message) if task.state_type != "COMPLETED" else ""


def explain(message: str) -> str:
    words = message.removeprefix("Task run encountered an exception").lstrip(": ").strip()
    return failure_causes.shorten(failure_causes.once(words)) if words else ""
