"""The lanes of whole tasks in the graph of a run with many task runs: each is one band, which opens by a link."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from django.db.models import F, FloatField, Func, IntegerField, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Coalesce, Extract

from portal.admin.runs import task_groups
from portal.admin.runs.task_groups import TaskGroups
from portal.admin.runs.task_lanes import Lane, Window, within
from portal.ui import timeline
from portal.ui.timeline import Segment
from runs.models import Run

MOST_BANDS = 35
# The axis of a band has so many slots: what is closer together is drawn as one bar.
SLOTS = 200
SEPARATOR = " · "
Busy = Mapping[str, Mapping[str, list[tuple[int, int]]]]


def band_lanes(
    run: Run, groups: TaskGroups, window: Window, link: Callable[[str], str], *, end: datetime
) -> list[Lane]:
    """Return one lane for each task, in the order in which they first ran; those beyond the limit as one."""
    busy: dict[str, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for task_key, state_type, first, last in slots(run, window, end):
        busy[task_key][state_type].append((first, last))
    shown, others = groups.task_keys[:MOST_BANDS], groups.task_keys[MOST_BANDS:]
    lanes = [band_lane(task_groups.name_of(key), [key], groups, busy, link(key)) for key in shown]
    return [*lanes, band_lane("Other tasks", others, groups, busy, "#tasks")] if others else lanes


def band_lane(
    name: str,
    task_keys: Sequence[str],
    groups: TaskGroups,
    busy: Busy,
    address: str,
) -> Lane:
    counts = groups.by_state(task_keys)
    worst, *others = task_groups.counted(counts)
    spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for key in task_keys:
        for state_type, found in busy[key].items() if key in busy else ():
            spans[state_type] += found
    title = f"{name}: {SEPARATOR.join([worst, *others])}"
    # The worst state last, on top of the others.
    segments = [
        Segment(begins / SLOTS, ends / SLOTS, task_groups.label_and_colour(state_type)[1])
        for state_type in sorted(spans, key=task_groups.place, reverse=True)
        for begins, ends in merged(spans[state_type])
    ]
    return Lane(
        key=f"band-{hashlib.sha256(task_keys[0].encode()).hexdigest()[:12]}",
        name=name,
        picture=timeline.lane(title, segments),
        label=worst,
        colour=task_groups.label_and_colour(next(iter(counts)))[1],
        took="".join(f"{SEPARATOR}{each}" for each in others),
        link=address,
        title=title,
        count=sum(counts.values()),
    )


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join spans of slots that overlap or touch; each ends after its last slot."""
    found: list[tuple[int, int]] = []
    for begins, ends in sorted(spans):
        if found and begins <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ends + 1))
        else:
            found.append((begins, ends + 1))
    return found


def slots(run: Run, window: Window, end: datetime) -> Iterable[tuple[str, str, int, int]]:
    """Return in which slots of the axis the task runs ran, by task and state; equal ones once."""
    rows = run.task_runs.order_by().filter(within(window), started_at__isnull=False)
    return (
        rows.annotate(first=Slot(F("started_at"), window), last=Slot(Coalesce("ended_at", Value(end)), window))
        .values_list("task_key", "state_type", "first", "last")
        .distinct()
    )


class Slot(Func):
    """The slot of the axis in which a time lies, from 0; times outside are in the first or the last one."""

    function = "width_bucket"
    output_field = IntegerField()
    template = f"greatest(least(%(function)s(%(expressions)s, {SLOTS}), {SLOTS}) - 1, 0)"

    def __init__(self, at: Combinable, window: Window) -> None:
        first = window.first.timestamp()
        bounds = (Cast(Value(edge), FloatField()) for edge in (first, first + window.seconds))
        super().__init__(Cast(Extract(at, "epoch"), FloatField()), *bounds)
