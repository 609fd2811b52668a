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
