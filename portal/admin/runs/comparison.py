"""Two runs beside each other: parameters, durations, tasks, artifacts and definition, what differs first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from django.http import HttpRequest

from flows import canonical
from flows.parameters import MASK
from flows.wording import deployment_name
from portal.admin.requests import parameter_diff
from portal.admin.runs.page import pretty
from portal.ui import times
from runs.access.decisions import Permissions
from runs.models import Run, RunRequest, TaskRun
from runs.models.run import label_of
from runs.requests import visibility

# Instead of a run: the last successful one of the same deployment.
LAST_SUCCESS = "last-success"
ABSENT = "-"
SAME, DIFFERS, ONLY_LEFT, ONLY_RIGHT, UNKNOWN = "same", "differs", "only left", "only right", "not compared"
# How much longer or shorter a task must have taken to be marked: less is noise.
NOTABLE_RATIO, NOTABLE_SECONDS = 1.25, 1.0
# Prefect appends to the name of a task what tells its runs apart.
SUFFIX = re.compile(r"-(?:[0-9]+|[0-9a-f]{3})$")
MOST_TASKS = 20_000
# The tag by which a run names its request, which differs always.
OWN_TAG = "portal-request:"
LONGEST = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """One line: its two values as text, and in a word how they compare."""

    name: str
    left: str
    right: str
    word: str

    @property
    def is_same(self) -> bool:
        return self.word == SAME

    @property
    def tone(self) -> str:
        return "grey" if self.word in (SAME, UNKNOWN) else "amber"


@dataclass(frozen=True, slots=True)
class Section:
    """One table; `hidden` says why there is none."""

    title: str
    rows: Sequence[Row] = ()
    hidden: str = ""

    @property
    def differing(self) -> int:
        return sum(row.word not in (SAME, UNKNOWN) for row in self.rows)


def context(left: Run, right: Run, permissions: Permissions) -> dict[str, Any]:
    """Build the template context, as far as the reader may view the parameters and the logs of both runs."""
    sees_inputs = all(visibility.can_view_parameters(permissions, run) for run in (left, right))
    sees_logs = all(visibility.can_view_logs(permissions, run) for run in (left, right))
    return {
        "left": left,
        "right": right,
        "sections": [
            Section("Run", ordered(facts(left, right))),
            Section("Parameters", ordered(parameters(left, right)))
            if sees_inputs
            else Section("Parameters", hidden="Requires permission to view the parameters of both runs."),
            Section("Tasks", ordered(tasks(left, right))),
            Section("Artifacts", ordered(artifacts(left, right)))
            if sees_logs
            else Section("Artifacts", hidden="Requires permission to view the logs of both runs."),
        ],
    }


def chosen(request: HttpRequest, find: Callable[[HttpRequest, Any], Run]) -> tuple[Run | None, Run]:
    """Return the two runs that the address names as `a` and `b`; 404 for one that is missing or not visible.

    `find` returns a visible run by its key. `a` can be the last success before `b`; None if there is none.
    """
    right = find(request, request.GET.get("b"))
    if request.GET.get("a") != LAST_SUCCESS:
        return find(request, request.GET.get("a")), right
    deployment = right.deployment
    success = deployment and parameter_diff.last_success(deployment, before=right.ended_at, besides=right.pk)
    return (find(request, success.pk) if success else None), right


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Put what differs first; within that the order stays."""
    return sorted(rows, key=lambda row: (row.is_same, row.word == UNKNOWN))


def compared(name: str, left: Any, right: Any) -> Row:
    """Compare two values; None where there is none."""
    one, other = (ABSENT if value in (None, "") else shortened(value) for value in (left, right))
    return Row(name, one, other, word_for(left, right))


def word_for(left: Any, right: Any) -> str:
    if left in (None, "") and right in (None, ""):
        return SAME
    if left in (None, ""):
        return ONLY_RIGHT
    if right in (None, ""):
        return ONLY_LEFT
    return SAME if canonical.same(left, right) else DIFFERS


