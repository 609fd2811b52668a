"""Launch the runs of a backfill in few calls, each exactly once."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from runs import changes, dispatch, requests, tasks
from runs.governance import grants
from runs.models import AuditEntry, ChangeRequest, Grant, QueuedTask, RunRequest
from runs.models.request import State
from tests import cast
from tests.cast import SCHEMA, by
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db

# The package has a function of this name.
module = importlib.import_module("runs.dispatch.launch_together")


@pytest.fixture(autouse=True)
def paces() -> None:
    """What was measured of a server of another test is forgotten."""
    module.PACES.clear()


@pytest.fixture
def backfill(deployment: Deployment, requester: User) -> Callable[..., ChangeRequest]:
    def make(number: int = 25, **options: Any) -> ChangeRequest:
        return requests.submit_backfill(
            deployment,
            {"month": "2026-10", "token": "hunter22"},
            {"rows": f"1..{number}"},
            by=by(requester),
            at_once=options.pop("at_once", 1000),
            **options,
        )

    return make


def run_queued() -> None:
    """Run everything that is queued and acts, until nothing is left."""
    for _ in range(200):
        acts = ("runs.tasks.launch", "runs.tasks.launch_backfill", "runs.tasks.advance_changes")
        task = QueuedTask.objects.filter(task__in=acts).order_by("pk").first()
        if task is None:
            return
        name, args = task.task.rpartition(".")[2], task.args.strip("[]")
        task.delete()
        getattr(tasks, name)(*(int(each) for each in args.split(",") if each))
    pytest.fail("The queue does not become empty.")


def calls(fake: FakePrefect, method: str) -> list[Any]:
    return [call.arguments for call in fake.calls if call.method == method]


def states(change: ChangeRequest) -> dict[str, int]:
    found: dict[str, int] = {}
    for state in change.run_requests.values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found


def rows_in(fake: FakePrefect) -> list[int]:
    return sorted(run.parameters["rows"] for run in fake.active_flow_runs())


def make_due() -> None:
    RunRequest.objects.filter(state__in=[State.APPROVED, State.LAUNCHING]).update(next_attempt_at=timezone.now())


def test_sixty_runs_are_created_in_few_calls_and_each_is_read_back(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect
) -> None:
    change = backfill(60)
    run_queued()
    assert states(change) == {State.LAUNCHED: 60}
    assert rows_in(fake) == list(range(1, 61))
    sent = calls(fake, "create_flow_runs")
    assert all(len(each["keys"]) <= 25 for each in sent)
    assert sum(len(each["keys"]) for each in sent) == 60
    assert calls(fake, "create_flow_run") == []
    # Each is the run with its own values, and has an entry of its own.
    for run_request in change.run_requests.select_related("spec", "change"):
        (record,) = fake.flow_runs([run_request.flow_run_id])
        assert record.parameters["rows"] == run_request.spec.parameters["rows"]
        assert record.idempotency_key == run_request.idempotency_key
        assert f"portal-request:{run_request.pk}" in record.tags
    assert AuditEntry.objects.filter(verb="request.launch", outcome="done").count() == 60


def test_what_is_the_same_for_all_is_read_once(backfill: Callable[..., ChangeRequest], fake: FakePrefect) -> None:
    def queries(number: int) -> int:
        change = backfill(number, skip_open=False)
        tasks.advance_changes()
        with CaptureQueriesContext(connection) as found:
            for lane in range(changes.LANES):
                tasks.launch_backfill(change.pk, lane)
        assert states(change) == {State.LAUNCHED: number}
        return len(found)

    assert queries(8) == queries(40)


def test_one_that_prefect_rejects_fails_alone(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect, deployment: Deployment
) -> None:
    """Prefect's schema is stricter than the one that was read: one of 25 does not fit."""
    change = backfill(25)
    strict = {**SCHEMA, "properties": {**SCHEMA["properties"], "rows": {"type": "integer", "not": {"const": 7}}}}
    fake.change_deployment(deployment.prefect_id, parameter_schema=strict)
    run_queued()
    assert states(change) == {State.LAUNCHED: 24, State.REFUSED: 1}
    assert change.run_requests.get(state=State.REFUSED).spec.parameters["rows"] == 7
    # Asked once more singly, with the same key.
    (single,) = calls(fake, "create_flow_run")
    assert single["idempotency_key"] == change.run_requests.get(state=State.REFUSED).idempotency_key


def test_an_id_that_was_never_stored_is_no_run(backfill: Callable[..., ChangeRequest], fake: FakePrefect) -> None:
    change = backfill(10)
    lost = change.run_requests.order_by("pk")[3]
    fake.never_stored = {lost.idempotency_key}
    run_queued()
    assert states(change) == {State.LAUNCHED: 10}
    assert rows_in(fake) == list(range(1, 11))
    assert [each["idempotency_key"] for each in calls(fake, "create_flow_run")] == [lost.idempotency_key]


def test_a_run_with_other_values_for_one_of_the_keys_is_not_taken_for_ours(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect, deployment: Deployment
) -> None:
    change = backfill(10)
    taken = change.run_requests.order_by("pk")[2]
    fake.create_flow_run(
        deployment.prefect_id,
        parameters={"month": "2026-10", "rows": 999},
        idempotency_key=taken.idempotency_key,
        name=None,
        tags=[],
        scheduled_for=None,
    )
    run_queued()
    assert states(change) == {State.LAUNCHED: 9, State.REFUSED: 1}
    taken.refresh_from_db()
    assert taken.state == State.REFUSED
    refusal = AuditEntry.objects.get(verb="request.launch", outcome="refused")
    assert refusal.after["refused"]["code"] == "run.differs"


