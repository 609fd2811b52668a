"""Service levels through the API: created, listed with their breaches, and removed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.catalog import health
from flows.models import Deployment
from runs import tasks
from runs.actors import Actor
from runs.governance import grants
from tests.cast import person
from tests.portal.api.programs import Programs
from tests.portal.many_rows import many_runs

pytestmark = pytest.mark.django_db


@pytest.fixture
def manager(deployment: Deployment) -> User:
    user = person("manager")
    grants.grant(by=Actor.system(), person=user, verbs=["see", "manage"], environment=deployment.environment)
    return user


def test_one_is_created_breached_and_removed(
    deployment: Deployment, manager: User, viewer: User, program: Programs
) -> None:
    body = {"environment": "dev", "kind": "late", "threshold": 5, "deployment": "monthly/monthly", "owner": "manager"}
    caller = program(manager)
    made = caller.post("/service-levels", body)
    assert (made.status, made.body["sentence"]) == (201, "Starts more than 5 min late")
    many_runs(deployment, 1, state_type="SCHEDULED", expected_start_at=timezone.now() - timedelta(hours=1))
    health.note_runs_synced(deployment.environment, timezone.now())
    tasks.evaluate_levels()
    reader = program(viewer)
    assert [each["id"] for each in reader.get("/service-levels?active=true").body["items"]] == [made.body["id"]]
    (breach,) = reader.get("/breaches?environment=dev&open=true").body["items"]
    assert (breach["level"], breach["deployment"]) == (made.body["id"], "monthly/monthly")
    assert reader.post(f"/service-levels/{made.body['id']}/remove").status == 403
    assert caller.post(f"/service-levels/{made.body['id']}/remove", {"reason": "x"}).body["removed_at"]
    again = caller.post(f"/service-levels/{made.body['id']}/remove")
    assert (again.status, again.code) == (409, "level.removed")
    assert reader.get("/breaches?open=true").body["items"] == []


def test_wrong_values_are_refused(deployment: Deployment, manager: User, program: Programs) -> None:
    caller = program(manager)
    body = {"environment": "dev", "kind": "failing", "threshold": 20}
    assert caller.post("/service-levels", body).code == "level.days"
    assert caller.post("/service-levels", {**body, "environment": "none"}).status == 404
    assert caller.post("/service-levels", {**body, "kind": "slow"}).status == 422
