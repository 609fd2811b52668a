"""Stalled runs are found by a sweep, once, with few queries, and told to those whom they concern."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.models import Deployment, Environment
from flows.prefect_api.records import Rejected
from runs import dispatch, mirror, notifications, requests
from runs.models import Run, Stall
from runs.models.notification import Topic
from tests.background import notices
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.many_rows import many_runs
from tests.portal.page_elements import attributes

pytestmark = pytest.mark.django_db
Runs = Callable[..., Run]
Login = Callable[[User], Client]


def age(run: Run, fake: FakePrefect, state_type: str, **ago: float) -> Run:
    """Move the run to a state that it has been in for a while."""
    fake.set_state(run.prefect_id, state_type, at=timezone.now() - timedelta(**ago))
    Run.objects.filter(pk=run.pk).update(state_at=None)  # the fake's clock began later
    return run


def kinds() -> list[str]:
    return list(Run.objects.order_by("pk").values_list("stalled_kind", flat=True))


def test_a_run_whose_worker_died_is_found_and_freed_when_it_moves(
    a_run: Runs, fake: FakePrefect, dev: Environment
) -> None:
    run = age(a_run("PENDING"), fake, "PENDING", minutes=7)
    mirror.sync(dev)
    run.refresh_from_db()
    assert run.stalled_kind == Stall.PENDING
    assert run.stalled_since == run.state_at
    fake.set_state(run.prefect_id, "RUNNING")
    mirror.refresh_state(dev, [run.prefect_id])
    run.refresh_from_db()
    assert (run.stalled_kind, run.stalled_since) == ("", None)


def test_a_cancellation_that_nothing_confirms_and_a_late_run_are_found(
    a_run: Runs, fake: FakePrefect, dev: Environment
) -> None:
    age(a_run("RUNNING"), fake, "CANCELLING", minutes=11)
    a_run("SCHEDULED", expected_start_at=timezone.now() - timedelta(minutes=16))
    a_run("SCHEDULED", expected_start_at=timezone.now() + timedelta(days=1))
    mirror.sync(dev)
    assert kinds() == [Stall.CANCELLING, Stall.LATE, ""]


@pytest.fixture
def quiet(a_run: Runs, fake: FakePrefect) -> Run:
    """A run that started three hours ago and logged its last line two hours ago."""
    now = timezone.now()
    run = age(a_run("RUNNING"), fake, "RUNNING", hours=3)
    fake.change_run(run.prefect_id, started_at=now - timedelta(hours=3))
    fake.add_log(run.prefect_id, "half way", timestamp=now - timedelta(hours=2))
    # It was read as soon as it began, and a run that was read within a minute is not read again.
    Run.objects.filter(pk=run.pk).update(detailed_at=now - timedelta(minutes=2))
    return run


def test_a_run_that_fell_silent_is_found_after_a_closer_look(quiet: Run, dev: Environment) -> None:
    mirror.sync(dev)
    quiet.refresh_from_db()
    assert quiet.stalled_kind == Stall.SILENT
    assert quiet.stalled_since == quiet.active_at


@pytest.mark.parametrize("sign", ["log", "heartbeat", "task"])
def test_a_sign_of_life_frees_it(quiet: Run, fake: FakePrefect, dev: Environment, sign: str) -> None:
    mirror.sync(dev)
    if sign == "log":
        fake.add_log(quiet.prefect_id, "still here")
    elif sign == "task":
        fake.add_task_run(quiet.prefect_id, started_at=timezone.now())
    else:
        fake.add_heartbeat(quiet.prefect_id)
    Run.objects.update(detailed_at=timezone.now() - timedelta(minutes=2))
    mirror.sync(dev)
    assert kinds() == [""]


def test_a_run_that_sends_heartbeats_and_logs_nothing_is_alive(quiet: Run, fake: FakePrefect, dev: Environment) -> None:
    fake.add_heartbeat(quiet.prefect_id)
    mirror.sync(dev)
    assert kinds() == [""]


def test_a_run_that_never_gave_a_sign_of_life_is_left_alone(a_run: Runs, fake: FakePrefect, dev: Environment) -> None:
    run = age(a_run("RUNNING"), fake, "RUNNING", hours=30)
    fake.change_run(run.prefect_id, started_at=timezone.now() - timedelta(hours=30))
    mirror.sync(dev)
    assert kinds() == [""]


def test_a_server_without_events_does_not_stop_the_sweep(quiet: Run, fake: FakePrefect, dev: Environment) -> None:
    def refuse(*words: object, **options: object) -> None:
        raise Rejected("No events.", code="request.rejected", status=422)

    fake.heartbeats = refuse  # type: ignore[method-assign, assignment]
    mirror.sync(dev)
    assert kinds() == [Stall.SILENT]


def test_its_requester_and_those_who_can_act_are_told_once(
    deployment: Deployment, fake: FakePrefect, dev: Environment, requester: User, approver: User, viewer: User
) -> None:
    for person in (requester, approver, viewer):
        notifications.subscribe(person, [(Topic.STALLED, None)], by=by(person))
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.flow_run_id is not None
    mirror.sync(dev)
    fake.set_state(run_request.flow_run_id, "PENDING")
    mirror.sync(dev)
    Run.objects.update(state_at=timezone.now() - timedelta(minutes=7))
    fake.change_run(run_request.flow_run_id, state=None)  # the sweeps below bring no newer state
    for _ in range(2):
        mirror.mark_stalled(dev)
    notice = notices().get(topic=Topic.STALLED)
    assert (notice.person, notice.target_kind) == (requester, "run")


def test_a_changed_limit_counts_at_once(deployment: Deployment, dev: Environment) -> None:
    many_runs(deployment, 1, state_type="PENDING", state_at=timezone.now() - timedelta(minutes=7))
    Environment.objects.update(pending_minutes=0)
    assert dev.pending_minutes == 5, "the row that the follower has"
    assert mirror.mark_stalled(dev) == []


def test_many_stalled_runs_are_one_message_and_few_queries(
    deployment: Deployment, dev: Environment, requester: User
) -> None:
    notifications.subscribe(requester, [(Topic.STALLED, None)], by=by(requester))
    long_ago = timezone.now() - timedelta(minutes=7)

    def queries(number: int) -> int:
        many_runs(deployment, number, state_type="PENDING", state_at=long_ago)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            mirror.mark_stalled(dev)
        return len(captured)

    assert queries(5) == queries(100)
    assert notices().filter(topic=Topic.STALLED).count() == 2
    # Afterwards a sweep changes nothing, and writes nothing.
    with CaptureQueriesContext(connection) as captured:
        mirror.mark_stalled(dev)
    assert not [query for query in captured.captured_queries if query["sql"].startswith("UPDATE")]


def test_the_list_marks_them_and_filters_by_kind(
    a_run: Runs, fake: FakePrefect, dev: Environment, requester: User, login: Login
) -> None:
    stalled = age(a_run("PENDING", name="stalled-run"), fake, "PENDING", minutes=7)
    a_run("RUNNING", name="other-run")
    mirror.sync(dev)
    client = login(requester)
    for choice in ("any", "pending"):
        page = client.get(f"/admin/runs/run/?stalled={choice}").content.decode()
        assert attributes(page, "data-stalled") == ["pending"]
        assert "other-run" not in page
    assert "stalled-run" not in client.get("/admin/runs/run/?stalled=late").content.decode()
    page = client.get(f"/admin/runs/run/{stalled.pk}/change/").content.decode()
    assert attributes(page, "data-stalled") == ["pending"]


def test_the_overview_counts_those_one_can_see(
    a_run: Runs, fake: FakePrefect, dev: Environment, requester: User, stranger: User, login: Login
) -> None:
    age(a_run("PENDING"), fake, "PENDING", minutes=7)
    mirror.sync(dev)
    (row,) = login(requester).get("/admin/").context["stalled"]
    assert row.number == 1
    listed = login(requester).get(row.url).content.decode()
    assert attributes(listed, "data-stalled") == ["pending"]
    assert not login(stranger).get("/admin/").context.get("stalled")
