"""The filters of the runs list that numbers link to: by time, by requester, and by key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment
from runs import requests
from runs.models import RunRequest
from tests.cast import by
from tests.portal.many_rows import many_runs

pytestmark = pytest.mark.django_db

LIST = reverse("admin:runs_run_changelist")
Login = Callable[[User], Client]


def names(client: Client, **query: Any) -> set[str]:
    answer = client.get(LIST, query)
    assert answer.status_code == 200
    return {run.name for run in answer.context["cl"].result_list}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"ended_from": "2026-03-02T10:00:00+00:00"}, {"ten", "eleven", "next-day"}),
        ({"ended_to": "2026-03-02T11:00:00+00:00"}, {"ten"}),
        ({"ended_from": "2026-03-02T10:00:00+00:00", "ended_to": "2026-03-02T11:00:00+00:00"}, {"ten"}),
        ({"ended_from": "2026-03-02", "ended_to": "2026-03-02"}, {"ten", "eleven"}),
        ({"ended_from": "2026-03-03"}, {"next-day"}),
        ({"ended_from": "yesterday"}, {"ten", "eleven", "next-day"}),
        ({"ended_to": "2026-02-31"}, {"ten", "eleven", "next-day"}),
        ({"ended_to": "9999-12-31"}, {"ten", "eleven", "next-day"}),
        ({"starts_from": "2026-03-02T10:30:00+00:00"}, {"eleven", "next-day"}),
    ],
)
def test_runs_are_found_by_when_they_ended_or_start(
    query: dict[str, str], found: set[str], viewer: User, deployment: Deployment, login: Login
) -> None:
    for name, day, hour in (("ten", 2, 10), ("eleven", 2, 11), ("next-day", 3, 0)):
        at = datetime(2026, 3, day, hour, tzinfo=UTC)
        many_runs(deployment, 1, name=name, ended_at=at, expected_start_at=at)
    assert names(login(viewer), **query) == found


def test_runs_are_found_by_their_numbers_as_far_as_one_sees_them(
    viewer: User, requester: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    one, two, _ = many_runs(deployment, 3)
    (hidden,) = many_runs(prod_deployment, 1, name="covert-run")
    wanted = f"{one.pk},{two.pk}, {hidden.pk},x,²,{10**30}"
    assert names(login(viewer), runs=wanted) == {one.name, two.name}
    assert names(login(requester), runs=wanted) == {one.name, two.name, "covert-run"}
    assert names(login(viewer), runs="x") == set()


def test_runs_are_found_by_their_requester(
    requester: User, approver: User, deployment: Deployment, login: Login
) -> None:
    run_request = requests.submit(deployment, {"month": "2026-03"}, by=by(requester))
    mine, _ = many_runs(deployment, 2)
    RunRequest.objects.filter(pk=run_request.pk).update(run=mine, state=RunRequest.State.LAUNCHED)
    assert names(login(requester), whose="mine") == {mine.name}
    assert names(login(approver), whose="mine") == set()
