"""With the follower stopped, the periodic tasks alone bring every kind of change, within a minute."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils.module_loading import import_string

from flows.models import Deployment, Environment, WorkPool
from runs.models import Artifact, LogLine, QueuedTask, Run, StateChange, TaskRun
from runs.periodic import MINUTE, PERIODIC
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db
# From the change in Prefect to the page: the sync is queued with the first, and reads everything itself.
CHAIN = ("runs.tasks.sync_all", "runs.tasks.deliver_events")


def run_round() -> None:
    """Run each periodic task of the chain once, and what it queued."""
    for task in CHAIN:
        import_string(task)()
        while (row := QueuedTask.objects.order_by("priority", "pk").first()) is not None:
            row.delete()
            import_string(row.task)(*json.loads(row.args))


def test_the_periods_add_up_to_a_minute_at_most() -> None:
    assert sum((PERIODIC[task] for task in CHAIN), timedelta()) <= MINUTE


def test_one_round_brings_every_kind_of_change(dev: Environment, fake: FakePrefect, deployment: Deployment) -> None:
    goes = fake.add_deployment(flow_name="goes", name="goes")
    moves, vanishes = (fake.add_run(deployment.prefect_id, state_type="RUNNING").id for _ in range(2))
    waits = fake.add_run(deployment.prefect_id, state_type="SCHEDULED").id
    run_round()
    assert Run.objects.count() == 3
    # Without one event.
    fake.loses_events = True
    fake.set_state(moves, "COMPLETED")
    fake.add_log(moves, "the last line")
    fake.add_task_run(moves, name="load")
    fake.add_artifact(moves, key="report", type="markdown", data="# Done")
    fake.remove_run(vanishes)
    fake.change_run(waits, name="renamed")
    fresh = fake.add_deployment(flow_name="fresh", name="fresh")
    new = fake.add_run(fresh.id, state_type="FAILED").id
    fake.change_deployment(deployment.prefect_id, description="Now with a description.")
    fake.remove_deployment(goes.id)
    fake.add_work_pool("pool")

    run_round()

    states = dict(Run.objects.values_list("prefect_id", "state_type"))
    assert (states[moves], states[new]) == ("COMPLETED", "FAILED")
    assert Run.objects.get(prefect_id=new).deployment_name == "fresh/fresh"
    assert StateChange.objects.filter(run__prefect_id=moves, type="COMPLETED").exists()
    assert LogLine.objects.filter(run__prefect_id=moves, message="the last line").exists()
    assert TaskRun.objects.filter(run__prefect_id=moves, name="load").exists()
    assert Artifact.objects.filter(run__prefect_id=moves, key="report").exists()
    assert Run.objects.get(prefect_id=vanishes).deleted_upstream_at
    assert Run.objects.get(prefect_id=waits).name == "renamed"
    described = Deployment.objects.get(pk=deployment.pk)
    assert described.description == "Now with a description."
    assert Deployment.objects.get(prefect_id=goes.id).deleted_upstream_at
    assert WorkPool.objects.filter(name="pool").exists()
