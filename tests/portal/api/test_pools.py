"""Work pools through the API, the client and its command."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User

from flows.catalog import sync
from flows.models import Deployment
from runs import tasks
from runs.actors import Actor
from runs.governance import grants
from runs.models import Action
from tests.cast import person
from tests.fakes import records
from tests.fakes.prefect import FakePrefect
from tests.portal.api.programs import Programs
from tests.portal.client.in_process import Commands, Portals

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def pools(deployment: Deployment, fake: FakePrefect) -> None:
    queues = (records.work_queue("slow", priority=2), records.work_queue("fast", concurrency_limit=3))
    fake.add_work_pool("gpu pool", workers=(records.worker("w1"),), queues=queues, concurrency_limit=4)
    fake.add_work_pool("other", is_paused=True)
    sync.sync(deployment.environment)


def test_pools_are_listed_and_read(viewer: User, stranger: User, program: Programs) -> None:
    caller = program(viewer)
    assert [each["name"] for each in caller.get("/work-pools?environment=dev").body["items"]] == ["gpu pool", "other"]
    assert [each["name"] for each in caller.get("/work-pools?paused=true&fields=name").body["items"]] == ["other"]
    pool = caller.get("/environments/dev/work-pools/gpu%20pool").body
    assert (pool["concurrency_limit"], pool["runs"]["waiting"]) == (4, 0)
    assert [(each["name"], each["concurrency_limit"]) for each in pool["queues"]] == [("fast", 3), ("slow", None)]
    assert caller.get("/environments/dev/work-pools/nowhere").status == 404
    other = program(stranger)
    assert other.get("/work-pools").body["items"] == []
    assert other.get("/environments/dev/work-pools/other").status == 404


def test_the_client_and_its_command_read_them(viewer: User, portal: Portals, command: Commands) -> None:
    with portal(viewer) as client:
        assert [pool.workers_online for pool in client.work_pools("dev")] == [1, 0]
        assert client.work_pool("dev", "gpu pool").queues[0].runs.waiting == 0
    listed = command(viewer, "pools", "-e", "dev")
    assert listed.code == 0
    assert "gpu pool" in listed.out
    shown = command(viewer, "pools", "gpu pool", "-e", "dev")
    assert "1 of 1 workers online, at most 4 at a time" in shown.out
    assert "slow" in shown.out
    assert json.loads(command(viewer, "pools", "other", "-e", "dev", "--json").out)["is_paused"] is True
    assert command(viewer, "pools", "gpu pool").code == 1


def test_limits_and_pauses_through_the_client_and_its_commands(
    deployment: Deployment, fake: FakePrefect, portal: Portals, command: Commands
) -> None:
    manager = person("manager")
    verbs = ["see", "pause", "manage"]
    grants.grant(by=Actor.system(), person=manager, verbs=verbs, environment=deployment.environment)
    with portal(manager) as client:
        made = client.limit_pool("dev", "gpu pool", concurrency_limit=None).action
        assert made is not None
        assert client.limit_pool("dev", "gpu pool", queue="slow", priority=3).action is not None
        assert client.limit("dev", "monthly/monthly", concurrency_limit=1, collision_strategy="CANCEL_NEW").action
        for action in Action.objects.all():
            tasks.carry_out(action.pk)
        assert client.action(made.id).state == "done"
    assert fake.work_pool("gpu pool").concurrency_limit is None
    assert fake.deployment(deployment.prefect_id).concurrency_limit == 1
    assert command(manager, "pause-pool", "gpu pool", "-e", "dev", "--queue", "fast").code == 0
    assert command(manager, "resume-pool", "other", "-e", "dev").code == 0
    assert command(manager, "limit-pool", "gpu pool", "-e", "dev", "--limit", "7").code == 0
    assert command(manager, "limit", "monthly/monthly", "-e", "dev", "--limit", "none", "--beyond", "wait").code == 0
    assert [(each.kind, each.wanted) for each in Action.objects.order_by("pk")[3:]] == [
        ("pause", {}),
        ("resume", {}),
        ("limit", {"concurrency_limit": 7}),
        ("limit", {"concurrency_limit": None, "collision_strategy": "ENQUEUE"}),
    ]
