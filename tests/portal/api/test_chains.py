"""Chains by the API: save, run, follow, resume, and decide at a gate."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Environment
from runs import changes
from runs.actors import Actor
from runs.governance import grants
from runs.models import Chain, ChangeRequest
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.made_chains import deploy, end, go_on, make, step
from tests.portal.api.programs import Programs

pytestmark = pytest.mark.django_db
STEPS = [step("ingest"), step("train", "ingest", gate=True)]


@pytest.fixture
def deployed(dev: Environment, fake: FakePrefect) -> Environment:
    deploy(dev, fake, "ingest", "train")
    return dev


def test_a_chain_is_saved_run_and_followed(
    program: Programs, requester: User, deployed: Environment, fake: FakePrefect
) -> None:
    robot = program(requester)
    made = robot.post("/chains", {"environment": "dev", "name": "Close", "definition": {"steps": STEPS}})
    assert (made.status, made.body["version"], made.body["steps"]) == (201, 1, 2)
    number = made.body["id"]
    assert [each["name"] for each in robot.get("/chains?environment=dev").body["items"]] == ["Close"]
    body = {"inputs": {"month": "2026-10"}, "version": 1, "reason": "month end"}
    first = robot.post(f"/chains/{number}/runs", body, Idempotency_Key="k1")
    again = robot.post(f"/chains/{number}/runs", body, Idempotency_Key="k1")
    assert first.status == 201
    assert first.body["id"] == again.body["id"]
    change = ChangeRequest.objects.get()
    go_on()
    end(change, "ingest", "COMPLETED", fake)
    read = robot.get(f"/chain-runs/{change.pk}").body
    assert [(each["key"], each["outcome"], each["state"]) for each in read["steps"]] == [
        ("ingest", "completed", "completed"),
        ("train", "running", "held"),
    ]
    assert read["inputs"] == {"month": "2026-10"}
    assert read["steps"][1]["waits_for"]
    assert robot.post(f"/chain-runs/{change.pk}/steps/nowhere/let-go", {}).status == 404
    assert robot.post(f"/chain-runs/{change.pk}/steps/ingest/let-go", {}).body["code"] == "gate.none"
    assert robot.post(f"/chain-runs/{change.pk}/steps/train/let-go", {}).body["steps"][1]["state"] == "approved"
    go_on()
    end(change, "train", "FAILED", fake)
    assert robot.get(f"/chain-runs/{change.pk}").body["progress"] == "stopped"
    assert robot.post(f"/chain-runs/{change.pk}/resume", {}).body["steps"][1]["attempt"] == 2
    refused = robot.post(f"/chain-runs/{change.pk}/resume", {})
    assert (refused.status, refused.body["code"]) == (409, "chain.nothing_failed")
    assert robot.post(f"/chain-runs/{change.pk}/pause", {}).body["progress"] == "paused"
    assert robot.post(f"/chain-runs/{change.pk}/pause", {}).body["code"] == "chain.paused"
    assert robot.post(f"/chain-runs/{change.pk}/resume", {}).body["progress"] == "running"
    assert robot.post(f"/chain-runs/{change.pk}/cancel-rest", {}).body["state"] == "withdrawn"


def test_a_backfill_within_it_says_how_many_of_its_runs_completed(
    program: Programs, requester: User, deployed: Environment, fake: FakePrefect
) -> None:
    robot = program(requester)
    over = {"month": {"over": "2026-01..2026-03", "at_once": 2}}
    number = make(deployed, requester, step("ingest", parameters=over)).pk
    plan = robot.post(f"/chains/{number}/plan", {}).body
    assert (plan["runs"], plan["refused"], plan["version"]) == (3, 0, 1)
    assert [each["values"]["month"] for each in plan["steps"][0]["items"]] == ["2026-01", "2026-02", "2026-03"]
    stale = robot.post(f"/chains/{number}/runs", {"plan": "0" * 64})
    assert (stale.status, stale.body["code"]) == (409, "chain.plan_changed")
    wrong = robot.post(f"/chains/{number}/runs", {"profiles": {"ingest": "large"}})
    assert (wrong.status, wrong.body["code"]) == (422, "chain.profile_fixed")
    change = robot.post(f"/chains/{number}/runs", {"plan": plan["digest"]}).body["id"]
    go_on()
    end(ChangeRequest.objects.get(), "ingest", "COMPLETED", fake)
    (row,) = robot.get(f"/chain-runs/{change}").body["steps"]
    assert [row[name] for name in ("outcome", "items", "items_completed")] == ["running", 3, 1]
    assert (row["over"], row["profile"]) == ({"month": ["2026-01", "2026-02", "2026-03"]}, None)
    some = person("some")
    grants.grant(by=Actor.system(), person=some, verbs=["see"], environment=deployed)
    (hidden,) = program(some).get(f"/chain-runs/{change}").body["steps"]
    assert (hidden["over"], hidden["items"]) == ({}, 3)
    assert program(some).post(f"/chains/{number}/plan", {}).status == 403


def test_a_version_is_saved_and_an_older_one_is_not_run(
    program: Programs, requester: User, deployed: Environment
) -> None:
    robot = program(requester)
    number = make(deployed, requester, *STEPS).pk
    saved = robot.post(f"/chains/{number}/versions", {"definition": {"steps": STEPS[:1]}})
    assert (saved.status, saved.body["version"], saved.body["name"]) == (201, 2, "Monthly close")
    answer = robot.post(f"/chains/{number}/runs", {"inputs": {"month": "2026-10"}, "version": 1})
    assert (answer.status, answer.body["code"]) == (409, "chain.version_changed")
    answer = robot.post(f"/chains/{number}/versions", {"definition": {"steps": [step("ingest", "train")]}})
    assert (answer.status, answer.body["code"]) == (422, "chain.definition")
    assert robot.send("PATCH", f"/chains/{number}", {"is_enabled": False}).body["is_enabled"] is False
    assert not Chain.objects.get().is_enabled


def test_an_approver_reads_what_would_run_before_it_has_runs(
    program: Programs, requester: User, approver: User, prod: Environment, prod_fake: FakePrefect
) -> None:
    deploy(prod, prod_fake, "ingest", "train")
    chain = make(prod, requester, *STEPS)
    run: dict[str, Any] = {"inputs": {"month": "2026-10"}, "reason": "month end"}
    number = program(requester).post(f"/chains/{chain.pk}/runs", run).body["id"]
    (waiting,) = program(approver).get("/inbox").body
    assert (waiting["kind"], len(waiting["specs"])) == ("chain", 2)
    assert waiting["specs"][0]["parameters"]["month"] == "2026-10"
    changes.approve(ChangeRequest.objects.get(pk=number), by=by(approver), displayed_digest=waiting["digest"])
    assert program(approver).get(f"/chain-runs/{number}").body["state"] == "approved"


def test_inputs_and_definition_are_for_those_who_may_view_parameters(
    program: Programs, requester: User, deployed: Environment
) -> None:
    chain = make(deployed, requester, *STEPS)
    number = program(requester).post(f"/chains/{chain.pk}/runs", {"inputs": {"month": "2026-10"}}).body["id"]
    some = person("some")
    grants.grant(by=Actor.system(), person=some, verbs=["see"], environment=deployed)
    robot = program(some)
    assert robot.get(f"/chain-runs/{number}").body["inputs"] is None
    assert robot.get(f"/chains/{chain.pk}").body["definition"] is None
    assert robot.get(f"/changes/{number}").body["specs"][0]["parameters"] is None


def test_who_sees_only_a_part_sees_nothing_of_it(program: Programs, requester: User, deployed: Environment) -> None:
    chain = make(deployed, requester, *STEPS)
    number = program(requester).post(f"/chains/{chain.pk}/runs", {"inputs": {"month": "2026-10"}}).body["id"]
    some = person("some")
    grants.grant(by=Actor.system(), person=some, verbs=["see"], environment=deployed, full_name="ingest/daily")
    robot = program(some)
    for path in (f"/chains/{chain.pk}", f"/chain-runs/{number}", f"/changes/{number}"):
        assert robot.get(path).status == 404, path
    assert robot.get("/chains").body["items"] == []


def test_a_chain_that_has_ended_is_found_and_renewed(program: Programs, requester: User, deployed: Environment) -> None:
    robot, until = program(requester), (timezone.now().replace(microsecond=0) + timedelta(days=3)).isoformat()
    new = {"environment": "dev", "name": "Close", "definition": {"steps": STEPS}, "valid_until": until}
    made = robot.post("/chains", new).body
    assert (made["owner"], datetime.fromisoformat(made["valid_until"])) == ("requester", datetime.fromisoformat(until))
    Chain.objects.update(valid_until=timezone.now() - timedelta(days=1))
    number = made["id"]
    assert [len(robot.get(f"/chains?ended={value}").body["items"]) for value in ("true", "false")] == [1, 0]
    for route in ("runs", "plan"):
        answer = robot.post(f"/chains/{number}/{route}", {"inputs": {"month": "2026-10"}})
        assert (answer.status, answer.body["code"]) == (409, "chain.ended")
    past = {"definition": {"steps": STEPS}, "valid_until": "2020-01-01T00:00:00Z"}
    answer = robot.post(f"/chains/{number}/versions", past)
    assert (answer.status, answer.body["code"]) == (422, "automation.valid_until")
    assert robot.post(f"/chains/{number}/versions", {"definition": {"steps": STEPS}}).body["version"] == 1
    assert robot.post(f"/chains/{number}/runs", {"inputs": {"month": "2026-10"}}).status == 201
