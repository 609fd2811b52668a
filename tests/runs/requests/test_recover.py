"""Stalled runs are put back or marked as failed: who may, when, and only if the run has not moved."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from flows.prefect_api.records import Uncertain
from runs import dispatch, mirror, requests, tasks
from runs.actors import Actor
from runs.governance import freezes, grants
from runs.models import Action, AuditEntry, Policy, QueuedTask, Run, RunRequest, Stall, Verb
from runs.models.action import State
from runs.models.request import State as RequestState
from tests.cast import by, person
from tests.fakes import records
from tests.fakes.prefect import FakePrefect
from tests.refusals import forbidden, refused

pytestmark = pytest.mark.django_db
Runs = Callable[..., Run]


def stall(run: Run, fake: FakePrefect, state_type: str, minutes: float = 90, **columns: Any) -> Run:
    """Make Prefect say that the run has been in this state for so long, and the mirror find it."""
    fake.set_state(run.prefect_id, state_type, at=ago(minutes))
    fake.change_run(run.prefect_id, **columns)
    Run.objects.filter(pk=run.pk).update(state_at=None)  # the fake's clock began later
    mirror.sync(run.environment)
    run.refresh_from_db()
    return run


def ago(minutes: float) -> datetime:
    return timezone.now() - timedelta(minutes=minutes)


@pytest.fixture
def pending(a_run: Runs, fake: FakePrefect) -> Run:
    run = stall(a_run("PENDING"), fake, "PENDING")
    assert run.stalled_kind == Stall.PENDING
    return run


@pytest.fixture
def operator(requester: User) -> User:
    """Has “put back” by the role, and “force cancel” by a grant."""
    grants.grant(by=Actor.system(), person=requester, verbs=["force cancel"])
    return requester


def carried_out(recovery: Action) -> Action:
    dispatch.carry_out(Action.objects.select_related("run__environment").get(pk=recovery.pk))
    recovery.refresh_from_db()
    return recovery


def entries() -> list[tuple[str, str]]:
    found = AuditEntry.objects.filter(verb__startswith="run.").exclude(verb__in=["run.appeared", "run.adopted"])
    return list(found.order_by("sequence").values_list("verb", "outcome"))


def test_a_claimed_run_is_put_back_and_recorded(pending: Run, operator: User, fake: FakePrefect) -> None:
    recovery = requests.put_back(pending, by=by(operator), reason="worker killed")
    assert QueuedTask.objects.filter(task="runs.tasks.carry_out").exists()
    assert carried_out(recovery).state == State.DONE
    pending.refresh_from_db()
    assert (pending.state_type, pending.stalled_kind) == ("SCHEDULED", "")
    assert entries() == [("run.put_back", "done"), ("run.recovered", "done")]
    assert AuditEntry.objects.get(verb="run.put_back").reason == "worker killed"


@pytest.mark.parametrize("kind", ["silent", "cancelling", "late", "pending"])
def test_any_stalled_run_is_marked_as_failed(kind: str, a_run: Runs, operator: User, fake: FakePrefect) -> None:
    run = a_run("RUNNING") if kind in ("silent", "cancelling") else a_run("SCHEDULED")
    if kind == "silent":
        fake.add_log(run.prefect_id, "half way", timestamp=ago(100))
        stall(run, fake, "RUNNING", minutes=180, started_at=ago(180))
    else:
        stall(run, fake, {"late": "SCHEDULED"}.get(kind, kind.upper()), expected_start_at=ago(90))
    assert run.stalled_kind == kind
    recovery = requests.mark_failed(run, by=by(operator), reason="its machine is gone")
    assert carried_out(recovery).state == State.DONE
    run.refresh_from_db()
    assert (run.state_type, run.stalled_kind) == ("FAILED", "")


def test_only_a_claimed_run_is_put_back(a_run: Runs, operator: User, fake: FakePrefect) -> None:
    run = stall(a_run("RUNNING"), fake, "CANCELLING")
    assert run.stalled_kind == Stall.CANCELLING
    with refused("run.not_stalled"):
        requests.put_back(run, by=by(operator), reason="r")
    moving = a_run("PENDING")
    for ask in (requests.put_back, requests.mark_failed):
        with refused("run.not_stalled"):
            ask(moving, by=by(operator), reason="r")


def test_it_needs_its_permission_and_a_reason(pending: Run, requester: User, viewer: User) -> None:
    with forbidden(Verb.PUT_BACK):
        requests.put_back(pending, by=by(viewer), reason="r")
    with forbidden(Verb.FORCE_CANCEL):
        requests.mark_failed(pending, by=by(requester), reason="r")
    grants.grant(by=Actor.system(), person=requester, verbs=["force cancel"])
    for ask in (requests.put_back, requests.mark_failed):
        with refused("recovery.reason_required"):
            ask(pending, by=by(requester), reason=" ")
    assert not Action.objects.exists()


def test_who_is_denied_to_run_cannot_put_back(pending: Run, requester: User) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["trigger"], effect="deny")
    with forbidden(Verb.PUT_BACK, "access.denied"):
        requests.put_back(pending, by=by(requester), reason="r")


def test_a_policy_can_require_a_ticket(pending: Run, requester: User, dev: Environment) -> None:
    Policy.objects.create(environment=dev, name="Tickets", needs_ticket=True)
    with refused("ticket.required"):
        requests.put_back(pending, by=by(requester), reason="r")


def test_the_second_person_learns_of_the_first(pending: Run, operator: User) -> None:
    requests.put_back(pending, by=by(operator), reason="r")
    with refused("recovery.pending"):
        requests.mark_failed(pending, by=by(operator), reason="r")


def test_a_run_that_is_to_be_cancelled_is_not_started_again(pending: Run, operator: User) -> None:
    requests.cancel(pending, by=by(operator), reason="r")
    with refused("cancellation.pending"):
        requests.put_back(pending, by=by(operator), reason="r")


def test_a_freeze_holds_it_back(pending: Run, operator: User, admin_user: User, dev: Environment) -> None:
    recovery = requests.put_back(pending, by=by(operator), reason="r")
    freezes.freeze(dev, by=by(admin_user), reason="incident")
    assert carried_out(recovery).state == State.FAILED
    with refused("window.closed"):
        requests.put_back(pending, by=by(operator), reason="r")


# Races


MOVES = ["RUNNING", "CANCELLED", "PENDING", "deleted", "process"]


@pytest.mark.parametrize(
    ("kind", "move"), [*product(["put back", "fail"], MOVES), ("fail", "heartbeat")], ids=lambda each: str(each)
)
def test_a_run_that_moves_between_look_and_act_is_left_alone(
    kind: str, move: str, a_run: Runs, pending: Run, operator: User, fake: FakePrefect
) -> None:
    run = pending
    if move == "heartbeat":
        run = a_run("RUNNING")
        fake.add_log(run.prefect_id, "half way", timestamp=ago(100))
        stall(run, fake, "RUNNING", minutes=180, started_at=ago(180))
    ask = requests.put_back if kind == "put back" else requests.mark_failed
    recovery = ask(run, by=by(operator), reason="r")
    if move == "deleted":
        fake.remove_run(run.prefect_id)
    elif move == "process":
        fake.change_run(run.prefect_id, infrastructure_pid="host:123")
    elif move == "heartbeat":
        fake.add_heartbeat(run.prefect_id)
    else:
        fake.set_state(run.prefect_id, move)
    assert carried_out(recovery).state == State.OVERTAKEN
    assert not [call for call in fake.calls if call.method in ("reschedule", "set_failed")]
    assert entries()[-1] == ("run.outran_recovery", "done")


def test_a_run_that_moves_in_the_last_moment_is_told(pending: Run, operator: User, fake: FakePrefect) -> None:
    recovery = requests.put_back(pending, by=by(operator), reason="r")
    reschedule = fake.reschedule

    def late(*words: Any) -> None:
        fake.set_state(pending.prefect_id, "RUNNING")
        reschedule(*words)

    fake.reschedule = late  # type: ignore[method-assign]
    assert carried_out(recovery).state == State.DONE
    assert "twice" in recovery.message
    assert AuditEntry.objects.get(verb="run.recovered").after["message"] == recovery.message


def test_a_lost_answer_is_not_sent_again(pending: Run, operator: User, fake: FakePrefect) -> None:
    recovery = requests.put_back(pending, by=by(operator), reason="r")
    reschedule = fake.reschedule

    def lost(*words: Any) -> None:
        reschedule(*words)
        raise Uncertain("Response timed out.", code="connection.timeout")

    fake.reschedule = lost  # type: ignore[method-assign]
    assert carried_out(recovery).state == State.WANTED
    Action.objects.update(next_attempt_at=timezone.now())
    assert carried_out(recovery).state == State.DONE
    assert len([call for call in fake.calls if call.method == "reschedule"]) == 1


def test_prefect_down_is_retried(pending: Run, operator: User, fake: FakePrefect) -> None:
    recovery = requests.put_back(pending, by=by(operator), reason="r")
    fake.go_down()
    assert carried_out(recovery).state == State.WANTED
    assert recovery.next_attempt_at is not None
    fake.come_back()
    Action.objects.update(next_attempt_at=None)
    tasks.requeue_due()
    assert carried_out(recovery).state == State.DONE


def test_what_must_hold_at_a_launch_must_hold_when_it_is_put_back(
    deployment: Deployment, fake: FakePrefect, requester: User, admin_user: User, dev: Environment
) -> None:
    other = person("other", "Operator")
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    dispatch.launch(run_request)
    mirror.sync(dev)
    run_request.refresh_from_db()
    assert run_request.run is not None
    stall(run_request.run, fake, "PENDING")
    recovery = requests.put_back(run_request.run, by=by(other), reason="r")
    User.objects.filter(pk=requester.pk).update(is_active=False)
    assert carried_out(recovery).state == State.FAILED
    assert recovery.message
    assert RunRequest.objects.get().state == RequestState.LAUNCHED


# Automatically


@pytest.fixture
def pool(pending: Run, fake: FakePrefect, dev: Environment) -> None:
    """The pool of the run, whose only worker has been silent since it picked the run up."""
    fake.change_run(pending.prefect_id, work_pool_name="batch")
    set_workers(fake, gone())
    mirror.sync(dev)
    sync.sync(dev)


def gone(**fields: Any) -> dict[str, Any]:
    return {"is_online": False, "created_at": ago(600), "last_heartbeat": ago(89), **fields}


def set_workers(fake: FakePrefect, *workers: dict[str, Any]) -> None:
    fake.add_work_pool("batch", workers=tuple(records.worker(f"w{n}", **each) for n, each in enumerate(workers)))


def put_back_now(dev: Environment) -> int:
    dev.refresh_from_db()
    return dispatch.put_back_stalled(dev)


@pytest.mark.usefixtures("pool")
def test_a_run_whose_worker_is_gone_is_put_back_once(pending: Run, fake: FakePrefect, dev: Environment) -> None:
    assert put_back_now(dev) == 1
    recovery = Action.objects.get()
    assert (recovery.is_automatic, recovery.requested_by, recovery.requested_by_name) == (True, None, "portal")
    assert carried_out(recovery).state == State.DONE
    assert AuditEntry.objects.get(verb="run.put_back").after["automatic"] is True
    # The second time is left to a person.
    stall(pending, fake, "PENDING", work_pool_name="batch")
    assert pending.stalled_kind == Stall.PENDING
    assert put_back_now(dev) == 0
    with refused("recovery.repeated"):
        requests.put_back_automatically(pending)


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize(
    "workers",
    [
        [],
        [gone(is_online=True)],
        [gone(), gone(is_online=True)],
        [gone(last_heartbeat=None)],
        [gone(last_heartbeat=ago(300))],
        [gone(), gone(last_heartbeat=None)],
        [{"is_online": True, "created_at": ago(5)}],
    ],
    ids=[
        "its worker was removed",
        "its worker is online",
        "another worker that was there is online",
        "its worker never sent a heartbeat",
        "no worker was alive when it was picked up",
        "one worker is not known",
        "only a new worker is there",
    ],
)
def test_where_it_is_not_certain_a_person_decides(
    workers: list[dict[str, Any]], fake: FakePrefect, dev: Environment
) -> None:
    set_workers(fake, *workers)
    assert put_back_now(dev) == 0


@pytest.mark.usefixtures("pool")
def test_a_worker_that_came_later_cannot_have_picked_it_up(fake: FakePrefect, dev: Environment) -> None:
    set_workers(fake, gone(), {"is_online": True, "created_at": ago(5)})
    assert put_back_now(dev) == 1


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("rules", [{"is_protected": True}, {"puts_back": False}, {"is_active": False}])
def test_never_where_the_environment_forbids_it(rules: dict[str, bool], pending: Run, dev: Environment) -> None:
    recovery = requests.put_back_automatically(pending)
    Environment.objects.update(**rules)
    if "is_active" not in rules:
        assert put_back_now(dev) == 0
    with refused("recovery.not_automatic"):
        requests.put_back_automatically(pending)
    # Not even one that was decided before.
    assert carried_out(recovery).state == State.FAILED


@pytest.mark.usefixtures("pool")
def test_a_worker_that_comes_back_stops_it(pending: Run, fake: FakePrefect, dev: Environment) -> None:
    put_back_now(dev)
    set_workers(fake, gone(is_online=True))
    assert carried_out(Action.objects.get()).state == State.FAILED
    assert not [call for call in fake.calls if call.method == "reschedule"]


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("why", ["freeze", "person", "cancellation"])
def test_what_waits_for_something_else_is_not_refused_again_and_again(
    why: str, pending: Run, operator: User, admin_user: User, dev: Environment
) -> None:
    if why == "freeze":
        freezes.freeze(dev, by=by(admin_user), reason="incident")
    elif why == "person":
        requests.mark_failed(pending, by=by(operator), reason="r")
    else:
        requests.cancel(pending, by=by(operator), reason="r")
    before = AuditEntry.objects.count()
    assert put_back_now(dev) == 0
    assert AuditEntry.objects.count() == before


@pytest.mark.usefixtures("pool")
def test_other_stalls_are_never_recovered_automatically(pending: Run, fake: FakePrefect, dev: Environment) -> None:
    stall(pending, fake, "CANCELLING")
    assert pending.stalled_kind == Stall.CANCELLING
    assert put_back_now(dev) == 0
