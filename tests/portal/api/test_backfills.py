"""Backfills by the API: the plan, the request, and steering it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment
from runs import tasks
from runs.models import ChangeRequest, TokenScope
from tests.portal.api.programs import Programs

pytestmark = pytest.mark.django_db

OUTLINE: dict[str, Any] = {
    "environment": "dev",
    "deployment": "monthly/monthly",
    "vary": {"month": "2026-01..2026-03"},
}


def test_a_plan_requests_nothing(program: Programs, requester: User, deployment: Deployment, a_run: Any) -> None:
    run = a_run("COMPLETED", parameters={"month": "2026-02"})
    answer = program(requester).post("/backfills/plan", OUTLINE | {"vary": {"month": ["2026-01..2026-02", "soon"]}})
    assert answer.status == 200
    assert (answer.body["to_run"], answer.body["skipped"], answer.body["refused"]) == (1, 1, 1)
    assert [item["outcome"] for item in answer.body["items"]] == ["run", "skip", "refuse"]
    assert answer.body["items"][1]["earlier"]["run"] == str(run.prefect_id)
    assert answer.body["items"][2]["code"] == "parameter.pattern"
    assert not ChangeRequest.objects.exists()


def test_what_was_planned_is_requested_once(program: Programs, requester: User, deployment: Deployment) -> None:
    robot = program(requester)
    digest = robot.post("/backfills/plan", OUTLINE).body["digest"]
    body = OUTLINE | {"plan": digest, "at_once": 2, "on_failure": "go_on"}
    first = robot.post("/backfills", body, Idempotency_Key="k1")
    again = robot.post("/backfills", body, Idempotency_Key="k1")
    assert (first.status, again.status) == (201, 201)
    assert first.body["id"] == again.body["id"]
    assert (first.body["kind"], first.body["at_once"], first.body["on_failure"]) == ("backfill", 2, "go_on")
    assert [spec["parameters"]["month"] for spec in first.body["specs"]] == ["2026-01", "2026-02", "2026-03"]
    assert len(first.body["requests"]) == 3
    assert ChangeRequest.objects.count() == 1


def test_a_plan_that_has_changed_is_refused(program: Programs, requester: User, deployment: Deployment) -> None:
    answer = program(requester).post("/backfills", OUTLINE | {"plan": "0" * 64})
    assert (answer.status, answer.body["code"]) == (409, "backfill.plan_changed")


def test_it_is_paused_resumed_and_cut_short(program: Programs, requester: User, deployment: Deployment) -> None:
    robot = program(requester)
    number = robot.post("/backfills", OUTLINE | {"at_once": 1}).body["id"]
    tasks.advance_changes()
    assert robot.post(f"/backfills/{number}/pause", {"reason": "r"}).body["progress"] == "paused"
    assert robot.post(f"/backfills/{number}/resume", {"reason": "r"}).body["progress"] == "running"
    ended = robot.post(f"/backfills/{number}/cancel-rest", {"reason": "r"})
    assert ended.body["state"] == "withdrawn"
    assert {row["state"] for row in ended.body["requests"]} == {"withdrawn"}
    assert robot.post(f"/backfills/{number}/pause", {"reason": "r"}).body["code"] == "backfill.over"


def test_a_token_without_the_verb_cannot_plan(program: Programs, requester: User, deployment: Deployment) -> None:
    robot = program(requester, TokenScope(verbs=["see", "trigger"], environment=deployment.environment))
    assert robot.post("/backfills/plan", OUTLINE).status == 403
    assert robot.post("/backfills", OUTLINE).status == 403


@pytest.mark.parametrize("act", ["pause", "resume", "cancel-rest"])
def test_a_backfill_that_is_not_visible_is_not_there(
    act: str, program: Programs, requester: User, stranger: User, deployment: Deployment
) -> None:
    number = program(requester).post("/backfills", OUTLINE).body["id"]
    assert program(stranger).post(f"/backfills/{number}/{act}", {"reason": "r"}).status == 404
