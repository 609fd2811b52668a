"""Schedules by the API: request, read, replace, pause, resume and end, and the times of a rule."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment
from runs import changes
from runs.automation import schedule_clock
from runs.models import ChangeRequest, Schedule, TokenScope
from tests.cast import by
from tests.made_schedules import let_schedule
from tests.portal.api.programs import Programs

pytestmark = pytest.mark.django_db


def body(**more: Any) -> dict[str, Any]:
    return {
        "environment": "prod",
        "deployment": "monthly/monthly",
        "name": "nightly",
        "rule_type": "cron",
        "rule": "0 6 * * 1-5",
        "time_zone": "Europe/Vienna",
        "valid_until": (timezone.now() + timedelta(days=20)).isoformat(),
        "parameters": {"month": "2026-10", "token": "hunter22"},
        "reason": "each morning",
        **more,
    }


@pytest.fixture
def owner(requester: User, prod_deployment: Deployment) -> User:
    let_schedule(requester, prod_deployment)
    return requester


def test_a_rule_is_tried_without_a_request(program: Programs, requester: User) -> None:
    answer = program(requester).post("/schedules/next", {"rule_type": "interval", "rule": "6h"})
    assert (answer.status, len(answer.body["times"])) == (200, 10)
    refused = program(requester).post("/schedules/next", {"rule_type": "cron", "rule": "soon"})
    assert refused.body["code"] == "schedule.cron"


def test_it_is_requested_once_approved_and_followed(program: Programs, owner: User, approver: User) -> None:
    robot = program(owner)
    sent = body()
    first, again = (robot.post("/schedules", sent, Idempotency_Key="k1") for _ in range(2))
    assert (first.status, again.status, first.body["id"]) == (201, 201, again.body["id"])
    assert (first.body["state"], first.body["next_starts"]) == ("waiting", [])
    # What an approver has to see is in the change request, before the first run.
    (waiting,) = program(approver).get("/inbox").body
    assert (waiting["schedule"], waiting["specs"][0]["parameters"]["month"]) == (first.body["id"], "2026-10")
    assert "hunter22" not in str(waiting)
    assert waiting["changed"] == ["first approval"]
    changes.approve(ChangeRequest.objects.get(), by=by(approver))
    schedule_clock.tick()
    found = robot.get(f"/schedules/{first.body['id']}").body
    assert (found["state"], len(found["next_starts"])) == ("active", 10)
    assert "hunter22" not in str(found)
    listed = robot.get("/schedules?state=active&environment=prod").body["items"]
    assert [row["id"] for row in listed] == [first.body["id"]]


def test_it_is_replaced_paused_resumed_and_ended(program: Programs, owner: User, approver: User) -> None:
    robot = program(owner)
    number = robot.post("/schedules", body()).body["id"]
    changes.approve(ChangeRequest.objects.get(), by=by(approver))
    schedule_clock.tick()
    assert robot.post(f"/schedules/{number}/pause", {"reason": "r"}).body["state"] == "paused"
    assert robot.post(f"/schedules/{number}/resume", {"reason": "r"}).body["state"] == "active"
    later = (timezone.now() + timedelta(days=90)).isoformat()
    renewed = robot.post(f"/schedules/{number}/replace", {"valid_until": later, "reason": "still needed"})
    assert (renewed.status, renewed.body["replaces"], renewed.body["rule"]) == (201, number, "0 6 * * 1-5")
    assert bytes(Schedule.objects.get(pk=renewed.body["id"]).spec.sealed_parameters)
    assert robot.post(f"/schedules/{number}/end", {"reason": "r"}).body["state"] == "ended"
    again = robot.post(f"/schedules/{number}/end", {"reason": "r"})
    assert (again.status, again.body["code"]) == (409, "schedule.ended")


def test_what_is_hidden_is_not_there(program: Programs, owner: User, stranger: User) -> None:
    number = program(owner).post("/schedules", body()).body["id"]
    robot = program(stranger)
    assert robot.get(f"/schedules/{number}").status == 404
    assert robot.get("/schedules").body["items"] == []
    for act in ("pause", "resume", "end"):
        assert robot.post(f"/schedules/{number}/{act}", {"reason": "r"}).status == 404


def test_a_token_without_the_verb_requests_none(program: Programs, owner: User, prod_deployment: Deployment) -> None:
    robot = program(owner, TokenScope(verbs=["see", "trigger"], environment=prod_deployment.environment))
    assert robot.post("/schedules", body()).status == 403
