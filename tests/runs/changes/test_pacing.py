"""Backfills: how many run at once, what happens at a failure, pause, resume and cancel the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment
from runs import changes, mirror, requests, tasks
from runs.access.decisions import Forbidden
from runs.audit import reconcile
from runs.models import Approval, AuditEntry, ChangeRequest, QueuedTask, RunRequest
from runs.models.notification import Topic
from runs.models.request import State
from runs.phases import phase_of, with_phases
from tests.background import notices
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db

Progress, OnFailure = ChangeRequest.Progress, ChangeRequest.OnFailure


@pytest.fixture
def backfill(deployment: Deployment, requester: User) -> Callable[..., ChangeRequest]:
    def make(number: int = 5, *, first: int = 1, at_once: int = 2, **options: Any) -> ChangeRequest:
        change = requests.submit_backfill(
            deployment,
            {"month": "2026-10"},
            {"rows": f"{first}..{number}"},
            by=by(requester),
            at_once=at_once,
            **options,
        )
        go_on()
        change.refresh_from_db()
        return change

    return make


def go_on() -> None:
    """Run what acts on requests until nothing is queued."""
    acts = {
        "runs.tasks.launch": tasks.launch,
        "runs.tasks.launch_backfill": tasks.launch_backfill,
        "runs.tasks.advance_changes": tasks.advance_changes,
    }
    while task := QueuedTask.objects.filter(task__in=acts).order_by("pk").first():
        task.delete()
        acts[task.task](*json.loads(task.args))


def states(change: ChangeRequest) -> list[str]:
    return list(change.run_requests.order_by("spec__position").values_list("state", flat=True))


def end(change: ChangeRequest, position: int, state: str, fake: FakePrefect) -> None:
    run_request = change.run_requests.select_related("environment__server").get(spec__position=position)
    assert run_request.flow_run_id
    fake.set_state(run_request.flow_run_id, state)
    mirror.refresh(run_request.environment, [run_request.flow_run_id])
    go_on()
    change.refresh_from_db()


def test_each_that_completes_makes_room_for_the_next(backfill: Callable[..., ChangeRequest], fake: FakePrefect) -> None:
    change = backfill(4)
    assert states(change) == [State.LAUNCHED, State.LAUNCHED, State.HELD, State.HELD]
    for position in range(4):
        end(change, position, "COMPLETED", fake)
    assert states(change) == [State.COMPLETED] * 4
    assert change.state == ChangeRequest.State.CLOSED


def test_it_stops_at_a_failure_and_says_where(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect, requester: User
) -> None:
    change = backfill()
    end(change, 0, "FAILED", fake)
    assert change.progress == Progress.STOPPED
    failed = change.run_requests.get(state=State.FAILED)
    assert f"item 1, request {failed.pk}" in change.message
    assert states(change) == [State.FAILED, State.LAUNCHED, State.HELD, State.HELD, State.HELD]
    # What runs goes on, and makes no room.
    end(change, 1, "COMPLETED", fake)
    assert states(change)[2:] == [State.HELD] * 3
    assert AuditEntry.objects.filter(verb="request.stop", outcome="done").count() == 1
    # A person lets it go on: it does not stop at the same failure again, but at the next.
    changes.resume(change, by=by(requester))
    go_on()
    assert states(change) == [State.FAILED, State.COMPLETED, State.LAUNCHED, State.LAUNCHED, State.HELD]
    end(change, 2, "COMPLETED", fake)
    assert change.progress == Progress.RUNNING
    end(change, 3, "CRASHED", fake)
    assert change.progress == Progress.RUNNING, "nothing is left that it could hold back"
    assert reconcile() == ""


def phase(change: ChangeRequest) -> str:
    """The word for its state, which a list reads in SQL."""
    listed = with_phases(ChangeRequest.objects.filter(pk=change.pk)).get()
    fresh = ChangeRequest.objects.get(pk=change.pk)
    found = phase_of(fresh)
    assert found == phase_of(listed) == phase_of(fresh, states(change))
    return found.key


def test_one_word_says_how_far_it_is(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect, requester: User
) -> None:
    change = backfill(4)
    assert phase(change) == "running"
    changes.pause(change, by=by(requester))
    assert phase(change) == "paused"
    changes.resume(change, by=by(requester))
    assert phase(change) == "running"
    end(change, 0, "FAILED", fake)
    assert phase(change) == "stopped"
    changes.resume(change, by=by(requester))
    go_on()
    end(change, 1, "COMPLETED", fake)
    for position in (2, 3):
        end(change, position, "COMPLETED", fake)
    assert (change.state, phase(change)) == (ChangeRequest.State.CLOSED, "failed")
    clean = backfill(11, first=11)
    end(clean, 0, "COMPLETED", fake)
    assert phase(clean) == "finished"
    rest = backfill(23, first=21)
    changes.cancel_rest(rest, by=by(requester))
    assert phase(rest) == "withdrawn"


def test_requester_and_approvers_are_notified_once_that_it_stopped(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect, requester: User, approver: User, viewer: User
) -> None:
    change = backfill(6)
    Approval.objects.create(change=change, by=approver, by_name=approver.username, approved=True, digest=change.digest)
    end(change, 0, "FAILED", fake)
    end(change, 1, "FAILED", fake)
    stopped = [notice for notice in notices() if notice.topic == Topic.STOPPED]
    assert {(notice.person, notice.target_id) for notice in stopped} == {
        (requester, str(change.pk)),
        (approver, str(change.pk)),
    }
    assert len(stopped) == 2


def test_it_stops_again_at_the_next_failure(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect, requester: User
) -> None:
    change = backfill(6)
    end(change, 0, "FAILED", fake)
    changes.resume(change, by=by(requester))
    go_on()
    end(change, 1, "FAILED", fake)
    assert change.progress == Progress.STOPPED
    assert "item 2" in change.message


def test_it_goes_on_where_that_was_asked_for(backfill: Callable[..., ChangeRequest], fake: FakePrefect) -> None:
    change = backfill(on_failure=OnFailure.GO_ON)
    end(change, 0, "FAILED", fake)
    assert change.progress == Progress.RUNNING
    assert states(change)[2] == State.LAUNCHED


def test_a_launch_that_is_refused_stops_it_too(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect, deployment: Deployment
) -> None:
    change = backfill(4, at_once=1)
    fake.remove_deployment(deployment.prefect_id)
    run_request = change.run_requests.get(spec__position=0)
    RunRequest.objects.filter(pk=run_request.pk).update(state=State.COMPLETED)
    tasks.advance_changes()
    go_on()
    change.refresh_from_db()
    assert states(change) == [State.COMPLETED, State.REFUSED, State.HELD, State.HELD]
    assert change.progress == Progress.STOPPED


def test_paused_it_starts_nothing_until_it_is_resumed(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect, requester: User
) -> None:
    change = backfill()
    changes.pause(change, by=by(requester), reason="disk is full")
    end(change, 0, "COMPLETED", fake)
    assert states(change) == [State.COMPLETED, State.LAUNCHED, State.HELD, State.HELD, State.HELD]
    with refused("backfill.paused"):
        changes.pause(change, by=by(requester))
    assert changes.resume(change, by=by(requester)) == 1
    go_on()
    assert states(change)[2] == State.LAUNCHED
    with refused("backfill.running"):
        changes.resume(change, by=by(requester))
    assert [entry.verb for entry in AuditEntry.objects.filter(verb__in=["request.pause", "request.resume"])]


def test_what_was_released_and_not_sent_waits_while_it_is_paused(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect, requester: User
) -> None:
    fake.go_down()
    change = backfill()
    assert states(change)[:2] == [State.APPROVED, State.APPROVED]
    changes.pause(change, by=by(requester))
    fake.come_back()
    RunRequest.objects.update(next_attempt_at=timezone.now())
    tasks.requeue_due()
    go_on()
    assert states(change)[:2] == [State.APPROVED, State.APPROVED]
    assert "paused" in change.run_requests.filter(state=State.APPROVED)[0].message
    changes.resume(change, by=by(requester))
    go_on()
    assert states(change)[:2] == [State.LAUNCHED, State.LAUNCHED]


def test_cancelling_the_rest_leaves_what_was_sent(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect, requester: User
) -> None:
    change = backfill()
    assert changes.cancel_rest(change, by=by(requester), reason="enough") == 3
    assert states(change) == [State.LAUNCHED, State.LAUNCHED, *[State.WITHDRAWN] * 3]
    change.refresh_from_db()
    assert change.state == ChangeRequest.State.WITHDRAWN
    assert "3 items" in change.message
    end(change, 0, "COMPLETED", fake)
    assert states(change)[0] == State.COMPLETED
    with refused("backfill.over"):
        changes.cancel_rest(change, by=by(requester))
    assert reconcile() == ""


@pytest.mark.parametrize("act", [changes.pause, changes.resume, changes.cancel_rest])
def test_only_its_requester_or_who_may_cancel_can_steer_it(
    act: Callable[..., Any], backfill: Callable[..., ChangeRequest], viewer: User
) -> None:
    change = backfill()
    with pytest.raises(Forbidden):
        act(change, by=by(viewer))
    change.refresh_from_db()
    assert change.progress == Progress.RUNNING
    assert State.WITHDRAWN not in states(change)


def test_the_pacing_is_part_of_what_is_approved(
    prod_deployment: Deployment, requester: User, approver: User, prod_fake: FakePrefect
) -> None:
    made = [
        requests.submit_backfill(
            prod_deployment, {}, {"month": "2026-01..2026-03"}, by=by(requester), reason="r", skip_open=False, **pacing
        )
        for pacing in ({}, {"at_once": 3}, {"on_failure": OnFailure.GO_ON})
    ]
    assert len({change.digest for change in made}) == 3
    with refused("approval.stale"):
        changes.approve(made[0], by=by(approver), displayed_digest=made[1].digest)
    with refused("backfill.over"):
        changes.pause(made[0], by=by(requester))
    changes.approve(made[0], by=by(approver), displayed_digest=made[0].digest)
    go_on()
    assert states(made[0]) == [State.LAUNCHED] * 3


def test_another_kind_of_request_cannot_be_paused(deployment: Deployment, requester: User) -> None:
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    with refused("backfill.none"):
        changes.pause(run_request.change, by=by(requester))
