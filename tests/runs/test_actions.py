"""Actions: legal moves, what is open at the same time, and that every kind is complete."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from flows.models import Deployment, Environment
from flows.prefect_api.records import FlowRunRecord
from runs import actions, dispatch, tasks
from runs.governance import freezes, pausing
from runs.models import Action, AuditEntry, QueuedTask, Run
from runs.models.action import (
    CANCELS,
    COLOURS,
    LABELS,
    NAMES,
    ON_CAPACITY,
    ON_RUN,
    OPEN,
    RECOVERIES,
    SCHEDULES,
    SINGLE_PAUSES,
    Kind,
    State,
)
from runs.models.audit_verbs import VERBS
from tests.cast import by
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db
Runs = Callable[..., Run]


def add(kind: Kind, state: State = State.WANTED, **columns: Any) -> Action:
    return Action.objects.create(kind=kind, state=state, requested_by_name="otto", **columns)


def test_every_kind_has_a_target_a_handler_a_name_and_verbs_for_its_results() -> None:
    assert set(Kind) == {*ON_RUN, *ON_CAPACITY, *SCHEDULES, *SINGLE_PAUSES}
    assert set(dispatch.HANDLERS) == set(LABELS) == set(NAMES) == set(actions.RESULTS) == set(Kind)
    assert set(COLOURS) == set(State)
    for kind in ON_RUN:
        assert set(actions.RESULTS[kind]) == set(State) - set(OPEN)
        assert set(actions.RESULTS[kind].values()) <= set(VERBS)


def test_what_is_settled_stays_as_it_is(a_run: Runs) -> None:
    run = a_run("RUNNING")
    for state in State:
        for to in actions.LEGAL_FROM:
            action = add(Kind.CANCEL, state, run=run)
            moved = actions.move(action, to=to, message="m")
            row = Action.objects.get()
            assert moved == (state in OPEN)
            assert row.state == (to if moved else state)
            assert (row.settled_at is not None) == (moved and to not in OPEN)
            row.delete()


def test_a_result_is_recorded_once(a_run: Runs) -> None:
    action = add(Kind.CANCEL, run=a_run("RUNNING"))
    actions.settle(action, to=State.FAILED, message="refused")
    actions.settle(action, to=State.DONE)
    assert list(AuditEntry.objects.filter(verb__startswith="run.cancel").values_list("verb", "outcome")) == [
        ("run.cancel_failed", "refused")
    ]
    assert Action.objects.get().state == State.FAILED


def test_the_database_wants_the_target_of_its_kind(a_run: Runs, deployment: Deployment) -> None:
    run = a_run("RUNNING")
    for kind in Kind:
        wrong: list[dict[str, Any]] = [{}, {"run": run, "deployment": deployment}]
        wrong.append({"deployment": deployment} if kind in ON_RUN else {"run": run})
        for targets in wrong:
            with pytest.raises(IntegrityError, match="action_has_its_target"), transaction.atomic():
                add(kind, **targets)


def test_the_database_has_one_open_action_of_each_family_for_a_run(a_run: Runs) -> None:
    run = a_run("RUNNING")
    for family in (CANCELS, RECOVERIES):
        add(family[0], State.SENT, run=run)
        for kind in family:
            add(kind, State.FAILED, run=run)
            with pytest.raises(IntegrityError, match="unique_open"), transaction.atomic():
                add(kind, run=run)


def test_the_database_has_one_automatic_recovery_for_a_run(a_run: Runs) -> None:
    run = a_run("RUNNING")
    add(Kind.CANCEL, State.DONE, run=run, is_automatic=True)
    add(Kind.PUT_BACK, State.DONE, run=run, is_automatic=True)
    with pytest.raises(IntegrityError, match="unique_automatic"), transaction.atomic():
        add(Kind.FAIL, State.DONE, run=run, is_automatic=True)


def test_open_actions_that_are_due_are_queued_again(a_run: Runs, deployment: Deployment) -> None:
    run = a_run("RUNNING")
    due = [add(Kind.CANCEL, run=run), add(Kind.PUT_BACK, State.SENT, run=run), add(Kind.PAUSE, deployment=deployment)]
    add(Kind.FORCE, State.DONE, run=run)
    add(Kind.RESUME, deployment=deployment, next_attempt_at=timezone.now() + timedelta(minutes=1))
    tasks.requeue_due()
    queued = QueuedTask.objects.filter(task="runs.tasks.carry_out").values_list("args", flat=True)
    assert sorted(queued) == sorted(f"[{action.pk}]" for action in due)


def test_what_is_settled_between_the_lease_and_the_call_is_not_sent(a_run: Runs, fake: FakePrefect) -> None:
    action = add(Kind.CANCEL, State.SENT, run=a_run("RUNNING"))
    read = fake.flow_runs

    def settled_meanwhile(ids: Sequence[UUID]) -> list[FlowRunRecord]:
        Action.objects.filter(pk=action.pk).update(state=State.FAILED)
        return read(ids)

    fake.flow_runs = settled_meanwhile  # type: ignore[method-assign]
    dispatch.carry_out(action)
    assert not [call for call in fake.calls if call.method == "cancel"]
    assert Action.objects.get().state == State.FAILED


def test_a_pause_whose_answer_was_lost_is_resumed_after_the_freeze(
    deployment: Deployment, dev: Environment, admin_user: User, fake: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    freeze = freezes.freeze(dev, by=by(admin_user), reason="year end")
    pausing.pause_or_resume(deployment, freeze, Kind.PAUSE, by_name="otto")
    # It reads whether someone else has paused it before it sends anything.
    set_paused = fake.set_paused

    def lose(deployment_id: UUID, is_paused: bool) -> None:
        set_paused(deployment_id, is_paused)
        fake.go_down()
        fake.health()

    monkeypatch.setattr(fake, "set_paused", lose)
    dispatch.carry_out(Action.objects.get())
    fake.come_back()
    assert Action.objects.get().state == State.WANTED
    freezes.unfreeze(dev, by=by(admin_user))
    assert list(Action.objects.order_by("pk").values_list("kind", "state")) == [
        ("pause", "failed"),
        ("resume", "wanted"),
    ]
