"""Reruns, overrides of change windows and recoveries of stalled runs, by the API."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from portal.models import IdempotentRequest
from runs import dispatch, mirror, requests
from runs.actors import Actor
from runs.governance import freezes, grants
from runs.models import Action, AuditEntry, ChangeRequest, QueuedTask, Run, RunRequest, TokenScope
from tests.background import queued_tasks
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.api.programs import Programs

pytestmark = pytest.mark.django_db


def may(user: User, *verbs: str, environment: Environment | None = None) -> None:
    grants.grant(by=Actor.system(), person=user, verbs=verbs, environment=environment)


# Reruns ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def earlier(prod_deployment: Deployment, requester: User) -> RunRequest:
    values = {"month": "2026-10", "token": "hush-hush"}
    return requests.submit(prod_deployment, values, by=by(requester), reason="Month end")


def test_a_rerun_reuses_secret_values_unseen(requester: User, earlier: RunRequest, program: Programs) -> None:
    answer = program(requester).post(
        f"/requests/{earlier.pk}/rerun", {"parameters": {"rows": 7}, "reason": "Once more"}
    )
    assert answer.status == 201, answer.body
    assert answer.body["specs"][0]["parameters"] == {"month": "2026-10", "rows": 7, "token": "••••••"}
    assert "hush" not in str(answer.body)
    again = RunRequest.objects.get(pk=answer.body["requests"][0]["id"])
    assert again.spec.rerun_of == earlier
    assert requests.values_of(again) == {"month": "2026-10", "rows": 7, "token": "hush-hush"}
    # It is a new request, with its own approvals.
    assert (again.pk != earlier.pk, answer.body["state"]) == (True, "waiting")
    assert "hush" not in repr(list(AuditEntry.objects.values()))


def test_a_rerun_is_one_for_its_key_also_after_a_kill(requester: User, earlier: RunRequest, program: Programs) -> None:
    caller, body = program(requester), {"reason": "Once more"}
    first, second = (caller.post(f"/requests/{earlier.pk}/rerun", body, Idempotency_Key="again-1") for _ in range(2))
    IdempotentRequest.objects.all().delete()
    third = caller.post(f"/requests/{earlier.pk}/rerun", body, Idempotency_Key="again-1")
    assert first.body["id"] == second.body["id"] == third.body["id"]
    assert ChangeRequest.objects.count() == 2


def test_a_rerun_names_each_wrong_value(requester: User, earlier: RunRequest, program: Programs) -> None:
    body = {"parameters": {"rows": "many", "nope": 1}, "reason": "Once more"}
    answer = program(requester).post(f"/requests/{earlier.pk}/rerun", body)
    assert (answer.status, {each["field"] for each in answer.body["errors"]}) == (422, {"rows", "nope"})


def test_a_rerun_needs_its_verb_in_the_scope(requester: User, earlier: RunRequest, program: Programs) -> None:
    scope = TokenScope(verbs=["see"], environment=earlier.environment)
    answer = program(requester, scope).post(f"/requests/{earlier.pk}/rerun", {"reason": "Once more"})
    assert (answer.status, answer.code) == (403, "access.scope")


@pytest.mark.parametrize("act", ["rerun", "override"])
def test_a_request_that_is_not_visible_is_not_there(
    stranger: User, earlier: RunRequest, program: Programs, act: str
) -> None:
    caller = program(stranger)
    hidden, unknown = (caller.post(f"/requests/{number}/{act}", {"reason": "x"}) for number in (earlier.pk, 999999))
    assert (hidden.status, unknown.status) == (404, 404)
    assert hidden.body["detail"].replace(str(earlier.pk), "N") == unknown.body["detail"].replace("999999", "N")


# Overrides ------------------------------------------------------------------------------------------------------------


def test_what_a_freeze_holds_is_started_with_a_reason(
    deployment: Deployment, requester: User, admin_user: User, dev: Environment, program: Programs
) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="Audit")
    held = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    caller, path = program(requester), f"/requests/{held.pk}/override"
    assert (held.message != "", caller.post(path, {"reason": "x"}).status) == (True, 403)
    may(requester, "override freeze")
    assert caller.post(path, {}).code == "window.reason_required"
    QueuedTask.objects.all().delete()
    answer = caller.post(path, {"reason": "Cannot wait"})
    assert (answer.status, answer.body["id"]) == (200, held.pk)
    assert held.message not in answer.body["message"]
    assert queued_tasks() == ["runs.tasks.launch"]
    held.refresh_from_db()
    assert held.overridden_by_name == "requester"
    again = caller.post(path, {"reason": "Cannot wait"})
    assert again.code == "window.not_waiting"


def test_an_override_replaces_no_approval(
    prod_deployment: Deployment, requester: User, prod: Environment, program: Programs
) -> None:
    waiting = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="Month end")
    may(requester, "override freeze", environment=prod)
    answer = program(requester).post(f"/requests/{waiting.pk}/override", {"reason": "Cannot wait"})
    assert (answer.status, answer.body["state"]) == (200, "held")
    assert ChangeRequest.objects.get(pk=waiting.change_id).state == "waiting"


def test_a_window_is_overridden_with_the_request(
    deployment: Deployment, requester: User, admin_user: User, dev: Environment, program: Programs
) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="Audit")
    body = {"environment": "dev", "deployment": "monthly", "parameters": {"month": "2026-10"}, "override_window": True}
    caller = program(requester)
    assert caller.post("/changes", body | {"reason": "x"}).status == 403
    may(requester, "override freeze")
    assert caller.post("/changes", body).code == "window.reason_required"
    assert caller.post("/changes", body | {"reason": "Cannot wait", "ticket": "OPS-1"}).status == 201
    found = RunRequest.objects.get()
    assert (bool(found.overridden_at), found.change.ticket) == (True, "OPS-1")


def test_whom_one_acts_for_cannot_approve_it(
    prod_deployment: Deployment, requester: User, approver: User, program: Programs
) -> None:
    body = {"environment": "prod", "deployment": "monthly", "parameters": {"month": "2026-10"}, "reason": "x"}
    made = program(requester).post("/changes", body | {"on_behalf_of": "approver"})
    answer = program(approver).post(f"/changes/{made.body['id']}/approve", {"digest": made.body["digest"]})
    assert (made.status, answer.status, answer.code) == (201, 403, "approval.own")


# Stalled runs ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def stalled(requester: User, a_run: Callable[..., Run], fake: FakePrefect, dev: Environment) -> Run:
    run = a_run("PENDING", name="quiet-otter")
    a_run("RUNNING", name="busy-otter")
    fake.set_state(run.prefect_id, "PENDING", at=timezone.now() - timedelta(minutes=9))
    Run.objects.filter(pk=run.pk).update(state_at=None)  # the fake's clock began later
    mirror.sync(dev)
    return Run.objects.get(pk=run.pk)


def test_stalled_runs_are_listed(requester: User, stalled: Run, program: Programs) -> None:
    caller = program(requester)
    assert [(row["name"], row["stalled"]) for row in caller.get("/runs?stalled=true").body["items"]] == [
        ("quiet-otter", "pending")
    ]
    assert [row["name"] for row in caller.get("/runs?stalled=false").body["items"]] == ["busy-otter"]


@pytest.mark.parametrize(("kind", "state"), [("put back", "SCHEDULED"), ("fail", "FAILED")])
def test_a_stalled_run_is_recovered(requester: User, stalled: Run, program: Programs, kind: str, state: str) -> None:
    may(requester, "force cancel")
    caller, path = program(requester), f"/environments/dev/runs/{stalled.prefect_id}/recover"
    assert caller.post(path, {"kind": kind}).code == "recovery.reason_required"
    answer = caller.post(path, {"kind": kind, "reason": "Host rebooted"})
    assert (answer.status, answer.body["kind"]) == (202, kind)
    assert caller.post(path, {"kind": kind, "reason": "Host rebooted"}).code == "recovery.pending"
    dispatch.carry_out(Action.objects.get())
    stalled.refresh_from_db()
    assert (stalled.state_type, caller.get(f"/actions/{answer.body['id']}").body["state"]) == (state, "done")


def test_a_run_that_moves_is_not_recovered(requester: User, a_run: Callable[..., Run], program: Programs) -> None:
    run = a_run("RUNNING")
    path = f"/environments/dev/runs/{run.prefect_id}/recover"
    answer = program(requester).post(path, {"kind": "put back", "reason": "r"})
    assert answer.code == "run.not_stalled"
    assert program(requester).post(path, {"kind": "cancel", "reason": "r"}).code == "request.invalid"
