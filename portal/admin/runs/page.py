"""What the page of a run shows, put together from Postgres."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from django.utils import timezone
from django.utils.safestring import SafeString

from flows import canonical
from flows.models import Deployment, Health, WorkPool
from flows.parameters.description import describe
from portal.admin.runs import actions, log
from portal.ui import artifact_view, freshness, times
from portal.ui.text import without_control
from runs import diagnosis
from runs.access.decisions import Decision, Permissions, Target
from runs.models import Approval, Run, RunRequest, StateChange, TaskRun, Verb
from runs.requests import visibility

MOST_TASKS = 200
MOST_ARTIFACTS = 50
# Prefect counts a run against a limit from the moment a worker takes it.
TAKEN = ("PENDING", "RUNNING", "CANCELLING")
NO_PARAMETER = "not given"
ICONS = {"FAILED": "error", "CRASHED": "error", "CANCELLED": "info"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One line of a table of parameters; `usual` is the deployment's default as text."""

    name: str
    text: str
    is_long: bool
    usual: str = ""
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One state of the timeline and how long it lasted."""

    change: StateChange
    lasted: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One task and where it lies in the run: `left` and `width` in per cent of the time from first to last."""

    task: TaskRun
    title: str = "has not started"
    took: SafeString | str = ""
    left: str = "0"
    width: str = "0"
    note: str = ""


def context(run: Run, permissions: Permissions, *, level: int, before: int | None, is_live: bool) -> dict[str, Any]:
    """Everything the template needs; `run` comes with its environment, health, deployment and request."""
    now = timezone.now()
    cancellations = list(run.cancellations.order_by("-requested_at"))
    run_request: RunRequest | None = getattr(run, "run_request", None)
    decision = permissions.decide(Verb.CANCEL, Target.of_run(run))
    task_count = run.task_runs.count()
    sees_inputs, sees_logs = (
        visibility.can_view_parameters(permissions, run),
        visibility.can_view_logs(permissions, run),
    )
    return {
        "run": run,
        "topics": f"run={run.pk}",
        "poll": 10 if run.is_terminal else 5,
        "icon": ICONS.get(run.state_type, "hourglass_empty"),
        "is_retried": run.run_count > 1,
        "took": took(run),
        "sentence": diagnosis.explain(visibility.muted(run, permissions), scene(run, now)),
        "origin": origin(run, run_request),
        "run_request": run_request,
        "approvals": list(run_request.approvals.all()) if run_request else list[Approval](),
        "cancellations": cancellations,
        **actions.cancelling(run, permissions, cancellations),
        "again": actions.again(run, run_request, permissions),
        "why_no_cancel": why_no_cancel(run, decision),
        "sees_inputs": sees_inputs,
        "sees_logs": sees_logs,
        "parameters": table(run.parameters, run.deployment) if sees_inputs else [],
        "steps": steps(list(run.state_changes.all())),
        "bars": bars(list(run.task_runs.all()[:MOST_TASKS]), now, has_notes=sees_logs),
        "task_count": task_count,
        "tasks_left_out": max(task_count - MOST_TASKS, 0),
        # A look for news brings its own lines, from the last one the page has.
        "log": None if is_live or not sees_logs else log.window(run, level=level, before=before),
        "artifacts": [artifact_view.shown(each) for each in run.artifacts.all()[:MOST_ARTIFACTS]] if sees_logs else [],
        "freshness": [freshness.freshness_of([run.environment], "runs")[0]],
    }


def took(run: Run) -> SafeString | str:
    if run.started_at is None:
        return ""
    return times.duration(run.run_seconds) if run.is_terminal else times.running_for(run.started_at)


def origin(run: Run, run_request: RunRequest | None) -> str:
    """Who started it, in a word."""
    if run_request:
        return run_request.requested_by_name
    return "Its schedule in Prefect" if run.is_auto_scheduled else "Outside the portal"


def scene(run: Run, now: datetime) -> diagnosis.Context:
    """What surrounds a run that is not over; one that is needs none, and no query."""
    if run.is_terminal or run.deleted_upstream_at:
        return diagnosis.Context(now)
    pool = WorkPool.objects.filter(environment=run.environment_id, name=run.work_pool_name).first()
    taken = Run.objects.filter(environment=run.environment_id, state_type__in=TAKEN, deleted_upstream_at=None).exclude(
        pk=run.pk
    )
    is_limited = run.deployment is not None and run.deployment.concurrency_limit is not None
    health: Health | None = getattr(run.environment, "health", None)
    is_down = health is not None and health.state in (Health.State.DOWN, Health.State.REFUSED)
    return diagnosis.Context(
        now,
        pool,
        busy=taken.filter(work_pool_name=run.work_pool_name).count() if pool and pool.concurrency_limit else 0,
        siblings=taken.filter(deployment=run.deployment_id).count() if is_limited else 0,
        down=health.message if health and is_down else "",
    )


def why_no_cancel(run: Run, decision: Decision) -> str:
    """Worth a sentence only while there is something to cancel."""
    return "" if decision.allowed or run.is_terminal or run.deleted_upstream_at else decision.sentence


def table(values: Mapping[str, Any], deployment: Deployment | None, *, compares: bool = False) -> list[Parameter]:
    """Parameters as text, in the order of the flow's signature; `compares` marks what is not the usual value."""
    known = describe(deployment.parameter_schema, deployment.parameter_defaults) if deployment else []
    usual = {each.name: each.default for each in known if each.has_default}
    names = [*(each.name for each in known if compares or each.name in values), *values]
    return [
        Parameter(
            name,
            text := pretty(values[name]) if name in values else NO_PARAMETER,
            is_long="\n" in text or len(text) > 80,
            usual=pretty(usual[name]) if name in usual else "",
            differs=compares and name in usual and not (name in values and canonical.same(usual[name], values[name])),
        )
        for name in dict.fromkeys(names)
    ]


def pretty(value: Any) -> str:
    """Text as it is, everything else as JSON."""
    return without_control(value) if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def steps(changes: Sequence[StateChange]) -> list[Step]:
    """Newest first: what matters is at the top."""
    found = [Step(one, times.duration((then.at - one.at).total_seconds())) for one, then in pairwise(changes)]
    return [*(Step(last, "") for last in changes[-1:]), *reversed(found)]


def bars(tasks: Sequence[TaskRun], now: datetime, *, has_notes: bool) -> list[Bar]:
    begins = [task.started_at for task in tasks if task.started_at]
    ends = [task.ended_at or now for task in tasks if task.started_at]
    first, last = min(begins, default=now), max(ends, default=now)
    whole = max((last - first).total_seconds(), 0.001)
    return [bar(task, first, whole, now, note(task) if has_notes else "") for task in tasks]


def bar(task: TaskRun, first: datetime, whole: float, now: datetime, note: str) -> Bar:
    if task.started_at is None:
        return Bar(task, note=note)
    left = (task.started_at - first).total_seconds() / whole * 100
    # Thin enough to be honest, wide enough to be seen.
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
    """Why a task did not end well, without the words that its state says already."""
    said = task.message.removeprefix("Task run encountered an exception").strip()
    return diagnosis.shorten(said) if said and task.state_type != "COMPLETED" else ""
