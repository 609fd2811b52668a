"""Runs started outside the portal are recorded in the audit trail."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import audit, dispatch, mirror, requests
from runs.models import AuditEntry, Run
from tests.cast import by
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db

ONE, OTHER = "c5ece57c-a5a2-47c7-b823-5ecc87f1860e", "387e32d4-3254-41b4-bec1-58999db835e8"


@pytest.fixture
def swept(dev: Environment, fake: FakePrefect, deployment: Deployment) -> Deployment:
    """The environment was read before, and had no run."""
    mirror.sync(dev)
    return deployment


def appeared() -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(verb="run.appeared").order_by("sequence"))


def test_a_run_started_elsewhere_is_an_entry(swept: Deployment, fake: FakePrefect, dev: Environment) -> None:
    record = fake.add_run(swept.prefect_id, state_type="RUNNING", parameters={"token": "hunter22", "month": "2026-10"})
    mirror.sync(dev)
    (entry,) = appeared()
    run = Run.objects.get()
    assert (entry.actor_name, entry.actor_kind, entry.channel) == ("Prefect", "system", "sync")
    assert (entry.subject_kind, entry.subject_id, entry.subject_name) == ("run", str(run.pk), record.name)
    assert entry.environment == "dev"
    assert entry.after["parameters"] == ["month", "token"]
    assert entry.after["prefect_id"] == str(record.id)
    assert "hunter22" not in repr(AuditEntry.objects.values())
    assert audit.verify()


def test_it_is_told_once_however_often_it_is_read(swept: Deployment, fake: FakePrefect, dev: Environment) -> None:
    record = fake.add_run(swept.prefect_id, state_type="RUNNING")
    for _ in range(3):
        mirror.refresh(dev, [record.id])
        mirror.sync(dev)
    fake.set_state(record.id, "COMPLETED")
    mirror.sync(dev)
    assert len(appeared()) == 1


def test_a_run_asked_for_here_is_none(swept: Deployment, fake: FakePrefect, dev: Environment, requester: User) -> None:
    run_request = requests.submit(swept, {"month": "2026-10"}, by=by(requester))
    dispatch.launch(run_request)
    mirror.sync(dev)
    assert Run.objects.count() == 1
    assert not appeared()


def test_nor_is_one_whose_request_does_not_know_its_run_yet(
    swept: Deployment, fake: FakePrefect, dev: Environment, requester: User
) -> None:
    run_request = requests.submit(swept, {"month": "2026-10"}, by=by(requester))
    fake.add_run(swept.prefect_id, state_type="RUNNING", idempotency_key=run_request.idempotency_key)
    mirror.sync(dev)
    assert not appeared()


@pytest.mark.parametrize(
    "key",
    [
        "portal-",
        "portal-c5ece57c-a5a2-47c7-b823-5ecc87f1860e-387e32d4-3254-41b4-bec1-58999db835e8",
        "portal-nonsense",
        "mine",
    ],
)
def test_a_key_that_only_looks_like_ours_hides_nothing(
    swept: Deployment, fake: FakePrefect, dev: Environment, key: str
) -> None:
    fake.add_run(swept.prefect_id, state_type="RUNNING", idempotency_key=key)
    mirror.sync(dev)
    assert len(appeared()) == 1


def test_the_history_an_environment_came_with_is_one_entry(
    deployment: Deployment, fake: FakePrefect, dev: Environment
) -> None:
    for _ in range(5):
        fake.add_run(deployment.prefect_id, state_type="COMPLETED")
    mirror.sync(dev)
    mirror.sync(dev)
    assert not appeared()
    entry = AuditEntry.objects.get(verb="run.adopted")
    assert (entry.subject_name, entry.after) == ("dev", {"runs": 5})


def test_what_is_older_than_that_and_seen_later_is_not_news(
    deployment: Deployment, fake: FakePrefect, dev: Environment
) -> None:
    fake.add_run(deployment.prefect_id, state_type="COMPLETED")
    mirror.sync(dev)
    long_ago = timezone.now() - timedelta(days=90)
    old = fake.add_run(deployment.prefect_id, state_type="COMPLETED", created_at=long_ago, ended_at=long_ago)
    mirror.refresh(dev, [old.id])
    assert Run.objects.count() == 2
    assert not appeared()


def test_a_run_of_a_schedule_in_prefect_is_told_when_it_begins(
    swept: Deployment, fake: FakePrefect, dev: Environment
) -> None:
    record = fake.add_run(swept.prefect_id, state_type="SCHEDULED", auto_scheduled=True)
    mirror.sync(dev)
    assert not appeared()
    for state in ("PENDING", "SCHEDULED", "PENDING", "RUNNING", "SCHEDULED", "RUNNING", "COMPLETED"):
        fake.set_state(record.id, state)
        mirror.refresh(dev, [record.id])
    (entry,) = appeared()
    assert entry.after["is_from_a_schedule_in_prefect"]


def test_a_planned_run_that_never_begins_is_no_entry(swept: Deployment, fake: FakePrefect, dev: Environment) -> None:
    record = fake.add_run(swept.prefect_id, state_type="SCHEDULED", auto_scheduled=True)
    mirror.sync(dev)
    fake.remove_run(record.id)
    mirror.sync(dev)
    assert not appeared()


def test_a_run_that_only_names_a_parent_is_an_entry(swept: Deployment, fake: FakePrefect, dev: Environment) -> None:
    fake.add_run(swept.prefect_id, state_type="RUNNING", parent_task_run_id=uuid4())
    mirror.sync(dev)
    (entry,) = appeared()
    assert entry.after["is_child_of_a_run"]


def test_many_at_once_are_one_unbroken_chain(swept: Deployment, fake: FakePrefect, dev: Environment) -> None:
    for _ in range(30):
        fake.add_run(swept.prefect_id, state_type="RUNNING")
    mirror.sync(dev)
    assert len(appeared()) == 30
    assert audit.verify(), audit.verify().broken
