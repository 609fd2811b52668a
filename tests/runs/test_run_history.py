"""What a run is compared with: the usual duration, failures of the last days, and what failed in it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.models import Deployment
from runs.access.decisions import Permissions
from runs.models import LogLine, Run, TaskRun
from runs.run_history import FEWEST_COMPLETED, MOST_COMPLETED, History, history_of
from tests.portal.many_rows import many_runs

MakeRun = Callable[..., Run]


def read(run: Run, user: User, *, has_log: bool = True) -> History:
    return history_of(run, Permissions.of_person(user), timezone.now(), has_log=has_log)


def completed(deployment: Deployment, seconds: list[float]) -> None:
    for each, run in zip(seconds, many_runs(deployment, len(seconds)), strict=True):
        Run.objects.filter(pk=run.pk).update(run_seconds=each)


def test_the_usual_duration_is_that_of_completed_runs(viewer: User, deployment: Deployment, a_run: MakeRun) -> None:
    completed(deployment, [float(each) for each in range(1, 22)])
    many_runs(deployment, 30, state_type="FAILED", run_seconds=1000.0)
    old = timezone.now() - timedelta(days=31)
    many_runs(deployment, 30, created_upstream_at=old, run_seconds=1000.0)
    usual = read(a_run("RUNNING"), viewer).usual
    assert usual is not None
    assert (usual.number, usual.p50, usual.p95) == (21, 11.0, 20.0)


def test_a_few_runs_make_no_usual_duration(viewer: User, deployment: Deployment, a_run: MakeRun) -> None:
    completed(deployment, [1.0] * (FEWEST_COMPLETED - 1))
    assert read(a_run("RUNNING"), viewer).usual is None
    completed(deployment, [1.0])
    assert read(a_run("RUNNING"), viewer).usual is not None


def test_the_run_itself_does_not_count(viewer: User, deployment: Deployment) -> None:
    runs = many_runs(deployment, FEWEST_COMPLETED)
    assert read(runs[0], viewer).usual is None


def test_only_the_newest_runs_are_read(viewer: User, deployment: Deployment, a_run: MakeRun) -> None:
    many_runs(deployment, MOST_COMPLETED + 20)
    usual = read(a_run("RUNNING"), viewer).usual
    assert usual is not None
    assert usual.number == MOST_COMPLETED


def test_failures_of_seven_days_are_counted(viewer: User, deployment: Deployment) -> None:
    run, *_ = many_runs(deployment, 3, state_type="FAILED")
    many_runs(deployment, 1, state_type="CRASHED")
    many_runs(deployment, 2)
    many_runs(deployment, 4, state_type="FAILED", created_upstream_at=timezone.now() - timedelta(days=8))
    assert read(run, viewer).failures == 4


def test_of_a_run_that_did_not_fail_nothing_is_read(viewer: User, deployment: Deployment, a_run: MakeRun) -> None:
    many_runs(deployment, 3, state_type="FAILED")
    found = read(a_run("COMPLETED"), viewer)
    assert (found.failures, found.task, found.error) == (0, None, None)


def test_the_first_failed_task_and_the_last_error(viewer: User, deployment: Deployment) -> None:
    (run,) = many_runs(deployment, 1, state_type="FAILED")
    now = timezone.now()
    for name, state, after in (("fine", "COMPLETED", 0), ("second", "FAILED", 2), ("first", "CRASHED", 1)):
        ended = now + timedelta(seconds=after)
        TaskRun.objects.create(
            run=run, prefect_id=uuid4(), name=name, state_type=state, message=f"{name} says", ended_at=ended
        )
    lines = (("early", 40), ("ValueError: x", 40), ("Finished in state Failed()", 40), ("info", 20))
    for after, (text, level) in enumerate(lines):
        LogLine.objects.create(
            run=run, prefect_id=uuid4(), at=now + timedelta(seconds=after), level=level, message=text
        )
    found = read(run, viewer)
    assert found.task is not None
    assert found.error is not None
    assert (found.task.name, found.task.message, found.error.message) == ("first", "first says", "ValueError: x")
    # Both quote what the run worked on.
    hidden = read(run, viewer, has_log=False)
    assert hidden.task is not None
    assert (hidden.task.name, hidden.task.message, hidden.error) == ("first", "", None)


def test_it_is_one_query_whatever_there_is(viewer: User, deployment: Deployment, a_run: MakeRun) -> None:
    many_runs(deployment, 20)
    failed, *_ = many_runs(deployment, 20, state_type="FAILED")
    permissions = Permissions.of_person(viewer)
    for run in (failed, a_run("RUNNING")):
        with CaptureQueriesContext(connection) as queries:
            history_of(run, permissions, timezone.now(), has_log=True)
        assert len(queries) == 1
