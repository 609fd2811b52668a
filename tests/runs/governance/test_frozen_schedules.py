"""A freeze pauses Prefect's own schedules and resumes them afterwards."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

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
from runs.models.action import OPEN, State
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused


@pytest.fixture
def scheduled(dev: Environment, fake: FakePrefect) -> Deployment:
    """`nightly/nightly`, which Prefect starts every morning, beside one without a schedule."""
    every = (ScheduleRecord(uuid4(), "cron 0 6 * * * (UTC)", True),)
    fake.add_deployment(flow_name="nightly", name="nightly", schedules=every)
    fake.add_deployment(flow_name="by-hand", name="by-hand")
    sync.sync(dev)
    return Deployment.objects.get(flow_name="nightly")


def send_all() -> None:
    # As later: the lease of one that was killed is over, and one that waited is due again.
    Action.objects.update(next_attempt_at=None)
    for pause_request in Action.objects.filter(state__in=OPEN).order_by("pk"):
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


def test_one_that_was_paused_in_prefect_a_moment_before_stays_paused(
    scheduled: Deployment, dev: Environment, fake: FakePrefect, admin_user: User
) -> None:
    fake.change_deployment(scheduled.prefect_id, is_paused=True)
    freezes.freeze(dev, by=by(admin_user), reason="year end")
    send_all()
    assert Action.objects.get().state == State.OVERTAKEN
    freezes.unfreeze(dev, by=by(admin_user))
    send_all()
    assert paused(fake) == {"nightly"}
    assert Action.objects.count() == 1


def test_one_that_the_freeze_paused_and_a_person_keeps_paused_stays_paused(
    scheduled: Deployment, dev: Environment, fake: FakePrefect, admin_user: User
) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="year end")
    send_all()
    scheduled.refresh_from_db()
    pausing.pause(scheduled, by=by(admin_user))
    send_all()
    with refused("deployment.unchanged"):
        pausing.pause(scheduled, by=by(admin_user))
    freezes.unfreeze(dev, by=by(admin_user))
    send_all()
    assert paused(fake) == {"nightly"}
    assert AuditEntry.objects.get(verb="environment.unfreeze").after["schedules_released"] == 0


def test_one_that_is_resumed_during_a_freeze_is_active_after_it_and_no_second_before(
    scheduled: Deployment, dev: Environment, fake: FakePrefect, admin_user: User
) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="year end")
    send_all()
    scheduled.refresh_from_db()
    pausing.resume(scheduled, by=by(admin_user))
    send_all()
    assert paused(fake) == {"nightly"}
    # Someone resumes it in Prefect: that a resumption waits does not let it.
    fake.change_deployment(scheduled.prefect_id, is_paused=False)
    sync.sync(dev)
    freezes.pause_frozen_schedules()
    send_all()
    assert paused(fake) == {"nightly"}
    freezes.unfreeze(dev, by=by(admin_user))
    send_all()
    assert paused(fake) == set()


class Killed(BaseException):
    """What no handler catches, as when the process is gone."""


@pytest.mark.parametrize("is_sent", [True, False])
@pytest.mark.parametrize("during", [True, False])
def test_what_a_person_paused_stays_paused_whatever_is_killed(
    scheduled: Deployment,
    dev: Environment,
    fake: FakePrefect,
    admin_user: User,
    monkeypatch: pytest.MonkeyPatch,
    is_sent: bool,
    during: bool,
) -> None:
    """Each call is killed once, before or after Prefect has done it; the worker that comes next does it again."""
    set_paused, killed = fake.set_paused, set[bool]()

    def kill(deployment_id: UUID, is_paused: bool) -> None:
        if is_paused in killed:
            set_paused(deployment_id, is_paused)
            return
        killed.add(is_paused)
        if is_sent:
            set_paused(deployment_id, is_paused)
        raise Killed

    def send_killed() -> None:
        for _ in range(2):
            with suppress(Killed):
                send_all()
        sync.sync(dev)
        scheduled.refresh_from_db()

    monkeypatch.setattr(fake, "set_paused", kill)
    if not during:
        # Open when the freeze begins.
        pausing.pause(scheduled, by=by(admin_user))
        with suppress(Killed):
            send_all()
    freezes.freeze(dev, by=by(admin_user), reason="year end")
    send_killed()
    if during:
        pausing.pause(scheduled, by=by(admin_user))
    freezes.pause_frozen_schedules()
    send_killed()
    freezes.unfreeze(dev, by=by(admin_user))
    send_killed()
    assert paused(fake) == {"nightly"}
    assert not Action.objects.filter(kind="resume").exists()


def test_a_pause_that_was_never_sent_is_called_off(
    scheduled: Deployment, dev: Environment, fake: FakePrefect, admin_user: User
) -> None:
    freezes.freeze(dev, by=by(admin_user), reason="year end")
    freezes.unfreeze(dev, by=by(admin_user))
    send_all()
    assert paused(fake) == set()
    assert Action.objects.get().state == State.FAILED
