"""Launch an approved request exactly once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.formats import date_format

from flows.catalog import sync
from flows.models import Deployment, Environment
from flows.prefect_api.records import FlowRunRecord, NotFound, PrefectError, Rejected, Uncertain, Unreachable
from runs import changes, dispatch, mirror, requests, tasks
from runs.errors import Refused
from runs.models import AuditEntry, ChangeRequest, Grant, QueuedTask, Run, RunRequest, RunSpec
from runs.models.request import State
from tests import cast
from tests.cast import SCHEMA, by
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db


@pytest.fixture
def queued(deployment: Deployment, requester: User) -> RunRequest:
    return requests.submit(
        deployment, {"month": "2026-10", "token": "hunter22"}, by=by(requester), run_name="october", tags=["x"]
    )


def runs_in(fake: FakePrefect) -> int:
    return sum(1 for _ in fake.active_flow_runs())


def due_now(run_request: RunRequest) -> RunRequest:
    RunRequest.objects.filter(pk=run_request.pk).update(next_attempt_at=timezone.now())
    run_request.refresh_from_db()
    return run_request


def test_it_becomes_one_flow_run_with_the_parameters_asked_for(queued: RunRequest, fake: FakePrefect) -> None:
    dispatch.launch(queued)
    assert queued.state == State.LAUNCHED
    (record,) = fake.flow_runs([queued.flow_run_id])
    assert record.parameters == {"month": "2026-10", "rows": 100, "token": "hunter22"}
    assert record.name == "october"
    assert {"x", f"portal-request:{queued.pk}"} <= set(record.tags)
    assert AuditEntry.objects.get(verb="request.launch").after["flow_run_id"] == str(record.id)


def take_month_from(variable: str, deployment: Deployment, fake: FakePrefect) -> None:
    """Let Prefect take the default month from a variable."""
    fake.variables[variable] = "2026-11"
    month = {"__prefect_kind": "workspace_variable", "variable_name": variable}
    fake.change_deployment(deployment.prefect_id, parameter_defaults={"month": month})
    sync.sync(deployment.environment)
    deployment.refresh_from_db()


def test_a_default_that_prefect_fills_in_is_not_sent(
    deployment: Deployment, fake: FakePrefect, requester: User
) -> None:
    take_month_from("this_month", deployment, fake)
    run_request = requests.submit(deployment, {"rows": 7}, by=by(requester))
    assert "month" not in run_request.spec.parameters
    dispatch.launch(run_request)
    assert run_request.state == State.LAUNCHED
    (call,) = [call for call in fake.calls if call.method == "create_flow_run"]
    assert call.arguments["parameters"] == {"rows": 7, "token": ""}
    (record,) = fake.flow_runs([run_request.flow_run_id])
    assert record.parameters["month"] == "2026-11"


def test_a_rerun_leaves_it_to_prefect_too(deployment: Deployment, fake: FakePrefect, requester: User) -> None:
    take_month_from("this_month", deployment, fake)
    run_request = requests.submit(deployment, {"rows": 7}, by=by(requester))
    again = requests.rerun(run_request, by=by(requester))
    assert again.spec.parameters == run_request.spec.parameters
    dispatch.launch(again)
    assert again.state == State.LAUNCHED


def test_another_variable_needs_another_approval(
    prod_deployment: Deployment, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    take_month_from("this_month", prod_deployment, prod_fake)
    run_request = requests.submit(prod_deployment, {}, by=by(requester), reason="r")
    changes.approve(run_request.change, by=by(approver))
    run_request.refresh_from_db()
    take_month_from("other_month", prod_deployment, prod_fake)
    run_request.refresh_from_db()
    dispatch.launch(run_request)
    assert (run_request.state, runs_in(prod_fake)) == (State.REFUSED, 0)
    refusal = AuditEntry.objects.get(verb="request.launch", outcome=AuditEntry.Outcome.REFUSED)
    assert refusal.after["refused"]["code"] == "definition.changed"


def test_a_second_delivery_does_nothing(queued: RunRequest, fake: FakePrefect) -> None:
    dispatch.launch(queued)
    dispatch.launch(RunRequest.objects.get(pk=queued.pk))
    assert runs_in(fake) == 1
    assert RunRequest.objects.get(pk=queued.pk).attempts == 1


def test_a_claim_keeps_the_other_worker_out(queued: RunRequest, fake: FakePrefect) -> None:
    assert dispatch.claim(queued)
    dispatch.launch(RunRequest.objects.get(pk=queued.pk))
    assert runs_in(fake) == 0


def test_a_claim_of_a_worker_that_died_is_taken_over(queued: RunRequest, fake: FakePrefect) -> None:
    dispatch.claim(queued)
    dispatch.launch(due_now(queued))
    assert queued.state == State.LAUNCHED
    assert runs_in(fake) == 1


def test_prefect_down_it_waits_says_so_and_goes_when_it_is_back(queued: RunRequest, fake: FakePrefect) -> None:
    fake.go_down()
    dispatch.launch(queued)
    assert queued.state == State.APPROVED
    assert queued.message
    assert queued.next_attempt_at > timezone.now()
    fake.come_back()
    dispatch.launch(due_now(queued))
    assert queued.state == State.LAUNCHED
    assert queued.message == ""
    assert runs_in(fake) == 1


def test_a_lost_answer_is_resolved_by_the_same_key(queued: RunRequest, fake: FakePrefect) -> None:
    fake.lose_answer_of_next_create()
    dispatch.launch(queued)
    assert queued.state == State.LAUNCHING
    dispatch.launch(due_now(queued))
    assert queued.state == State.LAUNCHED
    assert runs_in(fake) == 1


def test_while_the_answer_is_unknown_it_cannot_be_taken_back(
    queued: RunRequest, fake: FakePrefect, requester: User
) -> None:
    fake.lose_answer_of_next_create()
    dispatch.launch(queued)
    with pytest.raises(Refused):
        changes.withdraw(queued.change, by=by(requester))


def test_an_unknown_answer_stays_unknown_when_the_next_attempt_reaches_nobody(
    queued: RunRequest, fake: FakePrefect, requester: User
) -> None:
    fake.lose_answer_of_next_create()
    dispatch.launch(queued)
    fake.go_down()
    dispatch.launch(due_now(queued))
    assert queued.state == State.LAUNCHING
    with pytest.raises(Refused):
        changes.withdraw(queued.change, by=by(requester))
    fake.come_back()
    dispatch.launch(due_now(queued))
    assert queued.state == State.LAUNCHED
    assert runs_in(fake) == 1


class Slow(FakePrefect):
    """Answers its first create only when another attempt has come and gone, and then perhaps with a failure."""

    other: Callable[[], None] | None = None
    failure: PrefectError | None = None

    def create_flow_run(self, *args: Any, **fields: Any) -> FlowRunRecord:
        other, self.other = self.other, None
        record = super().create_flow_run(*args, **fields)
        if other:
            other()
            if self.failure:
                raise self.failure
        return record


LATE = [
    None,
    Uncertain("It did not answer."),
    Unreachable("It could not be reached."),
    Rejected("It refused.", status=409),
    NotFound("It has no such deployment."),
]


@pytest.mark.parametrize("failure", LATE, ids=lambda each: type(each).__name__)
def test_an_answer_that_comes_after_a_later_attempt_changes_nothing(
    dev: Environment, requester: User, failure: PrefectError | None
) -> None:
    slow = cast.FAKES[dev.server.api_url] = Slow()
    slow.add_deployment(flow_name="monthly", name="monthly", parameter_schema=SCHEMA)
    sync.sync(dev)
    run_request = requests.submit(Deployment.objects.get(), {"month": "2026-10"}, by=by(requester))

    def meanwhile() -> None:
        """The lease is over: the next attempt sends the same key, and the run is over before the first has heard."""
        again = due_now(RunRequest.objects.get(pk=run_request.pk))
        dispatch.launch(again)
        slow.set_state(again.flow_run_id, "COMPLETED")
        tasks.follow_up(again.environment_id)

    slow.other, slow.failure = meanwhile, failure
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.state == State.COMPLETED
    assert len([call for call in slow.calls if call.method == "create_flow_run"]) == 2
    assert Run.objects.count() == 1
    assert [entry.outcome for entry in AuditEntry.objects.filter(verb="request.launch")] == ["done"]


def test_the_pauses_between_attempts_grow_to_a_minute() -> None:
    pauses = [dispatch.backoff(n).total_seconds() for n in range(1, 9)]
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]


def test_what_prefect_rejects_is_closed_with_its_reason(queued: RunRequest, fake: FakePrefect) -> None:
    fake.reject_next_create("The work queue is gone.")
    dispatch.launch(queued)
    assert queued.state == State.REFUSED
    assert "The work queue is gone." in queued.message
    entry = AuditEntry.objects.get(verb="request.launch")
    assert entry.outcome == "refused"


def test_a_deployment_deleted_after_the_form_closes_it(queued: RunRequest, fake: FakePrefect) -> None:
    fake.remove_deployment(queued.spec.deployment_prefect_id)
    dispatch.launch(queued)
    assert queued.state == State.REFUSED
    assert queued.message


def test_a_schema_that_changed_after_the_request_closes_it(
    queued: RunRequest, fake: FakePrefect, dev: Environment
) -> None:
    fake.change_deployment(queued.spec.deployment_prefect_id, parameter_schema={**SCHEMA, "title": "Other"})
    sync.sync(dev)
    dispatch.launch(queued)
    assert queued.state == State.REFUSED
    assert AuditEntry.objects.get(verb="request.launch").after["refused"]["code"] == "schema.changed"
    assert runs_in(fake) == 0


def test_a_grant_revoked_before_the_launch_bites(queued: RunRequest, fake: FakePrefect) -> None:
    Grant.objects.update(revoked_at=timezone.now())
    dispatch.launch(queued)
    assert queued.state == State.REFUSED
    assert runs_in(fake) == 0


def test_an_approval_that_is_too_old_is_none(
    prod_deployment: Deployment, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    run_request = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="r")
    changes.approve(run_request.change, by=by(approver))
    run_request.refresh_from_db()
    ChangeRequest.objects.filter(pk=run_request.change_id).update(expires_at=timezone.now() - timedelta(seconds=1))
    dispatch.launch(run_request)
    assert run_request.state == State.REFUSED
    assert runs_in(prod_fake) == 0


def test_a_run_of_another_deployment_for_our_key_is_not_taken_for_ours(
    queued: RunRequest, fake: FakePrefect, deployment: Deployment
) -> None:
    other = fake.add_deployment(flow_name="monthly", name="other", parameter_schema=SCHEMA)
    fake.create_flow_run(
        other.id,
        parameters={"month": "2026-10"},
        idempotency_key=queued.idempotency_key,
        name=None,
        tags=[],
        scheduled_for=None,
    )
    dispatch.launch(queued)
    assert queued.state == State.REFUSED
    assert "another deployment" in queued.message


def test_the_same_form_for_another_deployment_of_the_flow_has_another_key(
    queued: RunRequest, fake: FakePrefect, deployment: Deployment
) -> None:
    """Prefect would answer with the other deployment's run: its keys are one set for a flow."""
    other = fake.add_deployment(flow_name="monthly", name="other", parameter_schema=SCHEMA)
    spec = RunSpec(deployment_prefect_id=other.id)
    elsewhere = RunRequest(change=queued.change, spec=spec)
    fake.create_flow_run(
        other.id,
        parameters={"month": "2026-10"},
        idempotency_key=elsewhere.idempotency_key,
        name=None,
        tags=[],
        scheduled_for=None,
    )
    dispatch.launch(queued)
    assert queued.state == State.LAUNCHED
    assert runs_in(fake) == 2


