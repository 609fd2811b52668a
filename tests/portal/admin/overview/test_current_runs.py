"""What runs, what is next, and what the reader requested."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment
from portal.ui import run_links
from runs import changes, requests
from runs.models import Run, RunRequest
from tests.cast import by
from tests.portal.many_rows import many_runs

pytestmark = pytest.mark.django_db

URL = reverse("admin:index")
Login = Callable[[User], object]


def current(login: Callable[[User], object], user: User) -> object:
    return login(user).get(URL).context["current"]  # type: ignore[attr-defined]


def test_the_next_scheduled_runs_are_those_to_come_the_nearest_first(
    viewer: User, deployment: Deployment, login: Login
) -> None:
    now = timezone.now()
    for name, minutes in (("later", 60), ("soon", 5), ("late", -5)):
        many_runs(deployment, 1, name=name, state_type="SCHEDULED", expected_start_at=now + timedelta(minutes=minutes))
    found = current(login, viewer)
    assert [run.name for run in found.scheduled.rows] == ["soon", "later"]  # type: ignore[attr-defined]
    assert found.scheduled.count.number == 2  # type: ignore[attr-defined]


def test_a_run_that_is_gone_in_prefect_runs_no_more(viewer: User, deployment: Deployment, login: Login) -> None:
    many_runs(deployment, 2, state_type="RUNNING", deleted_upstream_at=timezone.now())
    assert current(login, viewer).running.rows == []  # type: ignore[attr-defined]


def test_own_requests_are_listed_with_open_ones_first_and_one_word_for_their_state(
    requester: User, approver: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    open_one = requests.submit(prod_deployment, {"month": "2026-01"}, by=by(requester), reason="Close")
    rejected = requests.submit(prod_deployment, {"month": "2026-02"}, by=by(requester), reason="Close")
    changes.reject(rejected.change, by=by(approver), reason="No")
    launched = requests.submit(deployment, {"month": "2026-03"}, by=by(requester))
    (run,) = many_runs(deployment, 1, state_type="RUNNING", started_at=timezone.now(), name="busy-bee")
    RunRequest.objects.filter(pk=launched.pk).update(run=run, state=RunRequest.State.LAUNCHED)
    found = current(login, requester)
    rows = found.own_requests.rows  # type: ignore[attr-defined]
    assert [row.run_request.pk for row in rows] == [launched.pk, open_one.pk, rejected.pk]
    assert [row.state_label for row in rows] == ["Running", "Waiting for approval", "Rejected"]
    assert found.own_requests.count.number == 2  # type: ignore[attr-defined]
    assert [each.name for each in found.own_runs.rows] == ["busy-bee"]  # type: ignore[attr-defined]
    assert current(login, approver).has_own is False  # type: ignore[attr-defined]


def test_own_runs_are_running_or_ended_within_a_day(requester: User, deployment: Deployment, login: Login) -> None:
    now = timezone.now()
    for name, hours in (("today", 2), ("last-week", 170)):
        run_request = requests.submit(deployment, {"month": "2026-03"}, by=by(requester))
        (run,) = many_runs(deployment, 1, name=name, ended_at=now - timedelta(hours=hours))
        RunRequest.objects.filter(pk=run_request.pk).update(run=run, state=RunRequest.State.COMPLETED)
    assert [run.name for run in current(login, requester).own_runs.rows] == ["today"]  # type: ignore[attr-defined]


def test_more_than_can_be_counted_says_so(
    viewer: User, deployment: Deployment, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_links, "MOST_COUNTED", 10)
    many_runs(deployment, 12, state_type="RUNNING")
    count = current(login, viewer).running.count  # type: ignore[attr-defined]
    assert (count.number, count.label) == (11, "10+")
    assert Run.objects.count() == 12
