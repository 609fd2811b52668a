"""Failures through the API: listed, read, dealt with, and their runs retried."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import dispatch, mirror, requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import Action, FailureGroup, Run, TokenScope
from tests.cast import FAKES, by, person
from tests.failed_runs import a_failure, fail, grouped
from tests.portal.api.programs import Programs

pytestmark = pytest.mark.django_db


def test_one_is_listed_read_and_dealt_with(requester: User, deployment: Deployment, program: Programs) -> None:
    group, caller = a_failure(deployment, number=2), program(requester)
    (row,) = caller.get("/failures?environment=dev&state=open").body["items"]
    assert (row["id"], row["failures"], row["state"]) == (group.pk, 2, "new")
    assert row["reason"] == "ValueError: bad row <number>"
    address = f"/failures/{group.pk}"
    assert [each["failures"] for each in caller.get(address).body["days"]] == [2]
    assert caller.post(f"{address}/own", {"owner": "requester"}).body["state"] == "known"
    until = (timezone.now() + timedelta(days=1)).isoformat()
    assert caller.post(f"{address}/mute", {"until": until, "reason": "later"}).body["state"] == "muted"
    assert caller.get("/failures?state=open").body["items"] == []
    assert caller.post(f"{address}/notes", {"text": "asked"}).body["acts"][0]["text"] == "asked"
    resolved = caller.post(f"{address}/resolve", {"reason": "fixed"})
    assert (resolved.body["state"], resolved.body["owner"]) == ("resolved", "requester")
    again = caller.post(f"{address}/resolve", {"reason": "fixed"})
    assert (again.status, again.code) == (409, "failure.state")
    assert caller.post(f"{address}/acknowledge").body["state"] == "known"
    runs = caller.get(f"/runs?failure={group.pk}").body["items"]
    assert {each["id"] for each in runs} == {str(run.prefect_id) for run in Run.objects.all()}


def test_without_logs_the_message_is_empty_and_another_person_s_failure_is_unknown(
    requester: User, dev: Environment, deployment: Deployment, stranger: User, program: Programs
) -> None:
    group = a_failure(deployment)
    narrow = program(requester, TokenScope(verbs=["see"], environment=dev))
    (row,) = narrow.get("/failures").body["items"]
    assert (row["reason"], row["message"]) == ("", "")
    assert narrow.get("/failures?search=row").body["items"] == []
    assert narrow.post(f"/failures/{group.pk}/resolve", {"reason": "x"}).status == 403
    assert program(stranger).get(f"/failures/{group.pk}").status == 404
    blind = person("blind")
    grants.grant(by=Actor.system(), person=blind, verbs=["see"], environment=dev)
    assert program(blind).get(f"/failures/{group.pk}").body["message"] == ""


def test_its_runs_are_retried_and_each_says_what_became_of_it(
    requester: User, deployment: Deployment, program: Programs
) -> None:
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    fake = FAKES[deployment.environment.server.api_url]
    outside = fail(deployment)
    fake.set_state(run_request.flow_run_id, "FAILED", message="ValueError: bad row 9")  # type: ignore[arg-type]
    mirror.refresh(deployment.environment, [run_request.flow_run_id])  # type: ignore[list-item]
    (group,) = grouped()
    caller = program(requester)
    answer = caller.post(f"/failures/{group.pk}/retry", {"reason": "again"}, Idempotency_Key="k")
    assert answer.status == 202
    codes = {each["run"]: each["code"] for each in answer.body["items"]}
    assert codes == {str(run_request.flow_run_id): "", str(outside.prefect_id): "retry.external"}
    assert answer.body["left"] == 0
    assert Action.objects.count() == 1
    assert caller.post(f"/failures/{group.pk}/retry", {"reason": "again"}, Idempotency_Key="k").body == answer.body
    assert FailureGroup.objects.get().state == "new"


def test_who_may_not_retry_is_told_for_each_run(viewer: User, deployment: Deployment, program: Programs) -> None:
    group = a_failure(deployment)
    answer = program(viewer).post(f"/failures/{group.pk}/retry")
    assert [each["code"] for each in answer.body["items"]] == ["access.no_grant"]
    assert not Action.objects.exists()
