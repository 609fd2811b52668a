"""Two runs beside each other: what differs first, in words, and hidden from who may not view it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from flows.models import Deployment, Environment
from flows.parameters import MASK
from runs.actors import Actor
from runs.governance import grants
from runs.models import Artifact, Run, TaskRun
from tests.cast import person
from tests.portal.many_rows import many_runs
from tests.portal.page_elements import attributes, message_codes

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
Runs = Callable[..., Run]
START = datetime(2026, 11, 1, 8, tzinfo=UTC)


def compare(client: Client, left: Run | str, right: Run) -> Any:
    a = left if isinstance(left, str) else left.pk
    return client.get(reverse("admin:runs_run_compare"), {"a": a, "b": right.pk}, follow=True)


def words(answer: Any, title: str) -> list[tuple[str, str]]:
    """The rows of a section with how they compare, in the order of the page."""
    section = next(each for each in answer.context["sections"] if each.title == title)
    return [(row.name, row.word) for row in section.rows]


def task(run: Run, name: str, state: str, seconds: float) -> None:
    TaskRun.objects.create(
        run=run, prefect_id=uuid4(), name=name, state_type=state, started_at=START, run_seconds=seconds
    )


def artifact(run: Run, key: str, data: object) -> None:
    Artifact.objects.create(environment=run.environment, run=run, prefect_id=uuid4(), key=key, type="table", data=data)


@pytest.fixture
def pair(a_run: Runs) -> tuple[Run, Run]:
    times = {"started_at": START, "ended_at": START + timedelta(seconds=60)}
    left = a_run("COMPLETED", parameters={"month": "2026-01", "rows": 7, "token": "a"}, **times)
    right = a_run("FAILED", parameters={"month": "2026-01", "rows": 8, "token": "b"}, **times)
    return left, right


def test_parameters_differ_in_words_and_secrets_are_never_compared(
    pair: tuple[Run, Run], viewer: User, login: Login
) -> None:
    answer = compare(login(viewer), *pair)
    assert words(answer, "Parameters") == [("rows", "differs"), ("token", "not compared"), ("month", "same")]
    page = answer.content.decode()
    assert MASK in page
    assert attributes(page, "data-word").count("differs") >= 2


def test_what_differs_comes_first_in_each_section(pair: tuple[Run, Run], viewer: User, login: Login) -> None:
    rows = words(compare(login(viewer), *pair), "Run")
    assert rows[0] == ("State", "differs")
    assert [word == "same" for _, word in rows] == sorted(word == "same" for _, word in rows)


def test_tasks_are_compared_by_name_state_and_duration(pair: tuple[Run, Run], viewer: User, login: Login) -> None:
    left, right = pair
    for run, suffix in ((left, "a1f"), (right, "0")):
        task(run, f"extract-{suffix}", "COMPLETED", 10)
        task(run, f"load-{suffix}", "COMPLETED", 10 if run == left else 20)
        task(run, f"transform-{suffix}", "COMPLETED" if run == left else "FAILED", 10)
    task(right, "report-1", "COMPLETED", 1)
    assert dict(words(compare(login(viewer), left, right), "Tasks")) == {
        "load": "slower on the right",
        "transform": "differs",
        "report": "only right",
        "extract": "same",
    }


def test_runs_of_one_task_are_counted(pair: tuple[Run, Run], viewer: User, login: Login) -> None:
    left, right = pair
    for number in range(3):
        task(left, f"load-{number}", "COMPLETED", 4)
    section = next(each for each in compare(login(viewer), left, right).context["sections"] if each.title == "Tasks")
    assert section.rows[0].left == "3 Completed · median 4 s"


def test_artifacts_are_compared_by_key(pair: tuple[Run, Run], viewer: User, login: Login) -> None:
    left, right = pair
    artifact(left, "score", [{"auc": 0.8}])
    artifact(right, "score", [{"auc": 0.7}])
    artifact(left, "shape", [{"rows": 1}])
    artifact(right, "shape", [{"rows": 1}])
    artifact(right, "", {"storage_key": "secret-path"})
    answer = compare(login(viewer), left, right)
    assert words(answer, "Artifacts") == [("score", "differs"), ("shape", "same")]
    assert "secret-path" not in answer.content.decode()


def test_what_one_may_not_view_is_hidden(pair: tuple[Run, Run], dev: Environment, login: Login) -> None:
    artifact(pair[0], "score", [{"auc": 0.8123}])
    eyes_shut = person("blind")
    grants.grant(by=Actor.system(), person=eyes_shut, verbs=["see"], environment=dev)
    page = compare(login(eyes_shut), *pair).content.decode()
    assert "2026-01" not in page
    assert "0.8123" not in page
    for verb, shown in (("see inputs", "2026-01"), ("see logs", "0.8123")):
        grants.grant(by=Actor.system(), person=eyes_shut, verbs=[verb], environment=dev)
        assert shown in compare(login(eyes_shut), *pair).content.decode()


def test_a_run_that_one_does_not_see_is_not_there(
    pair: tuple[Run, Run], prod_deployment: Deployment, viewer: User, login: Login
) -> None:
    (hidden,) = many_runs(prod_deployment, 1)
    client = login(viewer)
    assert compare(client, pair[0], hidden).status_code == 404
    assert compare(client, hidden, pair[0]).status_code == 404
    for query in ({}, {"a": "x", "b": "y"}, {"a": "9" * 30, "b": pair[0].pk}):
        assert client.get(reverse("admin:runs_run_compare"), query).status_code == 404


def test_a_run_is_compared_with_the_last_success_before_it(a_run: Runs, viewer: User, login: Login) -> None:
    old, new = (a_run("COMPLETED", started_at=START, ended_at=START + timedelta(minutes=minutes)) for minutes in (1, 2))
    failed = a_run("FAILED", started_at=START, ended_at=START + timedelta(minutes=3))
    later = a_run("COMPLETED", started_at=START, ended_at=START + timedelta(minutes=4))
    client = login(viewer)
    assert compare(client, "last-success", failed).context["left"] == new
    assert compare(client, "last-success", later).context["left"] == new
    assert compare(client, "last-success", new).context["left"] == old
    nothing = compare(client, "last-success", old)
    assert message_codes(nothing) == ["compare.no_success"]


def test_it_takes_as_many_queries_for_many_tasks_as_for_few(pair: tuple[Run, Run], viewer: User, login: Login) -> None:
    client, counts = login(viewer), []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            compare(client, *pair)
        counts.append(len(queries))
        for number in range(50):
            task(pair[0], f"load{number}-1", "COMPLETED", 1)
            artifact(pair[0], f"key-{number}", 1)
    assert counts[0] == counts[1] <= 20