def test_a_run_with_other_parameters_for_our_key_is_not_taken_for_ours(queued: RunRequest, fake: FakePrefect) -> None:
    fake.create_flow_run(
        queued.spec.deployment_prefect_id,
        parameters={"month": "1999-01"},
        idempotency_key=queued.idempotency_key,
        name=None,
        tags=[],
        scheduled_for=None,
    )
    dispatch.launch(queued)
    assert queued.state == State.REFUSED
    assert "other parameters" in queued.message


def test_a_start_in_the_future_waits_here(deployment: Deployment, requester: User, fake: FakePrefect) -> None:
    at = timezone.now() + timedelta(hours=2)
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester), scheduled_for=at)
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.state == State.APPROVED
    assert run_request.next_attempt_at == at - dispatch.AHEAD
    assert date_format(timezone.localtime(at), "j M Y, H:i") in run_request.message
    assert not fake.flow_runs([run.id for run in fake.active_flow_runs()])


def test_a_planned_run_is_handed_over_shortly_before_its_time(
    deployment: Deployment, requester: User, fake: FakePrefect
) -> None:
    at = timezone.now() + timedelta(seconds=20)
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester), scheduled_for=at)
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    (record,) = fake.flow_runs([run_request.flow_run_id])
    assert record.state.type == "SCHEDULED"
    assert record.expected_start_at == at


