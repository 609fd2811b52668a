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
from runs import actions, changes, dispatch, mirror, requests
from runs.actors import Actor
from runs.governance import freezes, grants
from runs.models import Action, AuditEntry, Policy, QueuedTask, Run, RunRequest, Verb
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
    Environment.objects.update(needs_approval=True)
    assert carried_out(action).state == State.FAILED
    with refused("retry.needs_approval"):
        requests.retry(failed, by=by(requester))
    assert entries()[-2:] == [("run.retry_failed", "refused"), ("run.retry", "refused")]


def test_an_approval_is_for_one_start(
    deployment: Deployment, fake: FakePrefect, requester: User, approver: User
) -> None:
    Environment.objects.update(needs_approval=True)
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    changes.approve(run_request.change, by=by(approver), displayed_digest=run_request.change.digest)
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.flow_run_id is not None
    fake.set_state(run_request.flow_run_id, "FAILED")
    mirror.refresh(deployment.environment, [run_request.flow_run_id])
    Environment.objects.update(needs_approval=False)
    with refused("retry.needs_approval"):
        requests.retry(Run.objects.get(), by=by(requester))


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
