"""What a task run depends on, and its attempts, are mirrored with its run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from flows.models import Environment
from flows.prefect_api.records import StateRecord
from runs import mirror
from runs.mirror.attempts import MOST_READ
from runs.mirror.details import MOST_UPSTREAM
from runs.models import Run
from tests.fakes.prefect import FakePrefect

MakeRun = Callable[..., Run]
BEGAN = datetime(2026, 1, 1, 6, tzinfo=UTC)


def state(kind: str, second: int) -> StateRecord:
    return StateRecord(uuid4(), kind, kind.title(), "", BEGAN + timedelta(seconds=second))


def at(second: int) -> str:
    return (BEGAN + timedelta(seconds=second)).isoformat()


def calls(fake: FakePrefect) -> int:
    return sum(each.method == "task_run_states" for each in fake.calls)


def test_what_it_depends_on_and_which_task_it_is(dev: Environment, fake: FakePrefect, a_run: MakeRun) -> None:
    run = a_run("RUNNING")
    first = fake.add_task_run(run.prefect_id, name="first-0")
    many = tuple(uuid4() for _ in range(MOST_UPSTREAM + 5))
    fake.add_task_run(run.prefect_id, name="second-0", task_key="second-1a2b3c4d", upstream=(first.id, *many))
    mirror.refresh(dev, [run.prefect_id])
    second = run.task_runs.get(name="second-0")
    assert second.task_key == "second-1a2b3c4d"
    assert second.upstream == [first.id, *many][:MOST_UPSTREAM]


def test_the_attempts_of_a_task_that_was_retried(dev: Environment, fake: FakePrefect, a_run: MakeRun) -> None:
    run = a_run("RUNNING")
    plain = fake.add_task_run(run.prefect_id, name="plain-0")
    task = fake.add_task_run(run.prefect_id, name="load-0", run_count=2, ended_at=None, state_type="RUNNING")
    states = (("PENDING", 0), ("RUNNING", 1), ("SCHEDULED", 4), ("RUNNING", 9))
    fake.add_task_states(task.id, *(state(kind, second) for kind, second in states))
    mirror.refresh(dev, [run.prefect_id])
    found = run.task_runs.get(prefect_id=task.id)
    assert found.attempts == {"run_count": 2, "is_over": False, "spans": [[at(1), at(4)], [at(9), None]]}
    assert run.task_runs.get(prefect_id=plain.id).attempts == {}


def test_they_are_read_again_only_when_there_is_something_new(
    dev: Environment, fake: FakePrefect, a_run: MakeRun
) -> None:
    run = a_run("RUNNING")
    running = {"run_count": 2, "ended_at": None, "state_type": "RUNNING"}
    task = fake.add_task_run(run.prefect_id, name="load-0", **running)
    fake.add_task_states(task.id, state("RUNNING", 1), state("SCHEDULED", 4), state("RUNNING", 9))
    mirror.refresh(dev, [run.prefect_id])
    mirror.refresh(dev, [run.prefect_id])
    assert calls(fake) == 1

    fake.add_task_run(run.prefect_id, id=task.id, name="load-0", run_count=2)
    fake.add_task_states(task.id, state("COMPLETED", 12))
    mirror.refresh(dev, [run.prefect_id])
    assert run.task_runs.get().attempts["spans"] == [[at(1), at(4)], [at(9), at(12)]]
    mirror.refresh(dev, [run.prefect_id])
    assert calls(fake) == 2


def test_a_reading_asks_for_a_few_and_the_next_one_goes_on(dev: Environment, fake: FakePrefect, a_run: MakeRun) -> None:
    run = a_run("RUNNING")
    for number in range(MOST_READ + 3):
        fake.add_task_run(run.prefect_id, name=f"load-{number}", run_count=2)
    mirror.refresh(dev, [run.prefect_id])
    assert calls(fake) == MOST_READ
    mirror.refresh(dev, [run.prefect_id])
    mirror.refresh(dev, [run.prefect_id])
    assert calls(fake) == MOST_READ + 3