def test_a_lost_answer_is_resolved_singly_by_the_same_keys(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect
) -> None:
    change = backfill(20)
    fake.lose_answer_of_next_create()
    run_queued()
    assert State.LAUNCHING in states(change)
    make_due()
    tasks.requeue_due()
    run_queued()
    assert states(change) == {State.LAUNCHED: 20}
    assert rows_in(fake) == list(range(1, 21))


def test_prefect_down_they_wait_and_go_when_it_is_back(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect
) -> None:
    change = backfill(20)
    fake.go_down()
    run_queued()
    assert states(change) == {State.APPROVED: 20}
    fake.come_back()
    make_due()
    tasks.requeue_due()
    run_queued()
    assert states(change) == {State.LAUNCHED: 20}
    assert rows_in(fake) == list(range(1, 21))


class Sluggish(FakePrefect):
    """Takes its time for each run, on a clock of its own."""

    def create_flow_runs(self, deployment_id: Any, runs: Any) -> Any:
        self.clock.now += self.seconds * len(runs)
        return super().create_flow_runs(deployment_id, runs)

    seconds = 0.5
    clock: Any = None


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_a_server_that_is_slow_gets_fewer_runs_in_a_call(
    dev: Environment, requester: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = cast.FAKES[dev.server.api_url] = Sluggish()
    slow.clock = Clock()
    monkeypatch.setattr(module, "time", slow.clock)
    slow.add_deployment(flow_name="monthly", name="monthly", parameter_schema=SCHEMA)
    sync.sync(dev)
    change = requests.submit_backfill(
        Deployment.objects.get(), {"month": "2026-10"}, {"rows": "1..120"}, by=by(requester), at_once=120
    )
    run_queued()
    assert states(change) == {State.LAUNCHED: 120}
    sizes = [len(call["keys"]) for call in calls(slow, "create_flow_runs")]
    assert sizes[0] == 5
    assert max(sizes) == 8
    assert module.number_for(dev.server.api_url) == 8


def test_without_such_a_call_each_is_created_singly(backfill: Callable[..., ChangeRequest], fake: FakePrefect) -> None:
    fake.has_bulk = False
    change = backfill(8)
    run_queued()
    assert states(change) == {State.LAUNCHED: 8}
    assert len(calls(fake, "create_flow_run")) == 8


def test_a_grant_revoked_before_the_launch_refuses_each(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect
) -> None:
    change = backfill(5)
    Grant.objects.update(revoked_at=timezone.now())
    run_queued()
    assert states(change) == {State.REFUSED: 5}
    assert rows_in(fake) == []


def test_the_right_to_backfill_is_asked_again_with_the_values_of_each(
    backfill: Callable[..., ChangeRequest], fake: FakePrefect, requester: User, dev: Environment
) -> None:
    change = backfill(5, on_failure=ChangeRequest.OnFailure.GO_ON)
    grants.grant(
        by=_administrator(),
        person=requester,
        verbs=["backfill"],
        effect="deny",
        environment=dev,
        predicate={"properties": {"rows": {"minimum": 4}}, "required": ["rows"]},
    )
    run_queued()
    assert states(change) == {State.LAUNCHED: 3, State.REFUSED: 2}
    assert rows_in(fake) == [1, 2, 3]


def _administrator() -> Any:
    return by(User.objects.create_superuser("root-of-all"))


class Killed(BaseException):
    """The process ends here."""


class Killing(FakePrefect):
    """Ends the process in the middle of its first calls: before it has created anything, in part, or after all."""

    kills = 4

    def create_flow_runs(self, deployment_id: Any, runs: Any) -> Any:
        if self.kills:
            self.kills -= 1
            done = (0, len(runs) // 2, len(runs))[self.kills % 3]
            super().create_flow_runs(deployment_id, runs[:done])
            raise Killed
        return super().create_flow_runs(deployment_id, runs)


def test_sixty_are_exact_through_kills_before_within_and_after_the_call(dev: Environment, requester: User) -> None:
    killing = cast.FAKES[dev.server.api_url] = Killing()
    killing.add_deployment(flow_name="monthly", name="monthly", parameter_schema=SCHEMA)
    sync.sync(dev)
    change = requests.submit_backfill(
        Deployment.objects.get(), {"month": "2026-10"}, {"rows": "1..60"}, by=by(requester), at_once=60
    )
    for _ in range(20):
        try:
            run_queued()
        except Killed:
            # Its leases end, and another process takes over.
            make_due()
            tasks.requeue_due()
            continue
        if states(change) == {State.LAUNCHED: 60}:
            break
        make_due()
        tasks.requeue_due()
    assert states(change) == {State.LAUNCHED: 60}
    assert rows_in(killing) == list(range(1, 61))
    assert killing.kills == 0
    ids = set(change.run_requests.values_list("flow_run_id", flat=True))
    assert len(ids) == 60
    assert AuditEntry.objects.filter(verb="request.launch", outcome="done").count() == 60


def test_a_late_answer_changes_nothing(backfill: Callable[..., ChangeRequest], fake: FakePrefect) -> None:
    change = backfill(3)
    tasks.advance_changes()
    claimed = list(change.run_requests.select_related("change", "spec", "environment"))
    assert all(dispatch.claim(each) for each in claimed)
    make_due()
    tasks.requeue_due()
    run_queued()
    assert states(change) == {State.LAUNCHED: 3}
    entries = AuditEntry.objects.count()
    changes.launched_together([(each, each.pk) for each in claimed])  # type: ignore[misc]
    assert AuditEntry.objects.count() == entries
    assert states(change) == {State.LAUNCHED: 3}
