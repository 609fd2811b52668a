"""The lanes of single task runs in the graph of a run: their attempts as bars, and what they depend on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db.models import Q
from django.utils.safestring import SafeString

from portal.admin.runs import task_table
from portal.ui import timeline, times
from portal.ui.timeline import Arrow, Segment
from runs.models import TaskRun


@dataclass(frozen=True, slots=True)
class Window:
    """The part of time that is drawn; `start` is when the first task run began, from which marks are counted."""

    start: datetime
    first: datetime
    last: datetime

    @property
    def seconds(self) -> float:
        # Never zero: it is divided by, and all tasks may have started in the same instant.
        return max((self.last - self.first).total_seconds(), 0.01)

    def share(self, at: datetime) -> float:
        return min(max((at - self.first).total_seconds() / self.seconds, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Lane:
    """One row: a task run, or a band of many; `subflow` is the key of the run that it stands for."""

    key: str
    name: str
    picture: SafeString
    label: str
    colour: str
    took: SafeString | str = ""
    link: str = ""
    title: str = ""
    # How many task runs it shows, if it is a band.
    count: int = 0
    subflow: int | None = None
    inner: list[Lane] = field(default_factory=list)

    @property
    def is_band(self) -> bool:
        return self.count > 0


def within(window: Window) -> Q:
    return Q(started_at__lte=window.last) & (Q(ended_at=None) | Q(ended_at__gte=window.first))


@dataclass(frozen=True, slots=True)
class Lanes:
    """Makes the lanes of single task runs within a window; `end` is how far those reach that have not ended."""

    window: Window
    end: datetime
    is_over: bool
    links_to_log: bool = False
    # The page of the run they belong to, if that is another one.
    address: str = ""

    def of(self, tasks: Sequence[TaskRun]) -> list[Lane]:
        places = {task.prefect_id: row for row, task in enumerate(tasks)}
        incoming: dict[UUID, list[Arrow]] = defaultdict(list)
        outgoing: dict[UUID, list[Arrow]] = defaultdict(list)
        for task in tasks:
            for upstream in (tasks[places[each]] for each in task.upstream if each in places):
                if task.started_at and upstream.started_at and upstream is not task:
                    arrow = Arrow(
                        places[task.prefect_id] - places[upstream.prefect_id],
                        self.window.share(upstream.ended_at or self.end),
                        self.window.share(task.started_at),
                    )
                    incoming[task.prefect_id].append(arrow)
                    outgoing[upstream.prefect_id].append(arrow)
        names = {task.prefect_id: str(task) for task in tasks}
        return [self.lane(each, incoming[each.prefect_id], outgoing[each.prefect_id], names) for each in tasks]

    def lane(
        self, task: TaskRun, incoming: Sequence[Arrow], outgoing: Sequence[Arrow], names: Mapping[UUID, str]
    ) -> Lane:
        title = f"{task}: {task.state_label}{names_of(task, names)}{attempts(task)}"
        return Lane(
            key=f"lane-{task.pk}",
            name=str(task),
            picture=timeline.lane(title, self.segments(task), incoming, outgoing),
            label=task.state_label,
            colour=task.state_colour,
            took=self.duration(task),
            link=f"?task={task.prefect_id}#log" if self.links_to_log else f"{self.address}#tasks",
            title=title,
            subflow=getattr(task, "subflow", None),
        )

    def duration(self, task: TaskRun) -> SafeString | str:
        if task.started_at and task.ended_at:
            return times.duration((task.ended_at - task.started_at).total_seconds())
        return times.running_for(task.started_at) if task.started_at and not self.is_over else ""

    def segments(self, task: TaskRun) -> list[Segment]:
        """Return the attempts of a task run, or the time from its start to its end if it had one."""
        if task.started_at is None:
            return []
        spans = [(moment(begun), moment(ended)) for begun, ended in task.attempts.get("spans", ())]
        spans = [each for each in spans if each[0]] or [(task.started_at, task.ended_at)]
        last = len(spans) - 1
        return [
            Segment(
                self.window.share(begun),
                self.window.share(ended or self.end),
                # Each attempt but the last one failed, or there would not be another.
                task.state_colour if row == last else "red",
            )
            for row, (begun, ended) in enumerate(spans)
            if begun and begun <= self.window.last and (ended or self.end) >= self.window.first
        ]


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def names_of(task: TaskRun, names: Mapping[UUID, str]) -> str:
    listed = task_table.after(task, names)
    return f", after {listed}" if listed else ""


def attempts(task: TaskRun) -> str:
    return f", {task.run_count} attempts" if task.run_count > 1 else ""
