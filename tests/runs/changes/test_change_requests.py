"""Change requests with several runs: what is approved together, when each starts, and what stays held."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from flows.prefect_api.records import FlowRunRecord
from runs import changes, dispatch, mirror, requests, tasks
from runs.access.decisions import Forbidden
from runs.actors import Actor
from runs.audit import reconcile
from runs.governance import grants
from runs.models import AuditEntry, ChangeRequest, QueuedTask, RunRequest
from runs.models.request import State
from runs.requests import Spec
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db

Kind = ChangeRequest.Kind
MONTH = {"type": "string", "pattern": "^2026-(0[1-9]|1[0-2])$"}


@pytest.fixture
def planner(requester: User, prod: Environment) -> User:
    """The requester, who may ask for backfills and schedules too."""
    grants.grant(by=Actor.system(), person=requester, verbs=["backfill", "schedule"], environment=prod)
    return requester


@pytest.fixture
def submit(planner: User, prod_deployment: Deployment) -> Callable[..., ChangeRequest]:
    def make(specs: list[Spec], kind: ChangeRequest.Kind, **options: Any) -> ChangeRequest:
        return requests.submit_change(specs, by=by(planner), kind=kind, reason="month end", **options)

    return make


def backfill_of(deployment: Deployment, number: int) -> list[Spec]:
    return [Spec(deployment, {"month": "2026-10", "rows": 1 + place}) for place in range(number)]


def launch_all() -> int:
    """Run the queued launches, and return how many run requests they launched."""
    before = RunRequest.objects.filter(state=State.LAUNCHED).count()
    launches = {"runs.tasks.launch": tasks.launch, "runs.tasks.launch_backfill": tasks.launch_backfill}
    while queued := list(QueuedTask.objects.filter(task__in=launches).order_by("pk")):
        QueuedTask.objects.all().delete()
        for task in queued:
            launches[task.task](*json.loads(task.args))
    return RunRequest.objects.filter(state=State.LAUNCHED).count() - before


def sent_to(fake: FakePrefect) -> list[FlowRunRecord]:
    return list(fake.active_flow_runs())


def states(change: ChangeRequest) -> list[str]:
    return list(change.run_requests.order_by("spec__position", "occurrence").values_list("state", flat=True))


def test_a_run_has_the_number_of_its_change_request(
    prod_deployment: Deployment, requester: User, submit: Callable[..., ChangeRequest]
) -> None:
    submit(backfill_of(prod_deployment, 3), Kind.BACKFILL)
    run_request = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="r")
    assert run_request.pk == run_request.change_id
    assert set(ChangeRequest.objects.values_list("pk", flat=True)) & set(
        RunRequest.objects.values_list("pk", flat=True)
    ) == {run_request.pk}


def test_a_thousand_runs_are_approved_once_and_launched(
    submit: Callable[..., ChangeRequest], prod_deployment: Deployment, prod_fake: FakePrefect, approver: User
) -> None:
    change = submit(backfill_of(prod_deployment, 1000), Kind.BACKFILL)
    assert set(states(change)) == {State.HELD}
    changes.approve(change, by=by(approver))
    assert launch_all() == 1000
    assert set(states(change)) == {State.LAUNCHED}
    sent = sorted(run.parameters["rows"] for run in sent_to(prod_fake))
    assert sent == list(range(1, 1001))
    tasks.advance_changes()
    change.refresh_from_db()
    assert change.state == ChangeRequest.State.CLOSED
    assert AuditEntry.objects.filter(verb="request.approve", outcome="done").count() == 1
    assert reconcile() == ""


def test_only_as_many_run_at_once_as_were_asked_for(
    submit: Callable[..., ChangeRequest], prod_deployment: Deployment, prod_fake: FakePrefect, approver: User
) -> None:
    change = submit(backfill_of(prod_deployment, 5), Kind.BACKFILL, at_once=2)
    changes.approve(change, by=by(approver))
    assert launch_all() == 2
    tasks.advance_changes()
    assert launch_all() == 0
    first = change.run_requests.get(spec__position=0)
    first.refresh_from_db()
    assert first.flow_run_id
    prod_fake.set_state(first.flow_run_id, "COMPLETED")
    mirror.refresh(prod_deployment.environment, [first.flow_run_id])
    tasks.advance_changes()
    assert launch_all() == 1
    assert states(change) == [State.COMPLETED, State.LAUNCHED, State.LAUNCHED, State.HELD, State.HELD]


def test_what_is_rejected_or_withdrawn_takes_all_its_runs_along(
    submit: Callable[..., ChangeRequest], prod_deployment: Deployment, planner: User, approver: User
) -> None:
    rejected = submit(backfill_of(prod_deployment, 3), Kind.BACKFILL)
    changes.reject(rejected, by=by(approver), reason="not now")
    assert set(states(rejected)) == {State.REJECTED}
    withdrawn = submit(backfill_of(prod_deployment, 3), Kind.BACKFILL, at_once=1)
    changes.approve(withdrawn, by=by(approver))
    assert launch_all() == 1
    changes.withdraw(withdrawn, by=by(planner), reason="enough")
    assert states(withdrawn) == [State.LAUNCHED, State.WITHDRAWN, State.WITHDRAWN]
    tasks.advance_changes()
    assert launch_all() == 0
    assert reconcile() == ""


def test_what_was_approved_together_is_approved_whole(
    submit: Callable[..., ChangeRequest], prod: Environment, prod_deployment: Deployment, planner: User
) -> None:
    """A grant for some of the values is not enough for all of them."""
    some = person("some")
    limited = {"properties": {"rows": {"maximum": 2}}}
    grants.grant(by=Actor.system(), person=some, verbs=["see"], environment=prod)
    grants.grant(by=Actor.system(), person=some, verbs=["approve"], environment=prod, predicate=limited)
    change = submit(backfill_of(prod_deployment, 3), Kind.BACKFILL)
    with pytest.raises(Forbidden):
        changes.approve(change, by=by(some))
    few = submit(backfill_of(prod_deployment, 2), Kind.BACKFILL)
    changes.approve(few, by=by(some))
    assert set(states(few)) == {State.APPROVED}


def test_a_backfill_needs_its_own_verb(prod_deployment: Deployment) -> None:
    plain = person("plain")
    verbs = ["see", "trigger", "schedule"]
    grants.grant(by=Actor.system(), person=plain, verbs=verbs, environment=prod_deployment.environment)
    with pytest.raises(Forbidden):
        requests.submit_change(
            backfill_of(prod_deployment, 2), by=by(plain), kind=ChangeRequest.Kind.BACKFILL, reason="r"
        )


def test_a_schedule_is_approved_once_and_runs_at_each_due_time(
    submit: Callable[..., ChangeRequest], prod_deployment: Deployment, prod_fake: FakePrefect, approver: User
) -> None:
    spec = Spec(prod_deployment, {"month": "2026-10"}, max_runs=3, valid_until=timezone.now() + timedelta(days=30))
    change = submit([spec], Kind.SCHEDULE)
    assert states(change) == []
    changes.approve(change, by=by(approver))
    row = change.specs.get()
    now = timezone.now()
    for hour in range(4):
        due = now - timedelta(hours=hour)
        requests.add_occurrence(row, due.isoformat(), scheduled_for=due)
        again = requests.add_occurrence(row, due.isoformat(), scheduled_for=due)
        assert again.occurrence == due.isoformat()
    tasks.advance_changes()
    assert launch_all() == 3
    assert sorted(states(change)) == [State.HELD, *[State.LAUNCHED] * 3]
    assert "at most 3 runs" in change.run_requests.get(state=State.HELD).message
    assert len(sent_to(prod_fake)) == 3
    change.refresh_from_db()
    assert change.state == ChangeRequest.State.APPROVED
    assert reconcile() == ""


def test_no_occurrence_is_released_before_the_approval_or_after_the_end(
    submit: Callable[..., ChangeRequest], prod_deployment: Deployment, approver: User
) -> None:
    spec = Spec(prod_deployment, {"month": "2026-10"}, max_runs=None, valid_until=timezone.now() + timedelta(hours=1))
    change = submit([spec], Kind.SCHEDULE)
    requests.add_occurrence(change.specs.get(), "1")
    tasks.advance_changes()
    assert states(change) == [State.HELD]
    changes.approve(change, by=by(approver))
    assert states(change) == [State.APPROVED]
    over = submit([Spec(prod_deployment, {"month": "2026-10"}, valid_until=timezone.now())], Kind.SCHEDULE)
    changes.approve(over, by=by(approver))
    requests.add_occurrence(over.specs.get(), "1")
    tasks.advance_changes()
    assert states(over) == [State.HELD]
    assert "was valid until" in over.run_requests.get().message


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({"month": "2026-11"}, State.LAUNCHED),
        ({"month": "2025-11"}, State.HELD),
        ({"month": 202611}, State.HELD),
        ({"month": "2026-11", "rows": 9}, State.HELD),
        ({}, State.HELD),
    ],
)
def test_a_mapped_value_outside_what_was_approved_stays_held(
    submit: Callable[..., ChangeRequest],
    prod_deployment: Deployment,
    prod_fake: FakePrefect,
    approver: User,
    values: dict[str, Any],
    state: State,
) -> None:
    change = submit([Spec(prod_deployment, {"rows": 5}, mapped={"month": MONTH})], Kind.SCHEDULE)
    changes.approve(change, by=by(approver))
    run_request = requests.add_occurrence(change.specs.get(), "step 1", values=values)
    tasks.advance_changes()
    launch_all()
    run_request.refresh_from_db()
    assert run_request.state == state
    assert bool(run_request.message) == (state == State.HELD)
    sent = [run.parameters for run in sent_to(prod_fake)]
    assert [each["month"] for each in sent] == ([values["month"]] if state == State.LAUNCHED else [])
    assert "2025-11" not in run_request.message


def test_a_secret_is_never_mapped(
    submit: Callable[..., ChangeRequest], prod_deployment: Deployment, approver: User
) -> None:
    spec = Spec(prod_deployment, {"month": "2026-10"}, mapped={"token": {"type": "string"}})
    change = submit([spec], Kind.SCHEDULE)
    changes.approve(change, by=by(approver))
    requests.add_occurrence(change.specs.get(), "1", values={"token": "s3cret"})
    tasks.advance_changes()
    run_request = change.run_requests.get()
    assert run_request.state == State.HELD
    assert "s3cret" not in run_request.message


def test_an_occurrence_written_past_the_portal_stays_held(
    submit: Callable[..., ChangeRequest], prod_deployment: Deployment, approver: User
) -> None:
    change = submit([Spec(prod_deployment, {"month": "2026-10"}, max_runs=None)], Kind.SCHEDULE)
    changes.approve(change, by=by(approver))
    RunRequest.objects.create(
        change=change,
        spec=change.specs.get(),
        environment=change.environment,
        deployment=prod_deployment,
        occurrence="forged",
        state=State.HELD,
    )
    tasks.advance_changes()
    assert states(change) == [State.HELD]
    # Nor does it launch when it is moved on past the portal as well.
    RunRequest.objects.update(state=State.APPROVED)
    forged = RunRequest.objects.get()
    dispatch.launch(forged)
    assert forged.state == State.REFUSED
    assert "is not signed" in reconcile()


def test_nothing_is_added_to_a_request_for_runs_that_are_fixed(
    submit: Callable[..., ChangeRequest], prod_deployment: Deployment
) -> None:
    change = submit(backfill_of(prod_deployment, 2), Kind.BACKFILL)
    with refused("occurrence.closed"):
        requests.add_occurrence(change.specs.first(), "one more")


def test_an_emergency_is_for_a_few_fixed_runs_only(
    submit: Callable[..., ChangeRequest], prod: Environment, prod_deployment: Deployment
) -> None:
    firefighter = person("firefighter")
    grants.grant(by=Actor.system(), person=firefighter, verbs=["see", "break glass"], environment=prod)
    schedule = submit([Spec(prod_deployment, {"month": "2026-10"}, max_runs=None)], Kind.SCHEDULE)
    mapped = submit([Spec(prod_deployment, {}, mapped={"month": MONTH})], Kind.CHAIN)
    for change in (schedule, mapped, submit(backfill_of(prod_deployment, 6), Kind.BACKFILL)):
        with refused("override.too_many"):
            changes.break_glass(change, by=by(firefighter), reason="fire")
    few = submit(backfill_of(prod_deployment, 5), Kind.BACKFILL)
    changes.break_glass(few, by=by(firefighter), reason="fire")
    assert set(states(few)) == {State.APPROVED}


def test_what_an_emergency_did_not_start_in_time_stays_held(
    submit: Callable[..., ChangeRequest], prod: Environment, prod_deployment: Deployment, approver: User
) -> None:
    firefighter = person("firefighter")
    grants.grant(by=Actor.system(), person=firefighter, verbs=["see", "break glass"], environment=prod)
    change = submit(backfill_of(prod_deployment, 2), Kind.BACKFILL, at_once=1)
    changes.break_glass(change, by=by(firefighter), reason="fire")
    assert launch_all() == 1
    # As if the override had ended, and its first run too.
    ended = timezone.now() - timedelta(minutes=1)
    ChangeRequest.objects.filter(pk=change.pk).update(expires_at=ended)
    RunRequest.objects.filter(spec__position=0).update(state=State.COMPLETED)
    later = submit(backfill_of(prod_deployment, 1), Kind.BACKFILL)
    changes.approve(later, by=by(approver))
    tasks.advance_changes()
    assert states(change) == [State.COMPLETED, State.HELD]
    assert "ended" in change.run_requests.get(state=State.HELD).message
    assert states(later) == [State.APPROVED]


def test_runs_of_two_environments_are_two_requests(
    submit: Callable[..., ChangeRequest], deployment: Deployment, prod_deployment: Deployment
) -> None:
    specs = [Spec(each, {"month": "2026-10"}) for each in (deployment, prod_deployment)]
    with refused("change.environments"):
        submit(specs, Kind.BACKFILL)


def test_every_part_of_a_request_is_signed(
    submit: Callable[..., ChangeRequest], prod_deployment: Deployment, approver: User
) -> None:
    """A spec added past the portal changes what the approval is for."""
    change = submit(backfill_of(prod_deployment, 2), Kind.BACKFILL)
    extra = change.specs.get(position=1)
    extra.pk, extra.position = None, 2
    extra.save(force_insert=True)
    with refused("approval.stale"):
        changes.approve(change, by=by(approver))
    assert "is not signed" in reconcile()
