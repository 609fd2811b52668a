"""A chain starts each step exactly once, whatever is killed in the middle of whatever."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from flows.models import Environment
from runs import consumers, mirror, tasks
from runs.audit import reconcile
from runs.automation import chain_steps, chains
from runs.models import AuditEntry, ChangeRequest, QueuedTask, RunRequest
from runs.models.request import State
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.made_chains import ACTS, deploy, make, step

pytestmark = pytest.mark.django_db
STEPS, WIDTH, KILLS = 50, 10, 20


class Killed(BaseException):
    """Nothing catches it: what is open is rolled back, as when the process is gone."""


@contextmanager
def killed_before(statement: int) -> Iterator[None]:
    """Kill what is done within before so many statements to the database."""
    left = statement

    def execute(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        nonlocal left
        # The transactions of the product are savepoints here, which Postgres would roll back or commit by itself.
        left -= "SAVEPOINT" not in str(sql)
        if left == 0:
            left = -1
            raise Killed
        return execute(sql, params, many, context)

    with connection.execute_wrapper(execute):
        yield


def is_killed(act: Callable[[], object], statement: int) -> bool:
    try:
        with killed_before(statement):
            act()
    except Killed:
        return True
    return False


def request_run(environment: Environment, user: User, *steps: dict[str, Any]) -> ChangeRequest:
    return chains.request_run(make(environment, user, *steps), {"month": "2026-10"}, by=by(user))


def test_a_look_that_is_killed_before_any_statement_leaves_nothing_half_done(
    dev: Environment, fake: FakePrefect, requester: User
) -> None:
    deploy(dev, fake, "ingest", "train")
    change = request_run(dev, requester, step("ingest"), step("train"))
    for statement in range(1, 200):
        started = change.run_requests.count()
        if not is_killed(partial(chain_steps.advance, change.pk), statement):
            break
        # All of it or nothing.
        assert started == change.run_requests.count() == 0
    else:
        pytest.fail("it never came to an end")
    assert statement > 20
    chain_steps.advance(change.pk)
    assert list(change.run_requests.values_list("occurrence", "state")) == [("1", State.APPROVED)] * 2
    assert AuditEntry.objects.filter(verb="chain.step").count() == 2


def test_fifty_steps_run_once_each_through_kills(dev: Environment, fake: FakePrefect, requester: User) -> None:
    chance = random.Random(2026)
    keys = [f"s{number}" for number in range(STEPS)]
    deploy(dev, fake, *keys)
    # Layers, each step of which waits for two of the one before.
    steps = [
        step(key, *(keys[number - number % WIDTH - WIDTH + (number + more) % WIDTH] for more in (0, 1)))
        if number >= WIDTH
        else step(key)
        for number, key in enumerate(keys)
    ]
    change = request_run(dev, requester, *steps)
    kills = 0

    def go_on() -> None:
        nonlocal kills
        while True:
            kills += is_killed(consumers.deliver, chance.randint(1, 60))
            RunRequest.objects.filter(state=State.LAUNCHING).update(next_attempt_at=timezone.now())
            tasks.requeue_due()
            task = QueuedTask.objects.filter(task__in=ACTS).order_by("pk").first()
            if task is None:
                return
            act = partial(ACTS[task.task], *json.loads(task.args))
            if is_killed(act, chance.randint(1, 120)):
                kills += 1
            elif chance.random() < 0.8:
                # The others run twice, as after a kill between the commit and the end of the task.
                task.delete()

    for _ in range(3 * STEPS // WIDTH):
        go_on()
        launched = change.run_requests.filter(state=State.LAUNCHED).values_list("flow_run_id", flat=True)
        running = [pk for pk in launched if pk]
        if not running:
            break
        for flow_run_id in running:
            fake.set_state(flow_run_id, "COMPLETED")
        mirror.refresh_state(dev, running)
        chain_steps.advance(change.pk)
    change.refresh_from_db()
    assert change.state == ChangeRequest.State.CLOSED
    assert kills >= KILLS
    # Each step is one attempt, which is one flow run.
    assert Counter(change.run_requests.values_list("occurrence", "state")) == {("1", State.COMPLETED): STEPS}
    made = Counter(run.deployment_id for run in fake.flow_runs_ended_since(datetime.min.replace(tzinfo=UTC)))
    assert sorted(made.values()) == [1] * STEPS
    assert AuditEntry.objects.filter(verb="chain.step").count() == STEPS
    assert reconcile() == ""
