"""The panel of how runs ended: the chart and its table twin, rates, durations and rankings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment
from portal.ui.text import share
from tests.portal.many_rows import many_runs

pytestmark = pytest.mark.django_db

URL = reverse("admin:index")
Login = Callable[[User], Client]


def test_the_chart_has_a_table_that_says_the_same(viewer: User, deployment: Deployment, login: Login) -> None:
    now = timezone.now()
    many_runs(deployment, 3, ended_at=now, run_seconds=60.0)
    many_runs(deployment, 2, state_type="CRASHED", ended_at=now)
    answer = login(viewer).get(URL)
    panel = answer.context["trend"]
    assert "<title>5 runs" in panel.svg
    assert "3 completed, 2 failed or crashed" in panel.svg
    assert len(panel.rows) == 24
    assert [count.number for count in panel.rows[-1].counts] == [3, 2, 0]
    assert panel.rows[-1].texts[0] == "60%"
    assert answer.content.decode().count("<tr>") >= 25


@pytest.mark.parametrize(("key", "slots"), [("24h", 24), ("7d", 7), ("30d", 30)])
def test_a_range_has_a_row_for_each_hour_or_day(
    key: str, slots: int, viewer: User, deployment: Deployment, login: Login
) -> None:
    many_runs(deployment, 1, ended_at=timezone.now())
    panel = login(viewer).get(URL, {"range": key}).context["trend"]
    assert len(panel.rows) == slots
    assert [choice.key for choice in panel.choices if choice.is_current] == [key]


def test_each_measure_says_how_it_was_before(viewer: User, deployment: Deployment, login: Login) -> None:
    now = timezone.now()
    many_runs(deployment, 3, ended_at=now, run_seconds=100.0)
    many_runs(deployment, 1, ended_at=now, state_type="FAILED")
    many_runs(deployment, 2, ended_at=now - timedelta(hours=30), run_seconds=10.0)
    runs, success, median, high = login(viewer).get(URL).context["trend"].measures
    assert (runs.link.number, runs.counts[0][0].number) == (4, 2)
    assert (success.text, success.before.split(" in ")[0]) == ("75%", "100%")
    for measure in (median, high):
        assert measure.text.startswith("1 min")
        assert measure.before
        assert "<title>" in measure.svg


def test_a_bar_leads_to_its_runs_and_an_empty_one_nowhere(viewer: User, deployment: Deployment, login: Login) -> None:
    many_runs(deployment, 1, ended_at=timezone.now())
    assert login(viewer).get(URL).context["trend"].svg.count("<a href=") == 1


def test_nothing_ended_is_said_without_a_chart(viewer: User, deployment: Deployment, login: Login) -> None:
    panel = login(viewer).get(URL).context["trend"]
    assert (panel.svg, panel.rows, panel.measures, panel.rankings) == ("", [], [], [])


def test_everything_is_only_said_when_nothing_failed() -> None:
    assert share(1.0) == "100%"
    assert share(0.9999) == "99.9%"
    assert share(None) == "-"


def test_deployments_are_ranked_by_their_environment(
    requester: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    now = timezone.now()
    many_runs(deployment, 3, ended_at=now, run_seconds=1.0)
    many_runs(prod_deployment, 1, ended_at=now, run_seconds=500.0)
    many_runs(prod_deployment, 1, ended_at=now, state_type="CRASHED")
    ranked = {
        title: [(row.environment.slug, row.count.number) for row in rows]
        for title, rows in login(requester).get(URL).context["trend"].rankings
    }
    assert ranked == {
        "Slowest": [("prod", 1), ("dev", 3)],
        "Most failures": [("prod", 1)],
        "Most runs": [("dev", 3), ("prod", 2)],
    }
