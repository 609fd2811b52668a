"""Failures grouped by their causes, and runs that are stalled or late."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment
from tests.portal.many_rows import many_runs

pytestmark = pytest.mark.django_db

URL = reverse("admin:index")
Login = Callable[[User], Any]


def fail(deployment: Deployment, number: int, message: str, **columns: Any) -> None:
    plain = {"state_type": "FAILED", "ended_at": timezone.now(), "state_message": message}
    many_runs(deployment, number, **plain | columns)


def causes(login: Login, user: User, **query: str) -> list[tuple[str, str, int]]:
    found = login(user).get(URL, query).context["causes"]
    return [(cause.newest.environment.slug, cause.reason, cause.count.number) for cause in found]


def test_failures_are_grouped_by_cause_whatever_varies_in_it_the_most_frequent_first(
    viewer: User, deployment: Deployment, login: Login
) -> None:
    fail(deployment, 1, "KeyError: 'month'")
    for row in ("17", "18", "0x7f3a", "6f9619ff-8b86-d011-b42d-00cf4fc964ff"):
        fail(deployment, 1, f"ValueError: bad row {row}")
    assert [(reason.partition(":")[0], number) for _, reason, number in causes(login, viewer)] == [
        ("ValueError", 4),
        ("KeyError", 1),
    ]


def test_one_cause_in_two_environments_is_two_lines(
    requester: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    fail(deployment, 2, "Process exited with status code: 137")
    fail(prod_deployment, 1, "Process exited with status code: 137")
    assert [(slug, number) for slug, _, number in causes(login, requester)] == [("dev", 2), ("prod", 1)]


def test_failures_before_the_range_are_left_out(viewer: User, deployment: Deployment, login: Login) -> None:
    fail(deployment, 1, "ValueError", ended_at=timezone.now() - timedelta(days=3))
    assert causes(login, viewer) == []
    assert len(causes(login, viewer, range="7d")) == 1


def test_only_the_last_failures_are_read(viewer: User, deployment: Deployment, login: Login) -> None:
    fail(deployment, 210, "ValueError")
    answer = login(viewer).get(URL)
    assert [cause.count.number for cause in answer.context["causes"]] == [200]
    assert answer.context["trend"].failed.number == 210


def test_each_line_leads_to_exactly_its_runs(viewer: User, deployment: Deployment, login: Login) -> None:
    fail(deployment, 3, "ValueError: bad", name="bad-bee")
    fail(deployment, 2, "KeyError", name="key-koala")
    client = login(viewer)
    for cause in client.get(URL).context["causes"]:
        listed = client.get(cause.count.url).context["cl"].result_list
        assert {run.name for run in listed} == {cause.newest.name}
        assert len(listed) == cause.count.number


def test_stalled_and_late_runs_are_counted_by_environment(
    requester: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    since = timezone.now() - timedelta(minutes=9)
    for place, kind in (
        (deployment, "silent"),
        (deployment, "silent"),
        (prod_deployment, "silent"),
        (deployment, "late"),
    ):
        many_runs(place, 1, state_type="RUNNING", stalled_kind=kind, stalled_since=since)
    client = login(requester)
    rows = client.get(URL).context["stalled"]
    assert [(row.word, row.environment.slug, row.number) for row in rows] == [
        ("Late", "dev", 1),
        ("Stalled", "dev", 2),
        ("Stalled", "prod", 1),
    ]
    for row in rows:
        assert client.get(row.url).context["cl"].result_count == row.number
