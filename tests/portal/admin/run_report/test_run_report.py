"""The run report: one row for each run, with who requested and who approved it, and nothing that one may not view."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import changes, dispatch, mirror, requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import Action, AuditEntry, Run, RunRequest
from runs.models.action import Kind
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.portal.downloads import rows_of
from tests.portal.many_rows import many_requests, many_runs
from tests.portal.query_counts import count

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
LIST = reverse("admin:runs_reportedrun_changelist")
EXPORT = f"{LIST}export.csv"


@pytest.fixture
def ask(prod_deployment: Deployment, requester: User) -> Callable[..., RunRequest]:
    def submit(**values: Any) -> RunRequest:
        given = {"month": "2026-10", "token": "opensesame", **values}
        return requests.submit(prod_deployment, given, by=by(requester), reason="Month end", ticket="OPS-12")

    return submit


@pytest.fixture
def ran(ask: Callable[..., RunRequest], approver: User, prod_fake: FakePrefect) -> Run:
    """A run in prod that `approver` approved."""
    run_request = ask()
    changes.approve(run_request.change, by=by(approver))
    return launched(run_request, prod_fake, "COMPLETED")


def launched(run_request: RunRequest, fake: FakePrefect, state: str) -> Run:
    run_request.refresh_from_db()
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.flow_run_id
    fake.set_state(run_request.flow_run_id, state)
    mirror.refresh(run_request.environment, [run_request.flow_run_id])
    return Run.objects.get(prefect_id=run_request.flow_run_id)


def names(client: Client, query: str = "") -> set[str]:
    return {row.name for row in client.get(f"{LIST}{query}").context["cl"].result_list}


def picked(row: Mapping[str, str], *columns: str) -> list[str]:
    return [row[column] for column in columns]


def test_a_row_says_who_ran_what_why_and_who_approved_it(ran: Run, requester: User, login: Login) -> None:
    client = login(requester)
    page = client.get(LIST).content.decode()
    for piece in (ran.name, "month: 2026-10", "Month end", "OPS-12", "approver", "Completed"):
        assert piece in page
    assert "opensesame" not in page
    (row,) = rows_of(client, EXPORT)
    columns = ("environment", "requested by", "reason", "ticket", "approved by", "outcome")
    assert picked(row, *columns) == ["prod", "requester", "Month end", "OPS-12", "approver", "Completed"]
    assert json.loads(row["parameters"])["month"] == "2026-10"
    assert "opensesame" not in str(row)
    assert AuditEntry.objects.get(verb="list.export").after["list"] == "runs.reportedrun"


def test_parameters_are_hidden_without_permission_for_them(ran: Run, prod: Environment, login: Login) -> None:
    narrow = person("narrow")
    grants.grant(by=Actor.system(), person=narrow, verbs=["see"], environment=prod)
    client = login(narrow)
    page = client.get(LIST).content.decode()
    assert ran.name in page
    assert "2026-10" not in page.replace(timezone.now().strftime("%Y-%m"), "")
    (row,) = rows_of(client, EXPORT)
    assert picked(row, "requested by", "approved by", "parameters") == ["requester", "approver", "hidden"]


def test_no_run_is_in_it_that_one_may_not_see(ran: Run, viewer: User, stranger: User, login: Login) -> None:
    assert names(login(viewer)) == set()
    assert rows_of(login(viewer), EXPORT) == []
    assert login(viewer).get(reverse("admin:runs_reportedrun_change", args=[ran.pk])).status_code == 404
    assert login(stranger).get(LIST).status_code == 403


def test_a_row_leads_to_its_run(ran: Run, requester: User, login: Login) -> None:
    page = reverse("admin:runs_run_change", args=[ran.pk])
    assert f'href="{page}"' in login(requester).get(LIST).content.decode()
    assert login(requester).get(reverse("admin:runs_reportedrun_change", args=[ran.pk])).headers["Location"] == page


def test_runs_are_found_by_how_they_were_approved(
    ran: Run, ask: Callable[..., RunRequest], prod: Environment, prod_fake: FakePrefect, requester: User, login: Login
) -> None:
    firefighter = person("firefighter")
    grants.grant(by=Actor.system(), person=firefighter, verbs=["see", "break glass"], environment=prod)
    urgent = ask(month="2026-11")
    changes.break_glass(urgent.change, by=by(firefighter), reason="fire", minutes=30)
    overridden = launched(urgent, prod_fake, "COMPLETED")
    (outside,) = many_runs(urgent.deployment, 1, name="outside")
    client = login(requester)
    assert names(client) == {ran.name, overridden.name, outside.name}
    assert names(client, "?approval=approved") == names(client, "?approver=approver") == {ran.name}
    assert names(client, "?approval=override") == names(client, "?approver=firefighter") == {overridden.name}
    assert names(client, "?approval=none") == names(client, "?origin=outside") == {outside.name}
    assert names(client, "?approver=requester") == set()
    rows = {row["run"]: row for row in rows_of(client, EXPORT)}
    assert rows[overridden.name]["approved by"] == "firefighter (emergency override)"
    assert picked(rows[outside.name], "requested by", "approved by", "reason") == ["Prefect (external)", "", ""]


def test_a_retry_is_named_with_its_approver(ran: Run, requester: User, approver: User, login: Login) -> None:
    Action.objects.create(
        kind=Kind.RETRY,
        run=ran,
        state="done",
        requested_by=requester,
        requested_by_name="requester",
        change=ran.run_request.change,
    )
    (row,) = rows_of(login(requester), EXPORT)
    assert row["retried by"] == "requester, approved by approver"


def test_parts_of_runs_and_planned_runs_are_not_in_it(deployment: Deployment, requester: User, login: Login) -> None:
    (whole,) = many_runs(deployment, 1, name="whole")
    many_runs(deployment, 1, name="part", parent=whole)
    many_runs(deployment, 1, name="planned", is_auto_scheduled=True, state_type="SCHEDULED")
    many_runs(deployment, 1, name="started", is_auto_scheduled=True, state_type="RUNNING", started_at=timezone.now())
    assert names(login(requester)) == {"whole", "started"}


def test_a_period_is_chosen_by_days(deployment: Deployment, requester: User, login: Login) -> None:
    many_runs(deployment, 1, name="now")
    many_runs(deployment, 1, name="old", created_upstream_at=timezone.now() - timedelta(days=9))
    assert names(login(requester), "?sort_at_from=today") == {"now"}
    assert names(login(requester), "?environment=prod") == set()


def test_it_takes_as_many_queries_for_ten_as_for_two(
    prod_deployment: Deployment, requester: User, login: Login
) -> None:
    client = login(requester)

    def add(number: int) -> int:
        rows = many_requests(prod_deployment, requester, number)
        for row, run in zip(rows, many_runs(prod_deployment, number), strict=True):
            row.run = run
        RunRequest.objects.bulk_update(rows, ["run"])
        Action.objects.bulk_create(
            Action(kind=Kind.RETRY, run=row.run, state="done", requested_by_name="r", change=row.change) for row in rows
        )
        return count(client, LIST)

    assert add(2) == add(8) <= 20


def test_readers_of_the_trail_have_it_in_the_menu(auditor: User, requester: User, login: Login) -> None:
    assert f'href="{LIST}"' in login(auditor).get("/admin/").content.decode()
    assert f'href="{LIST}"' not in login(requester).get("/admin/").content.decode()
