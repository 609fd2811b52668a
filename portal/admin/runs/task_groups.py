"""The task runs of a run by task and state, with one query: what the table, the graph and the tabs count with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Min, Q

from flows.plain_text import prose
from runs.models import Run
from runs.models.run import STATES

# State types in the order in which they are listed and counted, the worst first; others come last.
ORDER = ("FAILED", "CRASHED", "RUNNING", "CANCELLING", "PAUSED", "PENDING", "SCHEDULED", "CANCELLED", "COMPLETED")
# These are shown by themselves, however many task runs there are.
URGENT = ORDER[:5]
# Prefect's task key is the name of the function with a digest of its code.
DIGEST = re.compile(r"-[0-9a-f]{8}$")


@dataclass(frozen=True, slots=True)
class Group:
    """The task runs of one task that are in one state; `has_open` says that some of them have started and not ended."""

    task_key: str
    state_type: str
    count: int
    first: datetime | None
    last: datetime | None
    has_open: bool


@dataclass(frozen=True, slots=True)
class TaskGroups:
    groups: Sequence[Group]

    @property
    def total(self) -> int:
        return sum(each.count for each in self.groups)

    @property
    def task_keys(self) -> list[str]:
        """The tasks, in the order in which they first ran."""
        first: dict[str, float] = {}
        for each in self.groups:
            begun = each.first.timestamp() if each.first else float("inf")
            first[each.task_key] = min(begun, first.get(each.task_key, float("inf")))
        return sorted(first, key=lambda key: (first[key], key))

    def by_state(self, task_keys: Collection[str] | None = None) -> dict[str, int]:
        """Count task runs by state type, in `ORDER`; those of some tasks if they are given."""
        counts: Counter[str] = Counter()
        for each in self.groups:
            if task_keys is None or each.task_key in task_keys:
                counts[each.state_type] += each.count
        return {state: counts[state] for state in sorted(counts, key=place)}

    def chosen(self, query: Mapping[str, str]) -> str | None:
        """Return the task that an address names (`band`), if the run has it."""
        return band if (band := query.get("band")) in {each.task_key for each in self.groups} else None

    def span(self, now: datetime, task_key: str | None = None) -> tuple[datetime, datetime]:
        """Return when the first task run started, and when the last one ended, or now if one goes on.

        With a task, those of its runs alone.
        """
        groups = [each for each in self.groups if task_key in (None, each.task_key)]
        first = min((each.first for each in groups if each.first), default=now)
        last = max((each.last for each in groups if each.last), default=first)
        return first, now if any(each.has_open for each in groups) else max(first, last)


def groups_of(run: Run) -> TaskGroups:
    has_no_end = Q(started_at__isnull=False, ended_at=None)
    rows = (
        run.task_runs.order_by()
        .values("task_key", "state_type")
        .annotate(
            count=Count("pk"),
            first=Min("started_at"),
            last=Max("ended_at"),
            open=Count("pk", filter=has_no_end),
        )
    )
    # Of a run that is over nothing goes on, even if a task run never reported its end.
    return TaskGroups(
        [
            Group(
                row["task_key"],
                row["state_type"],
                row["count"],
                row["first"],
                row["last"],
                has_open=row["open"] > 0 and not run.is_over,
            )
            for row in rows
        ]
    )


def place(state_type: str) -> int:
    return ORDER.index(state_type) if state_type in ORDER else len(ORDER)


def name_of(task_key: str) -> str:
    """Return the name of a task, as people know it."""
    return prose(DIGEST.sub("", task_key)).strip() or "Other tasks"


def label_and_colour(state_type: str) -> tuple[str, str]:
    return STATES.get(state_type, (state_type.title(), "grey"))


def counted(counts: Mapping[str, int]) -> list[str]:
    """Return counts by state in words: “1 failed”, “239 completed”."""
    return [f"{count:,} {label_and_colour(state)[0].lower()}" for state, count in counts.items()]
