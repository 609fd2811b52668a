"""Lists: who sees which rows, pages, filters, fields."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.models import Alias, Deployment, Environment
from runs import mirror, requests
from runs.models import Grant, LogLine, Policy, Run, TokenScope, Window
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.api.programs import Program, Programs

pytestmark = pytest.mark.django_db
Make = Any


def names(caller: Program, path: str, field: str = "name", **query: object) -> list[str]:
    answer = caller.get(f"{path}?{urlencode(query, doseq=True)}")
    assert answer.status == 200, answer.body
    return [each[field] for each in answer.body["items"]]


def created(run: Run, at: datetime) -> None:
    Run.objects.filter(pk=run.pk).update(created_upstream_at=at)


def everything(caller: Program, path: str, **query: object) -> list[dict[str, Any]]:
    """All pages of a list."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = caller.get(f"{path}?{urlencode({**query, 'cursor': cursor}, doseq=True)}").body
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = page["next"]


def test_only_what_is_visible_is_listed(
    requester: User, stranger: User, deployment: Deployment, prod_deployment: Deployment, program: Programs
) -> None:
    assert names(program(requester), "/deployments") == [deployment.full_name] * 2
    assert names(program(stranger), "/deployments") == []
    assert names(program(stranger), "/environments") == []
    answer = program(stranger).get(f"/environments/dev/deployments/{deployment.prefect_id}")
    assert (answer.status, answer.code) == (404, "row.unknown")


def test_a_scope_limits_every_list(
    requester: User,
    dev: Environment,
    deployment: Deployment,
    prod_deployment: Deployment,
    a_run: Make,
    program: Programs,
) -> None:
    a_run()
    requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    caller = program(requester, TokenScope(verbs=["see"], full_name="other/other", environment=dev))
    for path in ("/deployments", "/runs", "/requests", "/artifacts"):
        assert everything(caller, path) == [], path
    everywhere = program(requester, TokenScope(verbs=["see"]))
    assert names(everywhere, "/deployments", "environment") == ["dev"]


def test_pages_hold_every_row_once(requester: User, a_run: Make, program: Programs) -> None:
    now = timezone.now()
    for number in range(7):
        # Three of them at the same moment: the key decides then.
        created(a_run(name=f"run-{number}"), now - timedelta(minutes=number // 3))
    found = everything(program(requester), "/runs", limit=2)
    assert len(found) == 7
    assert len({each["id"] for each in found}) == 7
    assert found[0]["name"] in {"run-0", "run-1", "run-2"}


def test_a_page_is_found_where_it_was_although_rows_appear(requester: User, a_run: Make, program: Programs) -> None:
    for number in range(4):
        created(a_run(name=f"run-{number}"), timezone.now() - timedelta(hours=number + 1))
    caller = program(requester)
    first = caller.get("/runs?limit=2").body
    created(a_run(name="new"), timezone.now())
    second = caller.get(f"/runs?limit=2&cursor={first['next']}").body
    assert [each["name"] for each in [*first["items"], *second["items"]]] == ["run-0", "run-1", "run-2", "run-3"]


@pytest.mark.parametrize("change", ["x", "swap", "filter", "list"])
def test_a_cursor_is_of_one_list_with_its_filters(requester: User, a_run: Make, program: Programs, change: str) -> None:
    for _ in range(3):
        a_run()
    caller = program(requester)
    cursor = caller.get("/runs?limit=1").body["next"]
    paths = {
        "x": "/runs?cursor=x",
        "swap": f"/runs?limit=1&cursor={cursor[::-1]}",
        "filter": f"/runs?limit=1&environment=dev&cursor={cursor}",
        "list": f"/requests?cursor={cursor}",
    }
    answer = caller.get(paths[change])
    assert (answer.status, answer.code) == (422, "cursor.invalid")


def test_filters(requester: User, a_run: Make, program: Programs) -> None:
    a_run("RUNNING", name="one", tags=["a", "b"])
    a_run("FAILED", name="two", tags=["a"])
    caller = program(requester)
    assert set(names(caller, "/runs", state=["RUNNING", "FAILED"])) == {"one", "two"}
    assert names(caller, "/runs", state="FAILED") == ["two"]
    assert names(caller, "/runs", tag=["a", "b"]) == ["one"]
    assert names(caller, "/runs", since=(timezone.now() + timedelta(days=1)).isoformat()) == []
    assert names(caller, "/runs", environment="prod") == []


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "since=yesterday", "id=7"])
def test_what_is_no_filter_is_refused(requester: User, program: Programs, query: str) -> None:
    answer = program(requester).get(f"/runs?{query}")
    assert (answer.status, answer.code) == (422, "request.invalid")
    assert answer.body["errors"]