def test_launches_of_an_environment_are_followed_up_together(
    deployment: Deployment, requester: User, dev: Environment
) -> None:
    for _ in range(3):
        dispatch.launch(requests.submit(deployment, {"month": "2026-10"}, by=by(requester)))
    assert QueuedTask.objects.filter(task="runs.tasks.follow_up").count() == 1
    tasks.follow_up(dev.pk)
    assert RunRequest.objects.filter(run__isnull=False).count() == 3


def test_the_run_s_end_settles_the_request(queued: RunRequest, fake: FakePrefect, dev: Environment) -> None:
    dispatch.launch(queued)
    tasks.follow_up(queued.environment_id)
    queued.refresh_from_db()
    assert queued.run == Run.objects.get()
    assert queued.run.created_by_portal
    fake.set_state(queued.flow_run_id, "FAILED", message="It broke.")
    mirror.refresh(dev, [queued.flow_run_id])
    queued.refresh_from_db()
    assert queued.state == State.FAILED
    assert queued.message == "It broke."


def test_catching_up_queues_only_what_is_due(queued: RunRequest, fake: FakePrefect) -> None:
    QueuedTask.objects.all().delete()
    tasks.requeue_due()
    assert [row.task for row in QueuedTask.objects.all()] == ["runs.tasks.launch"]
    QueuedTask.objects.all().delete()
    dispatch.launch(queued)
    tasks.requeue_due()
    assert "runs.tasks.launch" not in [row.task for row in QueuedTask.objects.all()]
