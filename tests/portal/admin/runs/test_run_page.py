"""The page of a run: what it shows, and what it hides."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.catalog import health, sync
from flows.models import Deployment, Environment, Health
from runs import changes, dispatch, mirror, requests
from runs.models import LogLine, Run, RunRequest, TaskRun
from tests.background import queued_tasks
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.many_rows import many_runs
from tests.portal.page_elements import message_codes
from tests.portal.query_counts import count, must_be_agreed

Login = Callable[[User], Client]
Runs = Callable[..., Run]
EVIL = "<script>alert('x')</script>"


def address(run: Run, path: str = "change/") -> str:
    return f"/admin/runs/run/{run.pk}/{path}"


def text(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def refresh(run: Run) -> None:
    mirror.refresh(run.environment, [run.prefect_id])


def test_it_shows_name_state_deployment_and_environment(viewer: User, a_run: Runs, login: Login) -> None:
    page = text(login(viewer), address(a_run("RUNNING", name="brave-otter")))
    for piece in (
        "brave-otter",
        ">Running<",
        ">monthly</a>",
        "Prefect (external)",
        "http://dev.test/runs/flow-run/",
    ):
        assert piece in page
    assert 'rel="noopener noreferrer"' in page


def test_a_run_of_the_portal_names_its_requester_its_reason_and_its_approver(
    requester: User, approver: User, prod_deployment: Deployment, login: Login
) -> None:
    run_request = requests.submit(prod_deployment, {"month": "2026-01"}, by=by(requester), reason="Month end")
    changes.approve(run_request.change, by=by(approver), reason="Looks right")
    run_request.refresh_from_db()
    dispatch.launch(RunRequest.objects.get(pk=run_request.pk))
    refresh_run_of(run_request)
    page = text(login(approver), address(Run.objects.get(run_request=run_request)))
    assert f"Request {run_request.pk}" in page
    for piece in ("requester", "Month end", "approver", "Looks right"):
        assert piece in page


def refresh_run_of(run_request: RunRequest) -> None:
    run_request.refresh_from_db()
    assert run_request.flow_run_id
    mirror.refresh(run_request.environment, [run_request.flow_run_id])


def test_a_failure_is_explained_in_one_sentence(viewer: User, a_run: Runs, fake: FakePrefect, login: Login) -> None:
    run = a_run("RUNNING")
    fake.set_state(run.prefect_id, "CRASHED", message="Flow run process exited with non-zero status code 1.")
    refresh(run)
    assert 'data-key="why"' in text(login(viewer), address(run))


def test_a_run_that_does_not_start_says_what_is_missing(
    viewer: User, dev: Environment, a_run: Runs, fake: FakePrefect, login: Login
) -> None:
    fake.add_work_pool("batch", workers=())
    run = a_run("SCHEDULED", work_pool_name="batch")
    sync.sync(dev)
    assert "prefect worker start --pool batch" in text(login(viewer), address(run))


def test_an_environment_that_is_down_says_how_old_the_page_is(
    viewer: User, dev: Environment, a_run: Runs, login: Login
) -> None:
    run = a_run("SCHEDULED")
    health.note_runs_synced(dev, timezone.now() - timedelta(minutes=3))
    health.record(dev.server, Health.State.DOWN, "No answer from dev.")
    page = text(login(viewer), address(run))
    trouble = page[page.index(f'data-key="trouble-{dev.pk}"') :].partition("</div>\n    </div>")[0]
    assert "No answer from dev." in trouble
    assert "3 min ago" in trouble
    why = page[page.index('data-key="why"') :].partition("</div>")[0]
    assert "No answer from dev." in why


def test_secret_parameters_are_masked(viewer: User, a_run: Runs, login: Login) -> None:
    page = text(login(viewer), address(a_run("RUNNING", parameters={"month": "2026-01", "token": "hush-hush"})))
    assert "2026-01" in page
    assert "hush-hush" not in page
    assert "••••••" in page


def test_states_tasks_and_log_are_shown(viewer: User, a_run: Runs, fake: FakePrefect, login: Login) -> None:
    run = a_run("RUNNING")
    fake.add_task_run(run.prefect_id, name="load-accounts")
    fake.add_log(run.prefect_id, "Read 85 accounts.")
    refresh(run)
    page = text(login(viewer), address(run))
    for piece in ("load-accounts", "Read 85 accounts.", "portal-lane-row", ">Pending<", ">Scheduled<"):
        assert piece in page


def test_every_text_of_prefect_is_escaped(
    viewer: User, a_run: Runs, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    run = a_run("RUNNING", name=EVIL, tags=(EVIL,), parameters={"month": EVIL, EVIL: EVIL}, infrastructure_pid=EVIL)
    fake.add_task_run(run.prefect_id, name=EVIL, message=EVIL, state_name=EVIL)
    fake.add_log(run.prefect_id, EVIL)
    fake.set_state(run.prefect_id, "FAILED", EVIL, EVIL)
    refresh(run)
    client = login(viewer)
    for url in (address(run), address(run, "log/"), f"{address(run, 'log/')}?after=0"):
        page = text(client, url)
        assert EVIL not in page
        assert "&lt;script&gt;alert(" in page


def test_a_terminal_cannot_be_driven_by_a_log_line(viewer: User, a_run: Runs, fake: FakePrefect, login: Login) -> None:
    run = a_run("RUNNING")
    fake.add_log(run.prefect_id, "\x1b[31mred\x1b[0m \x07bell \u202eright to left")
    refresh(run)
    client = login(viewer)
    for page in (text(client, address(run)), text(client, address(run, "log.txt"))):
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert "red bell right to left" in page


# The log


@pytest.fixture
def logged(a_run: Runs) -> Run:
    """1,200 lines, of which every hundredth is an error."""
    run = a_run("RUNNING")
    start = timezone.now() - timedelta(hours=1)
    LogLine.objects.bulk_create(
        LogLine(
            run=run,
            prefect_id=f"00000000-0000-0000-0000-{index:012}",
            at=start + timedelta(seconds=index),
            level=20 if index % 100 else 40,
            message=f"line {index}.",
        )
        for index in range(1200)
    )
    return run


def test_the_tail_comes_first_and_older_lines_follow_by_link(viewer: User, logged: Run, login: Login) -> None:
    client = login(viewer)
    page = text(client, address(logged))
    assert "line 1199." in page
    assert "line 700." in page
    assert "line 699." not in page
    edge = LogLine.objects.get(message="line 700.").pk
    assert f"before={edge}" in page
    older = text(client, f"{address(logged)}?before={edge}")
    assert "line 699." in older
    assert "line 700." not in older
    # From there one goes on in both directions, and to the end.
    assert f"after={LogLine.objects.get(message='line 699.').pk}" in older
    assert 'href="?level=0&amp;end#log"' in older
    newer = text(client, f"{address(logged)}?after={edge}")
    assert "line 701." in newer
    assert "line 700." not in newer
    first = text(client, f"{address(logged)}?start")
    assert "line 0." in first
    assert "line 500." not in first


def test_the_log_can_be_filtered_by_level(viewer: User, logged: Run, login: Login) -> None:
    page = text(login(viewer), f"{address(logged)}?level=40")
    assert "line 1100." in page
    assert "line 0." in page
    assert "line 1199." not in page


def test_only_what_is_new_is_fetched(viewer: User, logged: Run, login: Login) -> None:
    client = login(viewer)
    last = LogLine.objects.get(message="line 1197.").pk
    page = text(client, f"{address(logged, 'log/')}?level=0&after={last}")
    assert "line 1198." in page
    assert "line 1197." not in page
    assert "line 1198." not in text(client, f"{address(logged, 'log/')}?level=40&after={last}")


def test_the_log_is_a_file_too(viewer: User, logged: Run, login: Login) -> None:
    answer = login(viewer).get(address(logged, "log.txt"))
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Content-Disposition"].startswith("attachment;")
    lines = answer.content.decode().splitlines()
    assert lines[0] == f"# Log of {logged} ({logged.prefect_id}) in dev"
    assert lines[1] == "# All levels; 1,200 lines; times are UTC"
    assert len(lines) == 1202
    assert lines[2].endswith("ERROR    line 0.")


def test_a_file_without_lines_says_what_it_would_hold(viewer: User, logged: Run, login: Login) -> None:
    found = login(viewer).get(f"{address(logged, 'log.txt')}?level=30&text=nowhere").content.decode().splitlines()
    assert found[1:] == ["# Warning+, with “nowhere”; 0 lines; times are UTC"]


def test_lines_name_their_task_and_can_be_limited_to_it(
    viewer: User, a_run: Runs, fake: FakePrefect, login: Login
) -> None:
    run = a_run("RUNNING")
    task = fake.add_task_run(run.prefect_id, name="load-0")
    fake.add_log(run.prefect_id, "of the task", task_run_id=task.id)
    fake.add_log(run.prefect_id, "of the flow")
    refresh(run)
    client = login(viewer)
    page = text(client, address(run))
    assert f'href="?task={task.id}#log"' in page
    for path in (f"{address(run)}?task={task.id}", f"{address(run, 'log/')}?task={task.id}&after=0"):
        limited = text(client, path)
        assert "of the task" in limited
        assert "of the flow" not in limited
    found = text(client, f"{address(run, 'log.txt')}?task={task.id}")
    assert "[load-0] of the task" in found
    assert "task load-0; 1 lines" in found


@pytest.mark.parametrize(("text_", "expected"), [("100%", ["100% done"]), ("a_b", ["a_b"]), ("LINE", ["a line"])])
def test_the_log_is_searched_for_a_text_not_a_pattern(
    text_: str, expected: list[str], viewer: User, a_run: Runs, fake: FakePrefect, login: Login
) -> None:
    run = a_run("RUNNING")
    lines = ["100% done", "1000 done", "a_b", "axb", "a line"]
    for each in lines:
        fake.add_log(run.prefect_id, each)
    refresh(run)
    page = text(login(viewer), f"{address(run)}?{urlencode({'text': text_})}")
    assert [each for each in lines if f"<span>{each}</span>" in page] == expected


def test_a_failed_run_opens_at_its_first_error(viewer: User, logged: Run, login: Login) -> None:
    LogLine.objects.filter(run=logged, message__in=[f"line {n}." for n in range(0, 500, 100)]).update(level=20)
    first = LogLine.objects.get(message="line 500.").pk
    Run.objects.filter(pk=logged.pk).update(state_type="FAILED")
    client = login(viewer)
    page = text(client, address(logged))
    assert f'data-log-target="line-{first}"' in page
    assert "line 499." in page
    assert "line 1199." not in page
    # Whoever asks for another place gets that.
    assert "line 1199." in text(client, f"{address(logged)}?level=0&end")
    assert "line 1199." in text(client, f"{address(logged)}?line={LogLine.objects.get(message='line 1199.').pk}")


def test_neighbouring_lines_come_as_pieces(viewer: User, logged: Run, login: Login) -> None:
    client, edge = login(viewer), LogLine.objects.get(message="line 700.").pk
    older = text(client, f"{address(logged, 'log/')}?before={edge}")
    assert "line 699." in older
    assert "line 200." in older
    assert "line 199." not in older
    newer = text(client, f"{address(logged, 'log/')}?newer={edge}")
    assert "line 701." in newer
    assert "line 1199." in newer


@pytest.mark.parametrize(
    "query",
    [
        "level=nonsense",
        "before=-1",
        "before=999999999999999999999",
        "level=%00",
        "after=x",
        "task=1",
        "text=%00",
        "line=0",
    ],
)
def test_nonsense_in_the_address_is_ignored(query: str, viewer: User, logged: Run, login: Login) -> None:
    client = login(viewer)
    assert client.get(f"{address(logged)}?{query}").status_code == 200
    assert client.get(f"{address(logged, 'log/')}?{query}").status_code == 200


def test_a_live_update_does_not_carry_the_log(viewer: User, logged: Run, login: Login) -> None:
    page = login(viewer).get(address(logged), headers={"X-Portal-Live": "1"}).content.decode()
    assert 'data-live="headline"' in page
    assert "line 1199." not in page


# Task runs


@pytest.fixture
def busy(a_run: Runs) -> Run:
    """250 task runs: the last one failed, the one before it runs, the others completed."""
    run, start = a_run("RUNNING"), timezone.now() - timedelta(hours=1)
    states = ["COMPLETED"] * 248 + ["RUNNING", "FAILED"]
    TaskRun.objects.bulk_create(
        TaskRun(
            run=run,
            prefect_id=uuid4(),
            name=f"task-{index}",
            state_type=state,
            state_name=state.title(),
            started_at=start + timedelta(seconds=index),
            ended_at=start + timedelta(seconds=index + 1) if state != "RUNNING" else None,
        )
        for index, state in enumerate(states)
    )
    return run


def tasks_on(page: str) -> list[str]:
    return re.findall(r">(task-\d+)</a>", page)


def test_tasks_that_failed_or_run_come_first(viewer: User, busy: Run, login: Login) -> None:
    page = text(login(viewer), address(busy))
    assert tasks_on(page)[:3] == ["task-249", "task-248", "task-0"]
    assert re.findall(r">(\d+ \w+)</a>", page.partition('id="tasks"')[2])[:3] == [
        "1 failed",
        "1 running",
        "248 completed",
    ]


def test_every_task_is_on_some_page(viewer: User, busy: Run, login: Login) -> None:
    client = login(viewer)
    pages = [tasks_on(text(client, f"{address(busy)}?tasks_page={number}")) for number in (1, 2, 3)]
    assert [len(each) for each in pages] == [100, 100, 50]
    assert len({name for page in pages for name in page}) == 250
    # A page beyond the last one, and nonsense, are the last and the first one.
    assert tasks_on(text(client, f"{address(busy)}?tasks_page=99")) == pages[2]
    assert tasks_on(text(client, f"{address(busy)}?tasks_page=x")) == pages[0]


def test_tasks_of_one_state_alone(viewer: User, busy: Run, login: Login) -> None:
    client = login(viewer)
    assert tasks_on(text(client, f"{address(busy)}?tasks=FAILED")) == ["task-249"]
    assert len(tasks_on(text(client, f"{address(busy)}?tasks=NONSENSE"))) == 100
    page = text(client, f"{address(busy)}?tasks=COMPLETED&tasks_page=3")
    assert "of 248" in page
    assert len(tasks_on(page)) == 48


# Refreshing


def test_a_run_without_details_is_fetched_when_it_is_opened(viewer: User, deployment: Deployment, login: Login) -> None:
    (run,) = many_runs(deployment, 1, detailed_at=None)
    client = login(viewer)
    text(client, address(run))
    assert queued_tasks() == ["runs.tasks.refresh"]
    client.get(address(run), headers={"X-Portal-Live": "1"})
    assert len(queued_tasks()) == 1, "a live update asks for nothing"


def test_a_run_with_details_is_not(viewer: User, a_run: Runs, login: Login) -> None:
    text(login(viewer), address(a_run("RUNNING")))
    assert queued_tasks() == []


def test_refresh_queues_a_refresh(viewer: User, a_run: Runs, login: Login) -> None:
    run = a_run("RUNNING")
    answer = login(viewer).post(address(run, "refresh/"), follow=True)
    assert message_codes(answer) == ["info"]
    assert queued_tasks() == ["runs.tasks.refresh"]


# Who may see it


@pytest.mark.parametrize("path", ["change/", "log/", "log.txt", "history/"])
def test_a_stranger_finds_nothing(path: str, stranger: User, a_run: Runs, login: Login) -> None:
    run = a_run("RUNNING", name="hidden-name")
    client = login(stranger)
    answer = client.get(address(run, path))
    nothing = client.get(f"/admin/runs/run/999999/{path}")
    assert answer.status_code == nothing.status_code == 404
    assert b"hidden-name" not in answer.content


@pytest.mark.parametrize("path", ["cancel/", "refresh/"])
def test_a_stranger_cannot_act_on_it(path: str, stranger: User, a_run: Runs, login: Login) -> None:
    run = a_run("RUNNING")
    assert login(stranger).post(address(run, path)).status_code == 404
    assert queued_tasks() == []


@pytest.mark.parametrize("path", ["cancel/", "refresh/"])
def test_get_is_not_allowed_for_actions(path: str, requester: User, a_run: Runs, login: Login) -> None:
    assert login(requester).get(address(a_run("RUNNING"), path)).status_code == 405
    assert queued_tasks() == []


def test_nothing_is_changed_added_or_deleted_here(admin_user: User, a_run: Runs, login: Login) -> None:
    run = a_run("RUNNING")
    client = login(admin_user)
    assert client.post(address(run), {"name": "other"}).status_code == 405
    assert client.post(address(run, "delete/"), {"post": "yes"}).status_code == 403
    assert client.get("/admin/runs/run/add/").status_code == 403
    assert Run.objects.get().name == run.name


def test_it_requires_signing_in(a_run: Runs) -> None:
    answer = Client().get(address(a_run("RUNNING")))
    assert answer.status_code == 302
    assert "/admin/login/" in answer["Location"]


def test_the_cost_does_not_grow_with_tasks_and_states(
    viewer: User, a_run: Runs, fake: FakePrefect, login: Login
) -> None:
    run = a_run("RUNNING")
    client = login(viewer)
    few = count(client, address(run))
    for index in range(60):
        fake.add_task_run(run.prefect_id, name=f"task-{index}")
        fake.add_log(run.prefect_id, f"line {index}")
    refresh(run)
    assert TaskRun.objects.count() == 60
    many = count(client, address(run))
    assert few == many <= 20
    must_be_agreed("run page", many)