@pytest.mark.parametrize("path", ["/runs?environment=%00", "/runs?tag=%00", "/environments/%00", "/environments/a%00b"])
def test_a_nul_character_is_refused(requester: User, program: Programs, path: str) -> None:
    answer = program(requester).get(path)
    assert (answer.status, answer.code) == (422, "text.nul")


def test_a_filter_that_does_not_exist_is_not_ignored(requester: User, program: Programs) -> None:
    answer = program(requester).get("/runs?enviroment=prod")
    assert (answer.code, answer.body["data"]) == ("filters.invalid", {"filters": ["enviroment"]})


def test_only_the_wanted_fields_are_returned(requester: User, a_run: Make, program: Programs) -> None:
    a_run(name="one")
    caller = program(requester)
    assert caller.get("/runs?fields=name,state").body["items"] == [{"name": "one", "state": "RUNNING"}]
    answer = caller.get("/runs?fields=name,secret")
    assert (answer.code, answer.body["data"]) == ("fields.invalid", {"fields": ["secret"]})


def test_parameters_and_logs_need_their_own_permission(
    stranger: User, dev: Environment, a_run: Make, program: Programs
) -> None:
    run = a_run()
    Run.objects.filter(pk=run.pk).update(parameters={"month": "2026-10"}, state_message="secret line")
    LogLine.objects.create(run=run, prefect_id=run.prefect_id, at=timezone.now(), level=20, message="a line")
    Grant.objects.create(person=stranger, verbs=["see"], environment=dev, granted_by_name="test")
    caller, path = program(stranger), f"/environments/dev/runs/{run.prefect_id}"
    found = caller.get(path).body
    assert (found["parameters"], found["message"], found["states"]) == (None, "", [])
    for part in ("logs", "task-runs"):
        answer = caller.get(f"{path}/{part}")
        assert (answer.status, answer.code) == (403, "access.no_grant")
    Grant.objects.create(person=stranger, verbs=["see inputs", "see logs"], environment=dev, granted_by_name="test")
    found = caller.get(path).body
    assert (found["parameters"], found["message"]) == ({"month": "2026-10"}, "secret line")
    assert names(caller, f"{path}/logs", "message") == ["a line"]


def test_a_token_reads_what_was_done_with_it(requester: User, deployment: Deployment, program: Programs) -> None:
    requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    one, other = program(requester), program(requester)
    one.post("/changes", {"environment": "dev", "deployment": deployment.full_name, "parameters": {"month": "x"}})
    assert [each["verb"] for each in everything(one, "/audit")] == ["request.submit"]
    assert everything(other, "/audit") == []


def test_rules_about_what_is_not_visible_are_not_listed(
    stranger: User, dev: Environment, prod: Environment, deployment: Deployment, program: Programs
) -> None:
    Grant.objects.create(
        person=stranger, verbs=["see"], environment=dev, full_name=deployment.full_name, granted_by_name="test"
    )
    places: dict[str, dict[str, Any]] = {
        "everywhere": {},
        "hidden place": {"environment": prod},
        "hidden deployment": {"full_name": "secret/plan"},
        "theirs": {"environment": dev, "full_name": deployment.full_name},
    }
    for name, columns in places.items():
        Policy.objects.create(name=name, **columns)
        Window.objects.create(name=name, cron="0 3 * * *", minutes=60, **columns)
    caller = program(stranger, TokenScope(verbs=["see"], environment=dev))
    for path in ("/policies", "/windows"):
        found = [each["name"] for each in everything(caller, path, limit=1)]
        assert found == ["everywhere", "theirs"], path


