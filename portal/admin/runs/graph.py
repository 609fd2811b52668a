"""The graph of a run: its task runs on one time axis, with what they depend on, and its subflows.

With many task runs it shows those that failed or run by themselves, and the others as one band for each task, which
opens by a link. So the page stays as small for thousands of them as for a few.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.db.models import F
from django.urls import reverse
from django.utils.safestring import SafeString

from portal.admin.runs import task_groups
from portal.admin.runs.task_bands import band_lanes
from portal.admin.runs.task_groups import TaskGroups
from portal.admin.runs.task_lanes import Lane, Lanes, Window, within
from portal.admin.runs.task_table import TaskTable, urgency, with_subflows
from portal.ui import timeline, times
from portal.ui.text import number
from runs.access.decisions import Permissions
from runs.models import Run, TaskRun

# Above this the task runs are shown in bands, and those that matter by themselves.
MOST_LANES = 60
MOST_URGENT = 25
# Task runs of one unfolded subflow, and of all of them.
MOST_IN_SUBFLOW, MOST_IN_SUBFLOWS = 20, 200
BY_START = F("started_at").asc(nulls_last=True)
# Zooms, in minutes before the end of the axis.
ZOOMS = (60, 15, 5, 1)


@dataclass(frozen=True, slots=True)
class Choice:
    label: str
    link: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """`urgent` and `bands` with many task runs, `lanes` otherwise or of the band that is open, named `band`."""

    axis: SafeString
    lanes: list[Lane]
    urgent: list[Lane]
    bands: list[Lane]
    zooms: list[Choice]
    total: int
    shown_total: int = 0
    hidden: int = 0
    urgent_total: int = 0
    band: str = ""
    link_to_all: str = ""
    has_arrows: bool = False

    @property
    def more_urgent(self) -> bool:
        return self.urgent_total > len(self.urgent)


def graph(
    run: Run,
    permissions: Permissions,
    query: Mapping[str, str],
    groups: TaskGroups,
    listed: TaskTable,
    now: datetime,
    *,
    links_to_log: bool,
) -> Graph:
    """Build the graph; `query` can name a task whose runs are shown (`band`) and the minutes to zoom to (`span`).

    `listed` is the table of task runs: if it has all that are drawn, they are not read again.
    """
    # 1. Which task runs, and which time.
    band = groups.chosen(query)
    start, _ = groups.span(now)
    first, last = groups.span(now, band)
    whole = Window(start, first, last)
    window, minutes = zoomed(whole, query)
    counts = groups.by_state(None if band is None else [band])
    total = sum(counts.values())
    is_single = total <= MOST_LANES or band is not None
    # 2. The lanes of single task runs: all of them, or those that matter.
    if minutes is None and len(listed.rows) == total <= MOST_LANES:
        found = [row.task for row in listed.rows]
    elif minutes is None and listed.is_front:
        found = [row.task for row in listed.rows if row.task.state_type in task_groups.URGENT][:MOST_URGENT]
    else:
        rows = with_subflows(run, permissions)
        rows = rows if band is None else rows.filter(task_key=band)
        rows = rows if minutes is None else rows.filter(within(window))
        rows = rows if is_single else rows.filter(state_type__in=task_groups.URGENT)
        # Of a band that is too long those that matter, too.
        found = list(rows.order_by(urgency(), BY_START, "pk")[: MOST_LANES if is_single else MOST_URGENT])
    if is_single:
        found.sort(key=lambda task: (task.started_at is None, task.started_at or now, task.name, task.pk))
    singles = Lanes(window, last, is_over=run.is_over, links_to_log=links_to_log).of(found)
    unfold(singles, window, now)
    # 3. The bands of all the others.
    bands = [] if is_single else band_lanes(run, groups, window, lambda key: link(key, minutes), end=last)
    return Graph(
        axis=timeline.axis(window.seconds, (window.first - window.start).total_seconds()),
        lanes=singles if is_single else [],
        urgent=[] if is_single else singles,
        bands=bands,
        zooms=zooms(whole, minutes, band),
        total=groups.total,
        shown_total=total,
        hidden=total - len(singles) if is_single and minutes is None else 0,
        urgent_total=sum(counts.get(state, 0) for state in task_groups.URGENT) if minutes is None else len(singles),
        band="" if band is None else task_groups.name_of(band),
        link_to_all=link(None, minutes),
        has_arrows=any(each.upstream for each in found),
    )


def zoomed(whole: Window, query: Mapping[str, str]) -> tuple[Window, int | None]:
    minutes = number(query.get("span"))
    if minutes not in ZOOMS or timedelta(minutes=minutes) >= whole.last - whole.first:
        return whole, None
    return Window(whole.start, whole.last - timedelta(minutes=minutes), whole.last), minutes


def zooms(whole: Window, minutes: int | None, band: str | None) -> list[Choice]:
    """Return the choices of time, none if the run is shorter than the shortest of them."""
    shorter = [each for each in ZOOMS if timedelta(minutes=each) < whole.last - whole.first]
    if not shorter:
        return []
    last = [Choice(f"Last {times.span(each * 60)}", link(band, each), each == minutes) for each in shorter]
    whole_name = "Whole run" if band is None else "Whole task"
    return [Choice(whole_name, link(band, None), minutes is None), *last]


def link(band: str | None, minutes: int | None) -> str:
    given = {name: value for name, value in (("band", band), ("span", minutes)) if value is not None}
    return f"?{urlencode(given)}#graph"


def unfold(lanes: Iterable[Lane], window: Window, now: datetime) -> None:
    """Add the task runs of subflows to the lanes that stand for them, a few of each."""
    folded = {lane.subflow: lane for lane in lanes if lane.subflow}
    if not folded:
        return
    tasks = TaskRun.objects.filter(run__in=folded).select_related("run")
    found = tasks.order_by("run", BY_START, "pk")[:MOST_IN_SUBFLOWS]
    by_run: dict[int, list[TaskRun]] = defaultdict(list)
    for task in found:
        by_run[task.run_id].append(task)
    for pk, inner in by_run.items():
        address = reverse("admin:runs_run_change", args=[pk])
        lanes_of = Lanes(window, now, is_over=inner[0].run.is_over, address=address)
        folded[pk].inner.extend(lanes_of.of(inner[:MOST_IN_SUBFLOW]))
