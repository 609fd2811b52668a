"""Failed runs are retried in place: who may, when, and only as a run that could start now without an approval."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from flows.prefect_api.records import Uncertain
from runs import actions, audit, changes, definitions, dispatch, mirror, requests
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.changes import queries
from runs.definitions import launch_check
from runs.governance import freezes, grants
from runs.models import Action, Approval, AuditEntry, ChangeRequest, Policy, QueuedTask, Run, RunRequest, Verb
from runs.models.action import Kind, State
from runs.models.request import State as RequestState
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.refusals import forbidden, refused

pytestmark = pytest.mark.django_db


def ended(deployment: Deployment, fake: FakePrefect, requester: User, state: str = "FAILED") -> Run:
    """The run of a request, which has ended."""
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester), reason="r")
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.flow_run_id is not None
    for step in ("PENDING", "RUNNING", state):
        fake.set_state(run_request.flow_run_id, step)
    mirror.refresh(deployment.environment, [run_request.flow_run_id])
    return Run.objects.select_related("environment").get(run_request=run_request)


@pytest.fixture
def failed(deployment: Deployment, fake: FakePrefect, requester: User) -> Run:
    return ended(deployment, fake, requester)


def carried_out(action: Action) -> Action:
    dispatch.carry_out(Action.objects.get(pk=action.pk))
    action.refresh_from_db()
    return action


def sent(fake: FakePrefect) -> int:
    return len([call for call in fake.calls if call.method == "retry"])


def entries() -> list[tuple[str, str]]:
    found = AuditEntry.objects.filter(verb__in=["run.retry", *actions.RESULTS[Kind.RETRY].values()])
    return list(found.order_by("sequence").values_list("verb", "outcome"))


@pytest.mark.parametrize("state", ["FAILED", "CRASHED"])
def test_a_failed_run_starts_again_as_the_same_run_and_its_request_follows(
    state: str, deployment: Deployment, fake: FakePrefect, requester: User
) -> None:
    run = ended(deployment, fake, requester, state)
    assert RunRequest.objects.get().state == RequestState.FAILED
    action = requests.retry(run, by=by(requester), reason="the source is back")
    assert QueuedTask.objects.filter(task="runs.tasks.carry_out", args=f"[{action.pk}]").exists()
    assert carried_out(action).state == State.DONE
    run.refresh_from_db()
    assert (run.state_type, run.state_name, run.ended_at) == ("SCHEDULED", "AwaitingRetry", None)
    assert RunRequest.objects.get().state == RequestState.LAUNCHED
    assert entries() == [("run.retry", "done"), ("run.retried", "done")]
    assert AuditEntry.objects.get(verb="run.retry").reason == "the source is back"


@pytest.mark.parametrize("state", ["COMPLETED", "CANCELLED", "RUNNING"])
def test_only_a_failed_run_is_retried(state: str, deployment: Deployment, fake: FakePrefect, requester: User) -> None:
    with refused("retry.not_failed"):
        requests.retry(ended(deployment, fake, requester, state), by=by(requester))
    assert not Action.objects.exists()


def test_a_run_from_outside_the_portal_is_not_retried(a_run: Callable[..., Run], requester: User) -> None:
    with refused("retry.external"):
        requests.retry(a_run("FAILED"), by=by(requester))


def test_it_needs_the_permission_to_run_it(failed: Run, requester: User, viewer: User) -> None:
    with forbidden(Verb.RERUN):
        requests.retry(failed, by=by(viewer))
    grants.grant(by=Actor.system(), person=requester, verbs=["trigger"], effect="deny")
    with forbidden(Verb.TRIGGER, "access.denied"):
        requests.retry(failed, by=by(requester))
    assert not Action.objects.exists()


def test_another_person_needs_the_permission_to_re_run(failed: Run, dev: Environment) -> None:
    other = person("other")
    grants.grant(by=Actor.system(), person=other, verbs=["see", "trigger"], environment=dev)
    with forbidden(Verb.RERUN):
        requests.retry(failed, by=by(other))
    grants.grant(by=Actor.system(), person=other, verbs=["rerun"], environment=dev)
    requests.retry(failed, by=by(other))


def test_it_is_decided_for_the_values_of_the_run(failed: Run, requester: User) -> None:
    predicate = {"properties": {"month": {"const": "2026-10"}}}
    grants.grant(by=Actor.system(), person=requester, verbs=["rerun", "trigger"], effect="deny", predicate=predicate)
    with forbidden(Verb.RERUN, "access.denied"):
        requests.retry(failed, by=by(requester))


def test_the_second_person_learns_of_the_first(failed: Run, requester: User) -> None:
    requests.retry(failed, by=by(requester))
    with refused("retry.pending"):
        requests.retry(failed, by=by(requester))


def test_a_policy_can_require_a_ticket(failed: Run, requester: User, dev: Environment) -> None:
    Policy.objects.create(environment=dev, name="Tickets", needs_ticket=True)
    with refused("ticket.required"):
        requests.retry(failed, by=by(requester))


def test_where_a_run_needs_an_approval_a_retry_does_too(failed: Run, requester: User, dev: Environment) -> None:
    action = requests.retry(failed, by=by(requester))
    assert isinstance(action, Action)
    Environment.objects.update(needs_approval=True)
    assert carried_out(action).state == State.FAILED
    assert "needs an approval" in action.message
    assert isinstance(requests.retry(failed, by=by(requester)), ChangeRequest)
    assert entries()[-1] == ("run.retry_failed", "refused")
    assert AuditEntry.objects.latest("sequence").verb == "request.submit"
    assert not sent_by_any()


def test_an_approval_is_for_one_start(
    deployment: Deployment, fake: FakePrefect, requester: User, approver: User
) -> None:
    run = approved_and_failed(deployment, fake, requester, approver)
    Environment.objects.update(needs_approval=False)
    retry = requests.retry(run, by=by(requester))
    assert isinstance(retry, ChangeRequest)
    assert not Action.objects.exists()
    # It waits for one more, although the rules ask for none any more, and that starts it.
    assert retry.state == ChangeRequest.State.WAITING
    changes.approve(retry, by=by(approver), displayed_digest=retry.digest)
    assert carried_out(Action.objects.get()).state == State.DONE
    assert sent(fake) == 1


# With an approval


def sent_by_any() -> int:
    return Action.objects.filter(sent_at__isnull=False).count()


def approved_and_failed(
    deployment: Deployment, fake: FakePrefect, requester: User, approver: User, **options: Any
) -> Run:
    """The run of a request that was approved, which has failed."""
    Environment.objects.update(needs_approval=True)
    run_request = requests.submit(deployment, {"month": "2026-10", "token": "hush"}, by=by(requester), **options)
    changes.approve(run_request.change, by=by(approver), displayed_digest=run_request.change.digest)
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.flow_run_id is not None
    fail(deployment, fake, run_request.flow_run_id)
    return Run.objects.get()


def fail(deployment: Deployment, fake: FakePrefect, flow_run_id: Any) -> None:
    for step in ("PENDING", "RUNNING", "FAILED"):
        fake.set_state(flow_run_id, step)
    mirror.refresh(deployment.environment, [flow_run_id])


def waiting_retry(run: Run, requester: User) -> ChangeRequest:
    change = requests.retry(run, by=by(requester), reason="again")
    assert isinstance(change, ChangeRequest)
    return change


def test_a_retry_that_needs_an_approval_waits_for_it(
    deployment: Deployment, fake: FakePrefect, requester: User, approver: User
) -> None:
    run = approved_and_failed(deployment, fake, requester, approver)
    change = waiting_retry(run, requester)
    assert (change.kind, change.state, change.reason) == ("retry", "waiting", "again")
    assert not Action.objects.exists()
    # 1. Asked for once, found by those who can approve it, and not approved by its requester.
    with refused("retry.pending"):
        requests.retry(run, by=by(requester))
    assert change.pk in queries.waiting_for(Permissions.of(by(approver)))
    with refused("approval.own"):
        changes.approve(change, by=by(requester))
    # 2. Approved, the same run starts again.
    changes.approve(change, by=by(approver), displayed_digest=change.digest)
    change.refresh_from_db()
    assert change.state == "closed"
    action = Action.objects.get()
    assert (action.requested_by, action.change, action.reason) == (requester, change, "again")
    assert carried_out(action).state == State.DONE
    assert RunRequest.objects.get().state == RequestState.LAUNCHED
    assert entries() == [("run.retry", "refused"), ("run.retried", "done")]
    assert not audit.reconcile()
    # 3. It was for one retry: the next one needs another approval.
    fail(deployment, fake, run.prefect_id)
    assert waiting_retry(Run.objects.get(), requester).pk != change.pk


def test_a_rejected_retry_does_not_start(
    deployment: Deployment, fake: FakePrefect, requester: User, approver: User
) -> None:
    run = approved_and_failed(deployment, fake, requester, approver)
    change = waiting_retry(run, requester)
    changes.reject(change, by=by(approver), reason="The source is still down.")
    assert not Action.objects.exists()
    changes.withdraw(waiting_retry(run, requester), by=by(requester))
    assert not Action.objects.exists()


def test_an_approved_retry_is_for_the_deployment_as_it_was_then(
    deployment: Deployment, fake: FakePrefect, requester: User, approver: User
) -> None:
    run = approved_and_failed(deployment, fake, requester, approver)
    # 1. A fix is deployed after the failure: it is what the approver of the retry sees and approves.
    fake.change_deployment(deployment.prefect_id, entrypoint="fixed.py:flow")
    launch_check.READINGS.clear()
    sync.sync(deployment.environment)
    change = waiting_retry(run, requester)
    assert change.specs.get().definition_fingerprint != run.run_request.spec.definition_fingerprint
    changes.approve(change, by=by(approver), displayed_digest=change.digest)
    first = carried_out(Action.objects.get())
    assert (first.state, first.message) == (State.DONE, "")
    # 2. When it starts, that definition is the approved one: no alarm.
    fake.set_state(run.prefect_id, "RUNNING")
    mirror.refresh(deployment.environment, [run.prefect_id])
    definitions.check_started(RunRequest.objects.get())
    assert not AuditEntry.objects.filter(verb="definition.moved").exists()
    # 3. What is deployed between the approval and the start is refused.
    fail(deployment, fake, run.prefect_id)
    again = waiting_retry(Run.objects.get(), requester)
    changes.approve(again, by=by(approver), displayed_digest=again.digest)
    fake.change_deployment(deployment.prefect_id, entrypoint="unseen.py:flow")
    launch_check.READINGS.clear()
    last = carried_out(Action.objects.latest("pk"))
    assert (last.state, "was changed in Prefect" in last.message) == (State.FAILED, True)


def test_an_approver_who_lost_the_permission_does_not_count(
    deployment: Deployment, fake: FakePrefect, requester: User, approver: User
) -> None:
    change = waiting_retry(approved_and_failed(deployment, fake, requester, approver), requester)
    changes.approve(change, by=by(approver), displayed_digest=change.digest)
    grants.grant(by=Actor.system(), person=approver, verbs=["approve"], effect="deny")
    assert carried_out(Action.objects.get()).state == State.FAILED
    assert not sent(fake)


def test_a_retry_approved_in_the_database_is_not_sent(
    deployment: Deployment, fake: FakePrefect, requester: User, approver: User
) -> None:
    """A change request of another retry, as it would be copied past the portal."""
    change = waiting_retry(approved_and_failed(deployment, fake, requester, approver), requester)
    Approval.objects.create(change=change, approved=True, by=approver, by_name="approver", digest=change.digest)
    ChangeRequest.objects.filter(pk=change.pk).update(state="approved")
    action = actions.create(
        Kind.RETRY,
        Run.objects.get(),
        before={"state_id": str(Run.objects.get().state_id), "state": "FAILED", "stalled": ""},
        by=by(requester),
        by_name="requester",
        change=change,
    )
    assert carried_out(action).state == State.FAILED
    assert "not signed by the portal" in action.message
    assert not sent(fake)


def test_a_run_that_moved_meanwhile_is_not_retried_by_the_approval(
    deployment: Deployment, fake: FakePrefect, requester: User, approver: User
) -> None:
    run = approved_and_failed(deployment, fake, requester, approver)
    change = waiting_retry(run, requester)
    fake.set_state(run.prefect_id, "RUNNING")
    mirror.refresh(deployment.environment, [run.prefect_id])
    with refused("retry.not_failed"):
        changes.approve(change, by=by(approver), displayed_digest=change.digest)
    assert not change.approvals.exists()


def test_a_request_can_be_approved_with_retries(
    deployment: Deployment, fake: FakePrefect, requester: User, approver: User
) -> None:
    run = approved_and_failed(deployment, fake, requester, approver, retries=2)
    for _ in range(2):
        action = requests.retry(Run.objects.get(), by=by(requester))
        assert isinstance(action, Action)
        assert carried_out(action).state == State.DONE
        fail(deployment, fake, run.prefect_id)
    # The third needs an approval again, however it comes.
    extra = requests.retry(Run.objects.get(), by=by(requester))
    assert isinstance(extra, ChangeRequest)


def test_granted_retries_end_with_what_was_approved(
    deployment: Deployment, fake: FakePrefect, requester: User, approver: User
) -> None:
    run = approved_and_failed(deployment, fake, requester, approver, retries=3)
    # 1. Another definition than the approved one.
    action = requests.retry(run, by=by(requester))
    assert isinstance(action, Action)
    fake.change_deployment(deployment.prefect_id, entrypoint="unseen.py:flow")
    launch_check.READINGS.clear()
    assert carried_out(action).state == State.FAILED
    # 2. Stricter requirements.
    fake.change_deployment(deployment.prefect_id, entrypoint=deployment.definition["entrypoint"])
    launch_check.READINGS.clear()
    action = requests.retry(run, by=by(requester))
    assert isinstance(action, Action)
    Policy.objects.create(environment=deployment.environment, name="Two", stages=[{"needed": 2, "group": ""}])
    assert carried_out(action).state == State.FAILED
    assert not sent(fake)


def test_an_emergency_override_grants_no_retries(
    deployment: Deployment, fake: FakePrefect, requester: User, approver: User
) -> None:
    Environment.objects.update(needs_approval=True)
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester), retries=3)
    grants.grant(by=Actor.system(), person=requester, verbs=["break glass"], environment=deployment.environment)
    changes.break_glass(run_request.change, by=by(requester), reason="urgent")
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    fail(deployment, fake, run_request.flow_run_id)
    assert isinstance(requests.retry(Run.objects.get(), by=by(requester)), ChangeRequest)


def test_the_number_of_retries_is_limited(deployment: Deployment, requester: User) -> None:
    for retries in (-1, requests.MOST_RETRIES + 1):
        with refused("retry.too_many"):
            requests.submit(deployment, {"month": "2026-10"}, by=by(requester), retries=retries)


def test_a_freeze_holds_it_back(failed: Run, requester: User, admin_user: User, dev: Environment) -> None:
    action = requests.retry(failed, by=by(requester))
    freezes.freeze(dev, by=by(admin_user), reason="incident")
    assert carried_out(action).state == State.FAILED
    with refused("window.closed"):
        requests.retry(failed, by=by(requester))


def test_an_overridden_window_counts_for_the_first_start_only(
    failed: Run, requester: User, admin_user: User, dev: Environment
) -> None:
    RunRequest.objects.update(overridden_at=timezone.now(), overridden_by_name="requester")
    freezes.freeze(dev, by=by(admin_user), reason="incident")
    with refused("window.closed"):
        requests.retry(failed, by=by(requester))


def test_a_permission_that_was_revoked_meanwhile_does_not_count(
    failed: Run, requester: User, fake: FakePrefect
) -> None:
    action = requests.retry(failed, by=by(requester))
    grants.grant(by=Actor.system(), person=requester, verbs=["trigger"], effect="deny")
    assert carried_out(action).state == State.FAILED
    assert not sent(fake)


def test_a_run_that_deletes_data_is_requested_again(failed: Run, requester: User) -> None:
    Deployment.objects.update(tags=["destructive"])
    with refused("retry.destructive"):
        requests.retry(failed, by=by(requester))


def test_code_that_is_not_pinned_is_refused_where_a_policy_does(
    failed: Run, requester: User, dev: Environment, fake: FakePrefect
) -> None:
    action = requests.retry(failed, by=by(requester))
    step = {"prefect.deployments.steps.git_clone": {"repository": "https://example.com/r.git", "branch": "main"}}
    fake.change_deployment(action.target_run.deployment.prefect_id, pull_steps=(step,))  # type: ignore[union-attr]
    Policy.objects.create(environment=dev, name="Pinned", refuse_moving=True)
    assert carried_out(action).state == State.FAILED
    sync.sync(dev)
    with refused("definition.moving"):
        requests.retry(failed, by=by(requester))
    assert not sent(fake)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"schema_fingerprint": "other"}, "schema.changed"),
        ({"deleted_upstream_at": timezone.now()}, "deployment.gone"),
    ],
)
def test_a_deployment_that_changed_or_is_gone_is_refused(
    change: dict[str, Any], code: str, failed: Run, requester: User
) -> None:
    action = requests.retry(failed, by=by(requester))
    Deployment.objects.update(**change)
    assert carried_out(action).state == State.FAILED
    with refused(code):
        requests.retry(failed, by=by(requester))


# Races


@pytest.mark.parametrize("move", ["AwaitingRetry", "RUNNING", "COMPLETED", "FAILED", "deleted"])
def test_a_run_that_moves_between_look_and_act_is_left_alone(
    move: str, failed: Run, requester: User, fake: FakePrefect
) -> None:
    action = requests.retry(failed, by=by(requester))
    if move == "deleted":
        fake.remove_run(failed.prefect_id)
    elif move == "AwaitingRetry":
        fake.set_state(failed.prefect_id, "SCHEDULED", move)
    else:
        fake.set_state(failed.prefect_id, move)
    assert carried_out(action).state == State.OVERTAKEN
    assert not sent(fake)
    assert entries()[-1] == ("run.outran_retry", "done")


def test_a_lost_answer_is_not_sent_again(failed: Run, requester: User, fake: FakePrefect) -> None:
    action = requests.retry(failed, by=by(requester))
    retry = fake.retry

    def lost(*words: Any) -> None:
        retry(*words)
        raise Uncertain("Response timed out.", code="connection.timeout")

    fake.retry = lost  # type: ignore[method-assign]
    assert carried_out(action).state == State.WANTED
    Action.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    assert carried_out(action).state == State.DONE
    assert sent(fake) == 1


def test_prefect_that_does_not_accept_it_is_not_believed(failed: Run, requester: User, fake: FakePrefect) -> None:
    action = requests.retry(failed, by=by(requester))
    fake.change_run(failed.prefect_id, deployment_id=None)
    assert carried_out(action).state == State.FAILED
    assert sent(fake) == 1
    failed.refresh_from_db()
    assert failed.state_type == "FAILED"
