"""A freeze pauses Prefect's own schedules and resumes them afterwards."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from flows.prefect_api.records import ScheduleRecord
from runs import dispatch
from runs.actors import Actor
from runs.governance import freezes, pausing
from runs.models import Action, AuditEntry, Freeze
from runs.models.action import State
from tests.cast import by
from tests.fakes.prefect import FakePrefect


@pytest.fixture
def scheduled(dev: Environment, fake: FakePrefect) -> Deployment:
    """`nightly/nightly`, which Prefect starts every morning, beside one without a schedule."""
    every = (ScheduleRecord(uuid4(), "cron 0 6 * * * (UTC)", True),)
    fake.add_deployment(flow_name="nightly", name="nightly", schedules=every)
    fake.add_deployment(flow_name="by-hand", name="by-hand")
    sync.sync(dev)
    return Deployment.objects.get(flow_name="nightly")


def send_all() -> None:
    for pause_request in Action.objects.filter(state=State.WANTED).order_by("pk"):
        dispatch.carry_out(pause_request)


def paused(fake: FakePrefect) -> set[str]:
    return {each.flow_name for each in fake.deployments() if each.is_paused}


def test_a_freeze_pauses_them_and_lifting_it_resumes_them(
    scheduled: Deployment, dev: Environment, fake: FakePrefect, admin_user: User
) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="year end")
    send_all()
    assert paused(fake) == {"nightly"}
    assert AuditEntry.objects.get(verb="environment.freeze").after["schedules_held"] == 1
    freezes.unfreeze(dev, by=by(admin_user))
    send_all()
    assert paused(fake) == set()
    assert AuditEntry.objects.get(verb="environment.unfreeze").after["schedules_released"] == 1


def test_one_that_was_paused_before_stays_paused(
    scheduled: Deployment, dev: Environment, fake: FakePrefect, admin_user: User
) -> None:
    fake.change_deployment(scheduled.prefect_id, is_paused=True)
    sync.sync(dev)
    freezes.freeze(dev, by=by(admin_user), reason="year end")
    freezes.unfreeze(dev, by=by(admin_user))
    assert not Action.objects.exists()
    assert paused(fake) == {"nightly"}


def test_one_that_somebody_switched_meanwhile_is_left_to_them(
    scheduled: Deployment, dev: Environment, fake: FakePrefect, admin_user: User
) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="year end")
    send_all()
    scheduled.refresh_from_db()
    pausing.resume(scheduled, by=by(admin_user))
    send_all()
    scheduled.refresh_from_db()
    pausing.pause(scheduled, by=by(admin_user))
    send_all()
    freezes.unfreeze(dev, by=by(admin_user))
    send_all()
    assert paused(fake) == {"nightly"}


def test_one_that_is_resumed_in_prefect_is_held_again(
    scheduled: Deployment, dev: Environment, fake: FakePrefect, admin_user: User
) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="year end")
    send_all()
    fake.change_deployment(scheduled.prefect_id, is_paused=False)
    sync.sync(dev)
    freezes.pause_frozen_schedules()
    freezes.pause_frozen_schedules()
    assert Action.objects.filter(state=State.WANTED).count() == 1
    send_all()
    assert paused(fake) == {"nightly"}


def test_a_freeze_that_has_had_its_time_lets_them_go_on_by_itself(
    scheduled: Deployment, dev: Environment, fake: FakePrefect, admin_user: User
) -> None:
    row = freezes.freeze(dev, by=by(admin_user), reason="year end", until=timezone.now() + timedelta(hours=1))
    send_all()
    Freeze.objects.filter(pk=row.pk).update(until=timezone.now() - timedelta(seconds=1))
    freezes.pause_frozen_schedules()
    freezes.pause_frozen_schedules()
    send_all()
    assert paused(fake) == set()
    row.refresh_from_db()
    assert row.lifted_by_name == Actor.system().name
    assert AuditEntry.objects.filter(verb="environment.unfreeze").count() == 1


def test_a_pause_that_was_never_sent_is_called_off(
    scheduled: Deployment, dev: Environment, fake: FakePrefect, admin_user: User
) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="year end")
    freezes.unfreeze(dev, by=by(admin_user))
    send_all()
    assert paused(fake) == set()
    assert Action.objects.get().state == State.FAILED
