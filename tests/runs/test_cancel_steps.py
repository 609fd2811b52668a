"""What happens next with a cancellation, as pure rules over rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows.models import WorkPool
from runs.cancel_steps import Status, Step, latest, steps, timed_out
from runs.failure_causes import explain_cancellation
from runs.models import Action, Run
from runs.models.action import Kind, State

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
PATIENCE = timedelta(minutes=2)
MESSAGE = "Flow run cancellation timed out; marked this flow run as Cancelled."


def cancellation(state: State = State.SENT, kind: Kind = Kind.CANCEL, **columns: Any) -> Action:
    sent = NOW if state == State.SENT else None
    usual = {"requested_at": NOW, "sent_at": sent}
    return Action(kind=kind, state=state, requested_by_name="otto", **{**usual, **columns})


def running(**columns: Any) -> Run:
    return Run(**{"state_type": "CANCELLING", "started_at": NOW - timedelta(hours=1), "state_at": NOW, **columns})


def pool(*, online: bool) -> WorkPool:
    return WorkPool(name="gpu", workers=[{"name": "w", "is_online": online}])


def by_key(run: Run, action: Action, where: WorkPool | None = None, *, may_force: bool = False) -> dict[str, Step]:
    return {step.key: step for step in steps(run, action, where, patience=PATIENCE, may_force=may_force)}


def test_the_steps_stand_in_the_order_in_which_they_come() -> None:
    found = by_key(running(), cancellation(), pool(online=True))
    assert list(found) == ["requested", "sent", "stop", "force", "timeout"]
    statuses = [step.status for step in found.values()]
    assert statuses == [Status.DONE, Status.DONE, Status.NOW, Status.LATER, Status.LATER]


def test_what_is_not_sent_yet_is_being_sent() -> None:
    found = by_key(running(state_type="RUNNING"), cancellation(State.WANTED))
    assert (found["sent"].status, found["stop"].status) == (Status.NOW, Status.LATER)
    assert found["timeout"].at is None


def test_the_moments_of_force_and_time_out_are_named() -> None:
    found = by_key(running(), cancellation())
    assert found["force"].at == NOW + PATIENCE
    assert found["timeout"].at == NOW + timedelta(minutes=5)


def test_it_says_who_must_act_and_whether_anyone_is_there() -> None:
    there = by_key(running(), cancellation(), pool(online=True))["stop"].sentence
    gone = by_key(running(), cancellation(), pool(online=False))["stop"].sentence
    unstarted = by_key(running(started_at=None), cancellation(), pool(online=True))["stop"].sentence
    assert "gpu" in there
    assert "30 s" in there
    assert "none is online" in gone
    assert len({there, gone, unstarted}) == 3


def test_it_says_with_which_permission_it_can_be_forced() -> None:
    assert "force cancel" in by_key(running(), cancellation())["force"].sentence
    assert by_key(running(), cancellation(), may_force=True)["force"].sentence.startswith("You can")


def test_a_forced_one_waits_for_no_process() -> None:
    assert list(by_key(running(), cancellation(kind=Kind.FORCE))) == ["requested", "sent", "forced"]


@pytest.mark.parametrize("state", [State.DONE, State.OVERTAKEN, State.FAILED])
def test_a_settled_one_has_no_steps(state: State) -> None:
    assert by_key(running(), cancellation(state)) == {}


def test_a_time_out_is_known_by_its_message_or_by_the_time_it_took() -> None:
    ended = running(state_type="CANCELLED", state_message=MESSAGE)
    assert timed_out(ended)
    silent = running(state_type="CANCELLED", state_at=NOW + timedelta(minutes=5, seconds=1))
    assert timed_out(silent, cancellation())
    assert not timed_out(silent)
    assert not timed_out(silent, cancellation(kind=Kind.FORCE))
    assert not timed_out(running(state_type="CANCELLED", state_at=NOW + timedelta(seconds=5)), cancellation())
    assert not timed_out(running(state_type="COMPLETED", state_message=MESSAGE), cancellation())


def test_the_sentence_of_the_run_says_that_work_may_go_on() -> None:
    assert "may still be running" in explain_cancellation(running(state_type="CANCELLED", state_message=MESSAGE))


def test_the_last_cancellation_counts() -> None:
    first, second = cancellation(requested_at=NOW), cancellation(requested_at=NOW + timedelta(minutes=3))
    first.pk, second.pk = 1, 2
    assert latest([second, first, Action(kind=Kind.RETRY, requested_at=NOW + timedelta(hours=1))]) is second
    assert latest([]) is None
