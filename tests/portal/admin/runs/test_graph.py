"""The graph of a run: lanes, bands, zoom, dependencies, subflows, and what it may not show."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from runs.actors import Actor
from runs.governance import grants
from runs.models import Run, TaskRun
from tests.cast import person
from tests.fakes.prefect import FakePrefect
from tests.portal.many_rows import many_runs
from tests.portal.query_counts import count

Login = Callable[[User], Client]
EVIL = "<script>alert('x')</script>"
# Long enough that every zoom is offered.
LONG = timedelta(hours=2)


@pytest.fixture
def run(deployment: Deployment) -> Run:
    (made,) = many_runs(deployment, 1, state_type="RUNNING", started_at=timezone.now() - LONG)
    return made


def add(run: Run, *names: str, state: str = "COMPLETED", **columns: Any) -> list[TaskRun]:
    """Add task runs that took a minute each, one after the other from the start of the run."""
    assert run.started_at
    before = run.task_runs.count()
    made = []
    for row, name in enumerate(names, before):
        started = run.started_at + timedelta(minutes=row % 100)
        times = {"started_at": started, "ended_at": None if state == "RUNNING" else started + timedelta(minutes=1)}
        plain = {"prefect_id": uuid4(), "task_key": f"{name.rpartition('-')[0]}-1a2b3c4d", "state_type": state}
        made.append(TaskRun(run=run, name=name, **plain | times | columns))
    return TaskRun.objects.bulk_create(made)


def graph_of(client: Client, run: Run, query: str = "") -> str:
    answer = client.get(f"/admin/runs/run/{run.pk}/change/{query}", headers={"X-Portal-Live": "1"})
    assert answer.status_code == 200
    return answer.content.decode().partition('data-live="graph"')[2].partition("</section>")[0]


def lanes(graph: str) -> list[str]:
    return re.findall(r'class="portal-lane-name" title="([^"]*)"', graph)


def test_each_task_run_is_a_lane_with_its_state_in_words(viewer: User, run: Run, login: Login) -> None:
    (first,) = add(run, "extract-0")
    add(run, "load-0", state="FAILED")
    graph = graph_of(login(viewer), run)
    assert lanes(graph) == ["extract-0", "load-0"]
    assert re.findall(r"<b>(\w+)</b>", graph) == ["Completed", "Failed"]
    # A lane is a link that the keyboard reaches: to the lines of the task in the log.
    assert f'<a class="portal-lane-row" href="?task={first.prefect_id}#log">' in graph
    assert '<a class="portal-link" href="#tasks">View as table</a>' in graph


def test_without_the_log_a_lane_leads_to_the_table(run: Run, login: Login) -> None:
    add(run, "extract-0")
    limited = person("limited")
    grants.grant(by=Actor.system(), person=limited, verbs=["see"])
    graph = graph_of(login(limited), run)
    assert '<a class="portal-lane-row" href="#tasks">' in graph
    assert "?task=" not in graph


def test_what_a_task_depends_on_is_drawn_and_named(viewer: User, run: Run, login: Login) -> None:
    first, second = add(run, "first-0", "second-0")
    add(run, "third-0", upstream=[first.prefect_id, second.prefect_id, uuid4()])
    graph = graph_of(login(viewer), run)
    assert graph.count('data-way="in"') == 1
    assert graph.count('data-way="out"') == 2
    assert "third-0: Completed, after first-0, second-0, 1 more</title>" in graph
    page = login(viewer).get(f"/admin/runs/run/{run.pk}/change/").content.decode()
    assert ">first-0, second-0, 1 more</td>" in page


def test_attempts_are_segments_and_all_but_the_last_are_red(viewer: User, run: Run, login: Login) -> None:
    start = run.started_at
    assert start
    ends = [(start + timedelta(seconds=each)).isoformat() for each in (0, 10, 20, 60)]
    spans = {"run_count": 2, "is_over": True, "spans": [ends[:2], ends[2:]]}
    add(run, "load-0", run_count=2, attempts=spans)
    graph = graph_of(login(viewer), run)
    assert re.findall(r'<path data-tone="(\w+)"', graph) == ["red", "green"]
    assert "load-0: Completed, 2 attempts</title>" in graph


@pytest.mark.parametrize("spans", [[], [[None, None]], [["2026-01-01T00:00:00+00:00", None]]])
def test_odd_attempts_do_no_harm(spans: list[Any], viewer: User, run: Run, login: Login) -> None:
    add(run, "load-0", run_count=2, attempts={"spans": spans})
    assert lanes(graph_of(login(viewer), run)) == ["load-0"]


def test_many_task_runs_are_bands_with_counts_and_those_that_matter(viewer: User, run: Run, login: Login) -> None:
    add(run, *(f"extract-{row}" for row in range(70)))
    add(run, *(f"load-{row}" for row in range(30)))
    add(run, "load-bad", state="FAILED")
    add(run, "extract-now", state="RUNNING")
    client = login(viewer)
    graph = graph_of(client, run)
    assert lanes(graph) == ["load-bad", "extract-now", "extract", "load"]
    assert "extract: 1 running · 70 completed</title>" in graph
    assert "load: 1 failed · 30 completed</title>" in graph
    assert 'href="?band=load-1a2b3c4d#graph"' in graph


def test_a_band_opens_to_its_task_runs_and_the_table_follows(viewer: User, run: Run, login: Login) -> None:
    add(run, *(f"extract-{row}" for row in range(70)))
    add(run, *(f"load-{row}" for row in range(30)))
    client = login(viewer)
    graph = graph_of(client, run, "?band=load-1a2b3c4d")
    assert lanes(graph) == [f"load-{row}" for row in range(30)]
    assert 'href="?#graph">Task load' in graph
    page = client.get(f"/admin/runs/run/{run.pk}/change/?band=load-1a2b3c4d").content.decode()
    rows = page.partition('id="tasks"')[2].partition("</section>")[0]
    assert rows.count('<tr id="task-') == 30
    # A task that the run does not have is none.
    assert lanes(graph_of(client, run, "?band=nonsense")) == ["extract", "load"]


def test_a_band_that_is_too_long_shows_what_matters(viewer: User, run: Run, login: Login) -> None:
    add(run, *(f"load-{row}" for row in range(99)))
    add(run, "load-bad", state="FAILED")
    graph = graph_of(login(viewer), run, "?band=load-1a2b3c4d")
    assert len(lanes(graph)) == 60
    assert "load-bad" in lanes(graph)
    assert "The first 60 of 100." in graph


def test_a_zoom_shows_what_ran_in_the_last_minutes(viewer: User, run: Run, login: Login) -> None:
    add(run, "early-0")
    add(run, "late-0", state="RUNNING")
    client = login(viewer)
    assert 'href="?span=15#graph"' in graph_of(client, run)
    assert lanes(graph_of(client, run, "?span=15")) == ["late-0"]
    for nonsense in ("?span=7", "?span=x", "?span=99999999999999999999"):
        assert lanes(graph_of(client, run, nonsense)) == ["early-0", "late-0"]


def test_a_run_without_tasks_says_so(viewer: User, run: Run, login: Login) -> None:
    assert "No task runs yet" in graph_of(login(viewer), run)


def test_names_of_tasks_are_escaped(viewer: User, run: Run, login: Login) -> None:
    add(run, EVIL, task_key=EVIL)
    client = login(viewer)
    assert EVIL not in graph_of(client, run)
    add(run, *(f"{EVIL}-{row}" for row in range(70)), task_key=f"{EVIL}\u202e")
    graph = graph_of(client, run)
    assert EVIL not in graph
    assert "\u202e" not in graph


# Subflows


@pytest.fixture
def inner(dev: Environment, fake: FakePrefect) -> Deployment:
    fake.add_deployment(flow_name="inner", name="inner", tags=("crm",))
    sync.sync(dev)
    return Deployment.objects.get(full_name="inner/inner")


@pytest.fixture
def child(run: Run, inner: Deployment) -> Run:
    """A subflow run of another deployment, with a task run."""
    (task,) = add(run, "inner-0")
    (made,) = many_runs(
        inner, 1, name="quiet-otter", parent=run, parent_task_run_id=task.prefect_id, started_at=task.started_at
    )
    add(made, "deep-0")
    return made


def test_a_subflow_is_a_lane_that_unfolds_and_a_row_of_the_card(
    viewer: User, run: Run, child: Run, login: Login
) -> None:
    client = login(viewer)
    graph = graph_of(client, run)
    assert lanes(graph) == ["inner-0", "deep-0"]
    fold = graph.partition("<details")[2].partition("</details>")[0]
    assert f'href="/admin/runs/run/{child.pk}/change/"' in fold
    assert f'href="/admin/runs/run/{child.pk}/change/#tasks"' in fold
    page = client.get(f"/admin/runs/run/{run.pk}/change/").content.decode()
    card = page.partition('data-live="subflows"')[2].partition("</section>")[0]
    assert ">quiet-otter</a>" in card
    assert "inner" in card
    assert "inner/inner" not in card
    assert f'Part of <a class="portal-link" href="/admin/runs/run/{run.pk}/change/"' in (
        client.get(f"/admin/runs/run/{child.pk}/change/").content.decode()
    )


def test_a_subflow_that_the_reader_may_not_see_is_not_there(run: Run, child: Run, login: Login) -> None:
    limited = person("limited")
    verbs = ["see", "see logs", "see inputs"]
    grants.grant(by=Actor.system(), person=limited, verbs=verbs, flow_name="monthly")
    client = login(limited)
    page = client.get(f"/admin/runs/run/{run.pk}/change/").content.decode()
    for hidden in ("quiet-otter", "deep-0", f"/admin/runs/run/{child.pk}/"):
        assert hidden not in page
    # The task run that stands for it is the run's own.
    assert "inner-0" in page
    assert client.get(f"/admin/runs/run/{child.pk}/change/").status_code == 404


def test_the_card_is_bounded_and_leads_to_the_list_of_all(
    viewer: User, run: Run, inner: Deployment, login: Login
) -> None:
    many_runs(inner, 30, parent=run)
    (other,) = many_runs(inner, 1, name="no-part-of-it")
    client = login(viewer)
    page = client.get(f"/admin/runs/run/{run.pk}/change/").content.decode()
    card = page.partition('data-live="subflows"')[2].partition("</section>")[0]
    address = f"/admin/runs/run/?parent={run.pk}"
    assert f'href="{address}">All 30</a>' in card
    assert card.count("data-key=") == 8
    listed = client.get(address).content.decode()
    assert other.name not in listed
    assert listed.count('class="field-title') == 30


@pytest.mark.parametrize("parent", ["hidden", "0", "x", "99999999999999999999"])
def test_the_filter_by_parent_names_no_run_that_is_hidden(
    parent: str, run: Run, child: Run, inner: Deployment, login: Login
) -> None:
    limited = person("limited")
    grants.grant(by=Actor.system(), person=limited, verbs=["see"], flow_name="inner")
    number = run.pk if parent == "hidden" else parent
    page = login(limited).get(f"/admin/runs/run/?parent={number}").content.decode()
    assert run.name not in page
    assert child.name in page


# What it costs


def test_two_thousand_task_runs_cost_no_more(viewer: User, run: Run, login: Login) -> None:
    add(run, *(f"task{row // 50}-{row}" for row in range(2000)))
    add(run, *(f"task0-bad{row}" for row in range(200)), state="FAILED")
    Run.objects.filter(pk=run.pk).update(state_type="FAILED", state_name="Failed", ended_at=timezone.now())
    client = login(viewer)
    address = f"/admin/runs/run/{run.pk}/change/"
    many = count(client, address)
    assert many <= 20
    page = client.get(address, headers={"X-Portal-Live": "1"})
    assert len(page.content) <= 200_000
    graph = graph_of(client, run)
    assert len(lanes(graph)) == 25 + 35 + 1
    assert 'the first 25 of <a class="portal-link" href="#tasks">200</a>' in graph
    add(run, *(f"task1-{row}" for row in range(2000, 2500)))
    assert count(client, address) == many