def test_a_secret_default_is_not_in_the_schema(
    requester: User, dev: Environment, deployment: Deployment, program: Programs
) -> None:
    secret = {"type": "string", "format": "password", "writeOnly": True, "default": "hunter22"}
    schema = {
        "type": "object",
        "properties": {
            "default": {"type": "integer", "default": 3},
            "token": secret,
            "login": {"$ref": "#/definitions/Login", "default": {"name": "a", "password": "hunter22"}},
        },
        "definitions": {"Login": {"type": "object", "properties": {"name": {"default": "a"}, "password": secret}}},
    }
    columns = {"parameter_schema": schema, "parameter_defaults": {"token": "hunter22"}}
    Deployment.objects.filter(pk=deployment.pk).update(**columns)
    path = f"/environments/dev/deployments/{deployment.prefect_id}"
    found = program(requester).get(path).body
    assert "hunter22" not in str(found)
    assert found["parameter_schema"]["properties"]["default"] == {"type": "integer", "default": 3}
    # Who may not view parameters sees no values at all.
    blind = program(requester, TokenScope(verbs=["see"], environment=dev)).get(path).body
    assert blind["parameter_schema"]["properties"]["default"] == {"type": "integer"}
    assert blind["parameter_defaults"] == {}


def test_grants_of_others_are_not_read(requester: User, viewer: User, auditor: User, program: Programs) -> None:
    theirs = {each["group"] for each in everything(program(viewer), "/grants")}
    assert theirs == set(viewer.groups.values_list("name", flat=True))
    assert Group.objects.count() > len(theirs)


@pytest.mark.parametrize("path", ["/runs", "/requests", "/changes", "/deployments", "/grants", "/audit"])
def test_a_longer_list_takes_no_more_queries(
    requester: User, deployment: Deployment, a_run: Make, program: Programs, path: str
) -> None:
    caller = program(requester)
    counts = []
    for _ in range(2):
        for _ in range(3):
            a_run()
            requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
            Grant.objects.create(person=requester, verbs=["see"], granted_by_name="test")
        caller.get(path)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert caller.get(path).status == 200
        counts.append(len(captured))
    assert counts[0] == counts[1], captured.captured_queries


def test_a_subflow_run_names_its_parent(requester: User, a_run: Make, program: Programs) -> None:
    parent = a_run(name="parent")
    Run.objects.filter(pk=a_run(name="child").pk).update(parent=parent)
    found = {each["name"]: each["parent"] for each in everything(program(requester), "/runs")}
    assert found == {"parent": None, "child": str(parent.prefect_id)}
    assert Run.objects.count() == 2


def test_a_log_is_followed_without_loss(requester: User, a_run: Make, fake: FakePrefect, program: Programs) -> None:
    caller, run = program(requester), a_run()
    path = f"/environments/dev/runs/{run.prefect_id}/logs"
    now = timezone.now()
    for minutes in (1, 3):
        fake.add_log(
            run.prefect_id, f"minute {minutes}", timestamp=now - timedelta(minutes=4) + timedelta(minutes=minutes)
        )
    mirror.fetch_details(run.environment, [run.prefect_id])
    first = everything(caller, path, after=0, limit=1)
    assert [each["message"] for each in first] == ["minute 1", "minute 3"]
    # One that is older than what is known, and comes later.
    fake.add_log(run.prefect_id, "minute 2", timestamp=now - timedelta(minutes=4) + timedelta(minutes=2, seconds=58))
    mirror.fetch_details(run.environment, [run.prefect_id])
    assert [each["message"] for each in everything(caller, path, after=first[-1]["id"])] == ["minute 2"]
    assert [each["message"] for each in everything(caller, path)] == ["minute 1", "minute 2", "minute 3"]


def test_a_deployment_is_found_by_every_name_it_has(requester: User, deployment: Deployment, program: Programs) -> None:
    Alias.objects.create(environment=deployment.environment, name="month-end", full_name=deployment.full_name)
    caller = program(requester)
    for name in (deployment.prefect_id, deployment.full_name, "monthly%2Fmonthly", "monthly", "month-end"):
        for end in ("", "/who-can"):
            answer = caller.get(f"/environments/dev/deployments/{name}{end}")
            assert answer.status == 200, (name, end, answer.body)
    answer = caller.get("/environments/dev/deployments/yearly/yearly")
    assert (answer.status, answer.code) == (404, "deployment.unknown")


def test_the_inbox_takes_as_many_queries_for_many_as_for_few(
    requester: User, approver: User, prod_deployment: Deployment, program: Programs
) -> None:
    caller = program(approver)
    # The first use of a token is noted.
    caller.get("/inbox")

    def cost(number: int) -> int:
        for _ in range(number):
            requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="Month end")
        with CaptureQueriesContext(connection) as queries:
            answer = caller.get("/inbox")
        assert all(each["changed"] == ["first approval"] for each in answer.body)
        return len(queries)

    assert cost(2) == cost(4)
