"""Keeping up with the deployments of a server: a short list is read whole each time, of a long one what changed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment, Health
from flows.prefect_api.records import DeploymentRecord
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db


def listings(fake: FakePrefect) -> list[str]:
    return [call.method for call in fake.calls if call.method.startswith("deployments")]


def add(fake: FakePrefect, number: int) -> list[DeploymentRecord]:
    return [fake.add_deployment(f"nightly-{index}") for index in range(number)]


def test_a_short_list_is_read_whole(dev: Environment, fake: FakePrefect) -> None:
    add(fake, 3)
    for _ in range(2):
        sync.keep_up(dev)
    assert listings(fake) == ["deployments", "deployments"]


def test_an_unchanged_deployment_is_not_rewritten(dev: Environment, fake: FakePrefect) -> None:
    first, *_ = add(fake, 3)
    sync.keep_up(dev)
    began = timezone.now()
    # 1. Another writer, to see which rows are written.
    Deployment.objects.update(description="not from Prefect")
    fake.change_deployment(first.id, entrypoint="other.py:flow")
    changes: list[sync.DefinitionChange] = []
    sync.keep_up(dev, on_change=changes.extend)
    assert [change.deployment.prefect_id for change in changes] == [first.id]
    assert list(Deployment.objects.exclude(description="not from Prefect").values_list("prefect_id")) == [(first.id,)]
    assert not Deployment.objects.filter(synced_at__lt=began).exists(), "all were read"
    # 2. Every ten minutes, and when somebody asks for it, all are.
    Health.objects.update(listed_at=timezone.now() - timedelta(minutes=11))
    sync.keep_up(dev)
    assert not Deployment.objects.filter(description="not from Prefect").exists()


@pytest.mark.parametrize("column", ["deleted_upstream_at", "left_scope_at"])
def test_what_returns_as_it_was_is_written(dev: Environment, fake: FakePrefect, column: str) -> None:
    add(fake, 1)
    sync.keep_up(dev)
    Deployment.objects.update(**{column: timezone.now()})
    sync.keep_up(dev)
    assert Deployment.objects.filter(**{column: None}).exists()


def test_a_changed_pool_is_a_change_of_its_deployments(dev: Environment, fake: FakePrefect) -> None:
    (deployment,) = add(fake, 1)
    fake.add_work_pool(deployment.work_pool_name)
    sync.keep_up(dev)
    template = {"variables": {"properties": {"cpu": {"default": 4}}}}
    fake.change_work_pool(deployment.work_pool_name, base_job_template=template)
    changes: list[sync.DefinitionChange] = []
    sync.keep_up(dev, on_change=changes.extend)
    assert len(changes) == 1


def test_of_a_long_list_what_changed_is_read_and_all_of_it_after_ten_minutes(
    dev: Environment, fake: FakePrefect
) -> None:
    # 1. The first reading is of all.
    first, second, *_ = add(fake, sync.SHORT + 2)
    sync.keep_up(dev)
    assert Deployment.objects.count() == sync.SHORT + 2
    # 2. Then what changed, or is new.
    fake.change_deployment(first.id, entrypoint="other.py:flow")
    new = fake.add_deployment("new")
    fake.remove_deployment(second.id)
    changes: list[sync.DefinitionChange] = []
    result = sync.keep_up(dev, on_change=changes.extend)
    assert listings(fake) == ["deployments", "deployments_changed_since"]
    assert (result.new, result.deleted) == (1, 0)
    assert [change.deployment.prefect_id for change in changes] == [first.id]
    assert Deployment.objects.get(prefect_id=first.id).entrypoint == "other.py:flow"
    assert Deployment.objects.filter(prefect_id=new.id).exists()
    # 3. What was deleted is found by the next reading of all.
    assert Deployment.objects.get(prefect_id=second.id).deleted_upstream_at is None
    Health.objects.update(listed_at=timezone.now() - timedelta(minutes=11))
    assert sync.keep_up(dev).deleted == 1
    assert listings(fake)[-1] == "deployments"
