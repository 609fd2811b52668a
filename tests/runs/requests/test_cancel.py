"""Cancel a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import dispatch, mirror, requests, tasks
from runs.access.decisions import Forbidden
from runs.models import Action, AuditEntry, Run
from runs.models.action import State
from tests.background import queued_tasks
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db


def read_again(run: Run) -> Run:
    mirror.refresh(run.environment, [run.prefect_id])
    return Run.objects.get(pk=run.pk)


def test_a_running_run_shows_cancelling_until_prefect_confirms(
    a_run: Callable[..., Run], requester: User, fake: FakePrefect
) -> None:
    run = a_run("RUNNING")
    cancellation = requests.cancel(run, by=by(requester), reason="wrong month")
    assert queued_tasks() == ["runs.tasks.carry_out"]
    dispatch.carry_out(cancellation)
    cancellation.refresh_from_db()
    assert cancellation.state == State.SENT
    assert Run.objects.get(pk=run.pk).state_type == "CANCELLING"
    fake.confirm_cancel(run.prefect_id)
    assert read_again(run).state_type == "CANCELLED"
    cancellation.refresh_from_db()
    assert cancellation.state == State.DONE
    entry = AuditEntry.objects.get(verb="run.cancel")
    assert (entry.outcome, entry.reason, entry.actor_name) == ("done", "wrong month", "requester")


@pytest.mark.parametrize("state", ["SCHEDULED", "PENDING", "PAUSED", "RUNNING"])
def test_every_state_that_is_not_final_can_be_cancelled(
    a_run: Callable[..., Run], requester: User, fake: FakePrefect, state: str
) -> None:
    run = a_run(state)
    dispatch.carry_out(requests.cancel(run, by=by(requester)))
    if Run.objects.get(pk=run.pk).state_type == "CANCELLING":
        fake.confirm_cancel(run.prefect_id)
        read_again(run)
    assert Run.objects.get(pk=run.pk).state_type == "CANCELLED"
    assert run.actions.get().state == State.DONE


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"])
def test_a_run_that_is_over_is_left_alone(a_run: Callable[..., Run], requester: User, state: str) -> None:
    with refused("run.finished"):
        requests.cancel(a_run(state), by=by(requester))
    assert AuditEntry.objects.get(verb="run.cancel").outcome == "refused"


def test_a_run_that_ends_first_outruns_its_cancel(
    a_run: Callable[..., Run], requester: User, fake: FakePrefect
) -> None:
    run = a_run("RUNNING")
    cancellation = requests.cancel(run, by=by(requester))
    fake.set_state(run.prefect_id, "COMPLETED")
    dispatch.carry_out(cancellation)
    cancellation.refresh_from_db()
    assert cancellation.state == State.OVERTAKEN
    assert "Completed" in cancellation.message


def test_asking_twice_is_refused_with_the_first_asker_s_name(a_run: Callable[..., Run], requester: User) -> None:
    run = a_run("RUNNING")
    requests.cancel(run, by=by(requester))
    with refused("cancellation.pending"):
        requests.cancel(run, by=by(requester))


def test_a_viewer_may_not_cancel(a_run: Callable[..., Run], viewer: User) -> None:
    with pytest.raises(Forbidden):
        requests.cancel(a_run("RUNNING"), by=by(viewer))
    assert not Action.objects.exists()


def test_production_wants_a_reason(
    prod: Environment, prod_deployment: Deployment, prod_fake: FakePrefect, requester: User
) -> None:
    record = prod_fake.add_run(prod_deployment.prefect_id, state_type="RUNNING")
    mirror.refresh(prod, [record.id])
    with refused("reason.required"):
        requests.cancel(Run.objects.get(), by=by(requester))


def test_prefect_down_the_cancel_waits_and_goes_when_it_is_back(
    a_run: Callable[..., Run], requester: User, fake: FakePrefect
) -> None:
    run = a_run("RUNNING")
    cancellation = requests.cancel(run, by=by(requester))
    fake.go_down()
    dispatch.carry_out(cancellation)
    cancellation.refresh_from_db()
    assert cancellation.state == State.WANTED
    assert cancellation.message
    assert cancellation.next_attempt_at is not None
    fake.come_back()
    Action.objects.update(next_attempt_at=timezone.now())
    dispatch.carry_out(cancellation)
    cancellation.refresh_from_db()
    assert cancellation.state == State.SENT


def sent(run: Run, requester: User) -> Action:
    """A cancel that Prefect took some time ago."""
    cancellation = requests.cancel(run, by=by(requester))
    dispatch.carry_out(cancellation)
    return later(cancellation)


def later(cancellation: Action) -> Action:
    Action.objects.update(next_attempt_at=timezone.now())
    tasks.requeue_due()
    dispatch.carry_out(cancellation)
    cancellation.refresh_from_db()
    return cancellation


def test_one_that_no_worker_had_begun_does_not_stay_at_cancelling(a_run: Callable[..., Run], requester: User) -> None:
    run = a_run("PENDING")
    assert sent(run, requester).state == State.DONE
    assert Run.objects.get(pk=run.pk).state_type == "CANCELLED"


def test_one_that_is_at_work_is_given_the_time_to_end(a_run: Callable[..., Run], requester: User) -> None:
    run = a_run("RUNNING")
    cancellation = sent(run, requester)
    assert cancellation.state == State.SENT
    assert cancellation.next_attempt_at
    assert Run.objects.get(pk=run.pk).state_type == "CANCELLING"


def test_one_that_went_on_all_the_same_is_cancelled_again(
    a_run: Callable[..., Run], requester: User, fake: FakePrefect
) -> None:
    run = a_run("PENDING")
    cancellation = requests.cancel(run, by=by(requester))
    dispatch.carry_out(cancellation)
    fake.set_state(run.prefect_id, "RUNNING")
    later(cancellation)
    assert cancellation.state == State.SENT
    assert Run.objects.get(pk=run.pk).state_type == "CANCELLING"
    fake.confirm_cancel(run.prefect_id)
    assert later(cancellation).state == State.DONE


def test_it_is_not_asked_about_before_its_time(a_run: Callable[..., Run], requester: User) -> None:
    run = a_run("PENDING")
    cancellation = requests.cancel(run, by=by(requester))
    for _ in range(3):
        dispatch.carry_out(cancellation)
    assert Run.objects.get(pk=run.pk).state_type == "CANCELLING"


def test_a_run_that_prefect_deleted_cannot_be_cancelled(
    a_run: Callable[..., Run], requester: User, fake: FakePrefect
) -> None:
    run = a_run("RUNNING")
    cancellation = requests.cancel(run, by=by(requester))
    fake.remove_run(run.prefect_id)
    dispatch.carry_out(cancellation)
    cancellation.refresh_from_db()
    assert cancellation.state == State.FAILED
    assert cancellation.message


def test_the_same_task_twice_sends_one_cancel(a_run: Callable[..., Run], requester: User, fake: FakePrefect) -> None:
    cancellation = requests.cancel(a_run("RUNNING"), by=by(requester))
    dispatch.carry_out(cancellation)
    dispatch.carry_out(cancellation)
    assert [call.method for call in fake.calls].count("cancel") == 1


def test_prefect_s_own_time_out_is_no_confirmation_and_the_trail_says_so(
    a_run: Callable[..., Run], requester: User, fake: FakePrefect
) -> None:
    run = a_run("RUNNING")
    cancellation = requests.cancel(run, by=by(requester))
    dispatch.carry_out(cancellation)
    message = "Flow run cancellation timed out; marked this flow run as Cancelled."
    fake.set_state(run.prefect_id, "CANCELLED", message=message)
    read_again(run)
    cancellation.refresh_from_db()
    assert (cancellation.state, bool(cancellation.message)) == (State.DONE, True)
    verbs = set(AuditEntry.objects.values_list("verb", flat=True))
    assert "run.cancel_unconfirmed" in verbs
    assert "run.cancelled" not in verbs
