"""A changed definition is in the audit trail, once, and no secret of it anywhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from runs import tasks
from runs.models import AuditEntry
from tests.cast import SCHEMA
from tests.fakes.prefect import FakePrefect
from tests.row_search import tables_with

pytestmark = pytest.mark.django_db

CANARY = "opensesame-1234"


def changes() -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(verb="deployment.changed").order_by("sequence"))


def patch(deployment: Deployment, fake: FakePrefect, **fields: Any) -> None:
    fake.change_deployment(deployment.prefect_id, **fields)


def test_a_first_reading_is_no_change(deployment: Deployment, dev: Environment, fake: FakePrefect) -> None:
    fake.add_deployment(flow_name="monthly", name="other", parameter_schema=SCHEMA)
    tasks.sync(dev.server_id)
    assert changes() == []


def test_a_change_without_a_new_version_is_recorded_once(
    deployment: Deployment, dev: Environment, fake: FakePrefect
) -> None:
    patch(deployment, fake, entrypoint="evil.py:flow", path="/elsewhere")
    tasks.sync(dev.server_id)
    tasks.sync(dev.server_id)
    (entry,) = changes()
    assert (entry.before, entry.after) == (
        {"entrypoint": "", "path": ""},
        {"entrypoint": "evil.py:flow", "path": "/elsewhere"},
    )
    assert (entry.actor_kind, entry.actor_name, entry.environment) == ("system", "Prefect", "dev")
    assert (entry.subject_kind, entry.subject_id) == ("deployment", str(deployment.pk))


def test_the_template_of_the_work_pool_is_part_of_the_definition(
    deployment: Deployment, dev: Environment, fake: FakePrefect
) -> None:
    fake.add_work_pool("pool", base_job_template={"variables": {}})
    patch(deployment, fake, work_pool_name="pool")
    tasks.sync(dev.server_id)
    fake.change_work_pool("pool", base_job_template={"variables": {"properties": {"env": {"default": {"A": "b"}}}}})
    tasks.sync(dev.server_id)
    assert [list(entry.after) for entry in changes()] == [["work_pool", "base_job_template"], ["base_job_template"]]


def test_a_deployment_that_was_deleted_and_made_again_is_compared_by_its_name(
    deployment: Deployment, dev: Environment, fake: FakePrefect
) -> None:
    fake.remove_deployment(deployment.prefect_id)
    tasks.sync(dev.server_id)
    fake.add_deployment(flow_name="monthly", name="monthly", parameter_schema=SCHEMA, entrypoint="evil.py:flow")
    tasks.sync(dev.server_id)
    (entry,) = changes()
    assert entry.after == {"entrypoint": "evil.py:flow"}


def test_a_late_reading_changes_nothing_back(deployment: Deployment, dev: Environment, fake: FakePrefect) -> None:
    """A sync that began first and ends last has read the old values."""
    old = fake.deployment(deployment.prefect_id)
    patch(deployment, fake, entrypoint="new.py:flow")
    tasks.sync(dev.server_id)
    assert sync.upsert(dev, [old], {}, at=timezone.now() - timedelta(minutes=1)) == []
    deployment.refresh_from_db()
    assert deployment.entrypoint == "new.py:flow"


def test_no_depth_of_one_deployment_stops_the_sync_of_the_others(
    deployment: Deployment, dev: Environment, fake: FakePrefect
) -> None:
    deep: Any = 1
    for _ in range(3000):
        deep = {"a": deep}
    patch(deployment, fake, parameter_defaults={"a": deep}, job_variables={"a": deep}, parameter_schema={"a": deep})
    fake.add_deployment(flow_name="monthly", name="other", parameter_schema=SCHEMA)
    tasks.sync(dev.server_id)
    assert Deployment.objects.filter(name="other").exists()
    (entry,) = changes()
    assert set(entry.after) == {"job_variables", "parameter_defaults", "schema"}


def test_a_secret_of_a_deployment_is_in_no_row(deployment: Deployment, dev: Environment, fake: FakePrefect) -> None:
    fake.add_work_pool("pool", base_job_template={"variables": {"properties": {"env": {"default": {"A": CANARY}}}}})
    patch(
        deployment,
        fake,
        work_pool_name="pool",
        job_variables={"env": {"API_KEY": CANARY}, "registry": {"password": CANARY}},
        pull_steps=({"prefect.deployments.steps.git_clone": {"repository": f"https://me:{CANARY}@git.example/x"}},),
    )
    tasks.sync(dev.server_id)
    patch(deployment, fake, job_variables={"env": {"API_KEY": f"{CANARY}-2"}})
    tasks.sync(dev.server_id)
    assert len(changes()) == 2
    assert tables_with(CANARY) == []
