"""Downloads of a list: what is filtered, what the reader may see, and only while they may see it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flows.models import Deployment
from portal.lists import csv_export
from runs.models import AuditEntry, Grant
from tests.portal.downloads import rows_of
from tests.portal.many_rows import many_requests, many_runs

Login = Callable[[User], Client]


def test_a_download_has_every_row_of_the_filters(requester: User, deployment: Deployment, login: Login) -> None:
    many_runs(deployment, 70, state_type="FAILED", name="=1+1")
    many_runs(deployment, 5)
    rows = rows_of(login(requester), "/admin/runs/run/export.csv?state=FAILED&rows=25")
    assert len(rows) == 70
    assert {row["state"] for row in rows} == {"Failed"}
    # No formula for a spreadsheet.
    assert {row["run"] for row in rows} == {"'=1+1"}
    entry = AuditEntry.objects.get(verb="list.export")
    assert entry.after == {"list": "runs.run", "filters": "rows=25&state=FAILED"}


def test_a_download_has_no_row_that_its_reader_does_not_see(
    viewer: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    many_runs(deployment, 2)
    many_runs(prod_deployment, 2)
    rows = rows_of(login(viewer), "/admin/runs/run/export.csv")
    assert [row["environment"] for row in rows] == ["dev", "dev"]


def test_a_download_ends_when_its_reader_loses_the_permission(
    requester: User, deployment: Deployment, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_export, "ROWS_A_PAGE", 10)
    many_runs(deployment, 30)
    rows = rows_of(login(requester), "/admin/runs/run/export.csv", Grant.objects.all().delete)
    assert len(rows) == 10


def test_requests_deployments_and_artifacts_have_downloads(
    requester: User, deployment: Deployment, login: Login
) -> None:
    many_requests(deployment, requester, 3)
    client = login(requester)
    assert len(rows_of(client, "/admin/runs/runrequest/export.csv?whose=mine")) == 3
    assert [row["deployment"] for row in rows_of(client, "/admin/flows/deployment/export.csv")] == [
        deployment.full_name
    ]
    assert rows_of(client, "/admin/runs/artifact/export.csv") == []


def test_an_address_that_filters_by_nothing_known_downloads_nothing(
    requester: User, deployment: Deployment, login: Login
) -> None:
    many_runs(deployment, 2)
    client = login(requester)
    assert client.post("/admin/runs/run/export.csv?parameters__startswith=x").status_code == 400
    assert client.get("/admin/runs/run/export.csv").status_code == 405


def test_a_stranger_downloads_nothing(stranger: User, deployment: Deployment, login: Login) -> None:
    many_runs(deployment, 2)
    assert login(stranger).post("/admin/runs/run/export.csv").status_code == 403