def shortened(value: Any) -> str:
    text = pretty(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


# The sections -----------------------------------------------------------------------------------------------------


def facts(left: Run, right: Run) -> list[Row]:
    """Compare what everyone sees who sees the runs."""
    one, other = (fact_values(run) for run in (left, right))
    rows = [compared(name, one[name], other[name]) for name in one]
    return [rows[0], duration_row("Duration", seconds_of(left), seconds_of(right)), *rows[1:]]


def fact_values(run: Run) -> dict[str, Any]:
    spec = run_request.spec if (run_request := request_of(run)) else None
    return {
        "State": run.state_label,
        "Environment": str(run.environment),
        "Deployment": deployment_name(run.what),
        "Version": run.deployment_version,
        # Cut: people only compare it.
        "Definition": spec.definition_fingerprint[:12] if spec else None,
        "Attempts": run.run_count,
        "Work pool": run.work_pool_name,
        "Tags": ", ".join(tag for tag in run.tags if not tag.startswith(OWN_TAG)),
    }


def request_of(run: Run) -> RunRequest | None:
    found: RunRequest | None = getattr(run, "run_request", None)
    return found


def seconds_of(run: Run) -> float | None:
    return run.run_seconds if run.started_at and run.is_over else None


def duration_row(name: str, left: float | None, right: float | None) -> Row:
    one, other = (ABSENT if each is None else times.duration(each) for each in (left, right))
    return Row(name, one, other, pace(left, right))


def pace(left: float | None, right: float | None) -> str:
    """Say how the duration on the right compares with the left one, if the difference is more than noise."""
    if left is None or right is None:
        return SAME if left is right else UNKNOWN
    longer, shorter = max(left, right), min(left, right)
    if longer - shorter < NOTABLE_SECONDS or longer < shorter * NOTABLE_RATIO:
        return SAME
    return "slower on the right" if right > left else "faster on the right"


def parameters(left: Run, right: Run) -> list[Row]:
    """Compare the parameters; a secret is masked and never compared, or a guess could be checked here."""
    return [parameter_row(name, left.parameters, right.parameters) for name in names_of(left, right)]


def names_of(left: Run, right: Run) -> list[str]:
    return list(dict.fromkeys([*left.parameters, *right.parameters]))


def parameter_row(name: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> Row:
    one, other = (shortened(values[name]) if name in values else "not given" for values in (left, right))
    if MASK in one + other:
        return Row(name, one, other, UNKNOWN)
    if name not in left or name not in right:
        return Row(name, one, other, ONLY_RIGHT if name not in left else ONLY_LEFT)
    return Row(name, one, other, SAME if canonical.same(left[name], right[name]) else DIFFERS)


@dataclass(frozen=True, slots=True)
class TaskGroup:
    """The runs of one task: how many ended how, and how long one of them took."""

    states: Counter[str]
    seconds: float | None

    @property
    def text(self) -> str:
        count = self.states.total()
        named = [label if count == 1 else f"{number} {label}" for label, number in sorted(self.states.items())]
        took = "" if self.seconds is None else f" · {'' if count == 1 else 'median '}{times.duration(self.seconds)}"
        return f"{', '.join(named)}{took}"


def tasks(left: Run, right: Run) -> list[Row]:
    """Compare the tasks by name, without what tells the runs of one task apart."""
    one, other = task_groups(left), task_groups(right)
    return [task_row(name, one.get(name), other.get(name)) for name in dict.fromkeys([*one, *other])]


def task_groups(run: Run) -> dict[str, TaskGroup]:
    rows = TaskRun.objects.filter(run=run).values_list(
        "name", "state_type", "state_name", "run_seconds", "started_at", "is_cached"
    )
    found: dict[str, list[tuple[str, float | None]]] = {}
    for name, state_type, state_name, seconds, started_at, is_cached in rows[:MOST_TASKS]:
        label = "Cached" if is_cached else label_of(state_type, state_name)
        found.setdefault(SUFFIX.sub("", name.strip()), []).append((label, seconds if started_at else None))
    return {name: task_group(runs) for name, runs in found.items()}


def task_group(runs: Sequence[tuple[str, float | None]]) -> TaskGroup:
    seconds = [each for _, each in runs if each is not None]
    return TaskGroup(Counter(label for label, _ in runs), median(seconds) if seconds else None)


def task_row(name: str, left: TaskGroup | None, right: TaskGroup | None) -> Row:
    one, other = (pretty(each.text) if each else ABSENT for each in (left, right))
    if left is None or right is None:
        return Row(pretty(name), one, other, ONLY_RIGHT if left is None else ONLY_LEFT)
    word = pace(left.seconds, right.seconds) if left.states == right.states else DIFFERS
    return Row(pretty(name), one, other, word)


def artifacts(left: Run, right: Run) -> list[Row]:
    """Compare the artifacts by key; those without one are results of tasks, which have no name to compare by."""
    one, other = artifacts_of(left), artifacts_of(right)
    return [compared(pretty(key), one.get(key), other.get(key)) for key in dict.fromkeys([*one, *other])]


def artifacts_of(run: Run) -> dict[str, Any]:
    return {
        artifact.key: artifact.data if artifact.data not in (None, "") else artifact.type
        for artifact in run.artifacts.exclude(key="").order_by("pk")
    }
