"""Filters of runs: words of their names, the value of a parameter, whether they are stalled."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import requests
from runs.models import Grant, Run, TokenScope
from tests.cast import by
from tests.portal.api.programs import Program, Programs
from tests.portal.many_rows import many_requests, many_runs

pytestmark = pytest.mark.django_db


def names(caller: Program, **query: object) -> list[str]:
    answer = caller.get(f"/runs?{urlencode(query, doseq=True)}")
    assert answer.status == 200, answer.body
    return [each["name"] for each in answer.body["items"]]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("brave", ["brave-otter", "brave-Øresund"]),
        ("BRAVE otter", ["brave-otter"]),
        ("øresund", ["brave-Øresund"]),
        ("monthly otter", ["brave-otter"]),
        ("rave-", ["brave-otter", "brave-Øresund"]),
        ("%%%", []),
        ("calm", []),
    ],
)
def test_a_run_is_found_by_words_of_its_names(
    requester: User, deployment: Deployment, program: Programs, text: str, found: list[str]
) -> None:
    many_runs(deployment, 1, name="brave-otter", created_upstream_at=timezone.now())
    many_runs(deployment, 1, name="brave-Øresund")
    many_runs(deployment, 1, name="quiet-wren")
    assert set(names(program(requester), search=text)) == set(found)


def test_a_run_is_found_by_its_id(requester: User, deployment: Deployment, program: Programs) -> None:
    run = many_runs(deployment, 3)[1]
    assert names(program(requester), search=str(run.prefect_id)) == ["run-1"]


def test_a_search_of_two_letters_is_refused(requester: User, program: Programs) -> None:
    answer = program(requester).get("/runs?search=ab")
    assert (answer.status, answer.code) == (422, "request.invalid")


@pytest.mark.parametrize(
    ("text", "number"), [("month=2026-01", 2), ("rows=5", 1), ("rows=6", 0), ("month", 0), ('month="2026-01"', 2)]
)
def test_a_run_is_found_by_the_value_of_a_parameter(
    requester: User, deployment: Deployment, program: Programs, text: str, number: int
) -> None:
    many_runs(deployment, 2)
    many_runs(deployment, 1, parameters={"rows": 5})
    assert len(names(program(requester), parameter=text)) == number


def test_a_value_is_not_found_out_by_those_who_may_not_view_parameters(
    stranger: User, dev: Environment, deployment: Deployment, program: Programs
) -> None:
    many_runs(deployment, 1)
    Grant.objects.create(person=stranger, verbs=["see"], environment=dev, granted_by_name="test")
    assert names(program(stranger)) == ["run-0"]
    assert names(program(stranger), parameter="month=2026-01") == []
    Grant.objects.create(person=stranger, verbs=["see inputs"], environment=dev, granted_by_name="test")
    assert names(program(stranger), parameter="month=2026-01") == ["run-0"]
    blind = program(stranger, TokenScope(verbs=["see"], environment=dev))
    assert names(blind, parameter="month=2026-01") == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("monthly", 3),
        ("MONTHLY requester", 3),
        ("OPS-7", 1),
        ("OPS-7 month", 1),
        ("OPS", 0),
        ("approver", 0),
        ("first", 1),
        ("9" * 30, 0),
    ],
)
def test_a_request_is_found_by_what_names_it(
    requester: User, deployment: Deployment, program: Programs, text: str, number: int
) -> None:
    first = many_requests(deployment, requester, 2)[0]
    requests.submit(deployment, {"month": "2026-10"}, by=by(requester), ticket="OPS-7")
    asked = urlencode({"search": str(first.pk) if text == "first" else text})
    assert len(program(requester).get(f"/requests?{asked}").body["items"]) == number


def test_a_deployment_is_found_by_a_part_of_its_name(
    requester: User, deployment: Deployment, program: Programs
) -> None:
    caller = program(requester)
    assert len(caller.get("/deployments?search=ONTHL").body["items"]) == 1
    assert caller.get("/deployments?search=yearly").body["items"] == []


def test_stalled_runs_are_found(requester: User, deployment: Deployment, program: Programs) -> None:
    many_runs(deployment, 2)
    Run.objects.filter(name="run-1").update(stalled_kind="late")
    caller = program(requester)
    assert names(caller, stalled="true") == ["run-1"]
    assert names(caller, stalled="false") == ["run-0"]


def test_runs_with_all_that_belongs_to_them_take_no_more_queries(
    requester: User, deployment: Deployment, program: Programs
) -> None:
    caller: Any = program(requester)
    counts = []
    for _ in range(2):
        runs, asked = many_runs(deployment, 3), many_requests(deployment, requester, 3)
        for run, run_request in zip(runs, asked, strict=True):
            run_request.run = run
            run_request.save(update_fields=["run"])
            Run.objects.filter(pk=run.pk).update(parent=runs[0], created_by_portal=True)
        caller.get("/runs")
        caller.get("/requests")
        with CaptureQueriesContext(connection) as captured:
            assert len(names(caller)) == len(caller.get("/requests").body["items"]) == 3 * (len(counts) + 1)
        counts.append(len(captured))
    assert counts[0] == counts[1], captured.captured_queries


def test_one_query_finds_the_deployments_of_many_narrow_grants(
    stranger: User, dev: Environment, deployment: Deployment, program: Programs
) -> None:
    many_runs(deployment, 2)
    counts = []
    for number in (1, 50):
        for index in range(number):
            name = deployment.full_name if index == 0 else f"etl/other-{index}"
            Grant.objects.create(person=stranger, verbs=["see"], environment=dev, full_name=name, granted_by_name="x")
        caller = program(stranger)
        caller.get("/runs")
        with CaptureQueriesContext(connection) as captured:
            assert len(names(caller)) == 2
        counts.append(len(captured))
    assert counts[0] == counts[1]
