"""Artifacts on their pages: rendered, escaped, framed, and only for those who may read the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from portal.ui import artifact_view
from runs.actors import Actor
from runs.governance import grants
from runs.models import Artifact, Run

Login = Callable[[User], Client]
MakeRun = Callable[..., Run]
SCRIPT = "<script>alert(1)</script>"


def left(run: Run, **columns: Any) -> Artifact:
    plain = {"environment": run.environment, "run": run, "prefect_id": uuid4(), "type": "markdown", "key": "card"}
    return Artifact.objects.create(**plain | columns)


def test_markdown_is_shown_and_its_html_is_text(a_run: MakeRun, viewer: User, login: Login) -> None:
    run = a_run("COMPLETED")
    left(
        run,
        data=f"# Title\n\n{SCRIPT}\n\n[go](javascript:alert(1)) ![x](http://evil.test/x.png)\n\n| a |\n|---|\n| b |",
    )
    page = login(viewer).get(reverse("admin:runs_run_change", args=[run.pk])).content.decode()
    assert "<h1>Title</h1>" in page
    assert "<td>b</td>" in page
    assert SCRIPT not in page
    assert 'href="javascript:' not in page
    assert "<img" not in page[page.index("portal-prose") :]


def test_a_table_and_a_bar_are_shown(a_run: MakeRun, viewer: User, login: Login) -> None:
    run = a_run("RUNNING")
    left(run, type="table", key="checks", data=[{"check": SCRIPT, "found": 3}, {"check": "b", "found": None}])
    left(run, type="progress", key="bar", data=140)
    page = login(viewer).get(reverse("admin:runs_run_change", args=[run.pk])).content.decode()
    assert "&lt;script&gt;" in page
    assert SCRIPT not in page
    assert 'value="100"' in page


@pytest.mark.parametrize(
    ("data", "columns", "rows"),
    [
        ([{"a": 1}, {"b": "x"}], ["a", "b"], [["1", ""], ["", "x"]]),
        ({"a": [1, 2], "b": ["x"]}, ["a", "b"], [["1", "x"], ["2", ""]]),
        ([[1, 2], [3, 4, 5]], ["1", "2", "3"], [["1", "2", ""], ["3", "4", "5"]]),
        ([], [], []),
    ],
)
def test_a_table_is_shown_in_all_its_shapes(data: Any, columns: list[str], rows: list[list[str]]) -> None:
    found = artifact_view.shown(Artifact(type="table", data=data))
    assert (found.columns, found.rows, found.note) == (columns, rows, "")


@pytest.mark.parametrize("data", [[{}], [1, 2], [[1], 2], {"a": 1}, {"a": [1], "b": 2}, "no rows", 5, [[]], False])
def test_what_is_no_table_is_shown_as_it_is_and_not_as_empty(data: Any) -> None:
    found = artifact_view.shown(Artifact(type="table", data=data))
    assert not found.rows
    assert found.note == artifact_view.cell(data)


def test_an_artifact_without_any_name_has_a_link(a_run: MakeRun, viewer: User, login: Login) -> None:
    one = left(a_run("COMPLETED"), key=" ", type="", description=" ")
    page = login(viewer).get(reverse("admin:runs_artifact_changelist")).content.decode()
    link = reverse("admin:runs_artifact_change", args=[one.pk])
    assert str(one.prefect_id) in page[page.index(f'href="{link}') :]


def test_a_page_of_html_is_only_shown_in_a_sandbox(a_run: MakeRun, viewer: User, login: Login) -> None:
    one = left(a_run("COMPLETED"), data=f"<!doctype html><p>Report</p>{SCRIPT}")
    client = login(viewer)
    page = client.get(reverse("admin:runs_artifact_change", args=[one.pk])).content.decode()
    assert "<p>Report</p>" not in page
    assert "<iframe" in page
    assert " sandbox " in page
    frame = client.get(reverse("admin:runs_artifact_frame", args=[one.pk]))
    policy = frame["Content-Security-Policy"]
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert frame["X-Frame-Options"] == "SAMEORIGIN"
    assert b"<p>Report</p>" in frame.content


def test_what_is_no_page_has_no_frame(a_run: MakeRun, viewer: User, login: Login) -> None:
    one = left(a_run("COMPLETED"), data="plain")
    assert login(viewer).get(reverse("admin:runs_artifact_frame", args=[one.pk])).status_code == 404


def test_who_may_not_read_the_log_sees_no_artifact(
    a_run: MakeRun, stranger: User, login: Login, admin_user: User
) -> None:
    run = a_run("COMPLETED")
    one = left(run, data="<!doctype html>Planted")
    grants.grant(by=Actor.system(), person=stranger, verbs=["see"])
    client = login(stranger)
    assert "portal-artifact" not in client.get(reverse("admin:runs_run_change", args=[run.pk])).content.decode()
    for name in ("admin:runs_artifact_change", "admin:runs_artifact_frame"):
        assert client.get(reverse(name, args=[one.pk])).status_code in (403, 404)
    assert client.get(reverse("admin:runs_artifact_changelist")).status_code == 403
    assert login(admin_user).get(reverse("admin:runs_artifact_frame", args=[one.pk])).status_code == 200


@pytest.mark.parametrize("data", [None, {"a": 1}, [], [1, 2], "", 5, "x" * 5000, {"deep": [[[]]]}])
@pytest.mark.parametrize("kind", ["markdown", "table", "progress", "image", "", "new-kind"])
def test_no_data_breaks_the_page(data: object, kind: str) -> None:
    assert artifact_view.shown(Artifact(type=kind, data=data)) is not None
