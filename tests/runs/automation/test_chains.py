"""Chains: saved as versions, requested as one, and run step by step."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from django.utils import timezone

from flows import parameters as schemas
from flows.models import Deployment, Environment
from runs import changes, dispatch, mirror, requests, tasks
from runs.access.decisions import Forbidden, Permissions
from runs.access.whole_chains import sees_whole_chain
from runs.actors import Actor
from runs.audit import reconcile
from runs.automation import chain_pacing, chain_steps, chains
from runs.automation.chain_progress import read_progress
from runs.governance import freezes, grants
from runs.models import Action, AuditEntry, Chain, ChainVersion, ChangeRequest, RunRequest
from runs.models.notification import Topic
from runs.models.request import State
from runs.phases import phase_of, with_phases
from tests.background import notices
from tests.cast import SCHEMA, by, person
from tests.fakes.prefect import FakePrefect
from tests.made_chains import deploy, end, go_on, latest, make, step, where
from tests.refusals import refused

pytestmark = pytest.mark.django_db
DRIFT = [{"field": "contract", "value": "crm-drift/1"}, {"field": "level", "value": "HIGH"}]
IF_HIGH = {"step": "drift", "artifact": "crm-drift", "pointer": "/level", "equals": "HIGH"}


@pytest.fixture
def deployed(dev: Environment, fake: FakePrefect) -> Environment:
    deploy(dev, fake, "ingest", "train", "drift", "tidy")
    return dev


@pytest.fixture
def prod_chain(prod: Environment, prod_fake: FakePrefect, requester: User) -> Chain:
    deploy(prod, prod_fake, "ingest", "train")
    return make(prod, requester, step("ingest"), step("train", "ingest"))


def request_run(chain: Chain, user: User, month: str = "2026-10", **options: Any) -> ChangeRequest:
    change = chains.request_run(chain, {"month": month}, by=by(user), reason="month end", **options)
    go_on()
    return change


# Saved ----------------------------------------------------------------------------------------------------------------


def test_each_save_is_a_version_and_the_same_is_none(deployed: Environment, requester: User) -> None:
    chain = make(deployed, requester, step("ingest"), step("train", "ingest"))
    assert (chain.number, chain.versions.count()) == (1, 1)
    steps = [step("ingest"), step("train", "ingest", gate=True)]
    second = chains.save(deployed, chain.name, {"steps": steps}, by=by(requester), chain=chain)
    again = chains.save(deployed, chain.name, {"steps": steps}, by=by(requester), chain=chain)
    assert (second.number, again.pk) == (2, second.pk)
    assert list(chains.current_steps(chain)) == list(second.steps.order_by("position"))
    with pytest.raises(DatabaseError), transaction.atomic():
        ChainVersion.objects.update(definition={})


@pytest.mark.parametrize(
    ("code", "steps"),
    [
        ("chain.cycle", [step("ingest", "train"), step("train", "ingest")]),
        ("chain.definition", []),
        ("chain.definition", [step("ingest"), step("ingest")]),
        ("chain.definition", [step("ingest", "nowhere")]),
        ("chain.definition", [step("ingest", retries=11)]),
        ("chain.definition", [step("ingest", retries=True)]),
        ("chain.definition", [step("ingest", timeout_minutes=0)]),
        ("chain.definition", [step("Ingest")]),
        ("chain.definition", [step("ingest", colour="red")]),
        ("chain.definition", [step("ingest", {"step": "ingest", "when": "always"})]),
        ("chain.definition", [step("drift"), step("train", {"step": "drift", "equals": 1})]),
        (
            "chain.definition",
            [step("train", parameters={"month": {"step": "drift", "artifact": "a", "pointer": "/m"}}), step("drift")],
        ),
        ("chain.deployment", [step("nowhere")]),
        ("chain.parameter_required", [step("ingest", parameters={})]),
        ("chain.parameter_unknown", [step("ingest", parameters={"month": {"input": "m"}, "years": {"value": 1}})]),
        ("chain.parameter_invalid", [step("ingest", parameters={"month": {"input": "m"}, "rows": {"value": 0}})]),
        ("chain.secret", [step("ingest", parameters={"month": {"input": "m"}, "token": {"value": "s3cret"}})]),
    ],
)
def test_what_could_not_run_is_refused_when_it_is_saved(
    deployed: Environment, requester: User, code: str, steps: list[dict[str, Any]]
) -> None:
    with refused(code):
        chains.save(deployed, "Close", {"steps": steps}, by=by(requester))
    assert not Chain.objects.exists()


def test_a_deployment_that_deletes_data_is_no_step(dev: Environment, fake: FakePrefect, requester: User) -> None:
    deploy(dev, fake, "wipe", tags=("destructive",))
    with refused("chain.destructive"):
        make(dev, requester, step("wipe"))


def test_defining_needs_permission_to_run_every_step_before_and_after(
    deployed: Environment, requester: User, viewer: User
) -> None:
    chain = make(deployed, requester, step("ingest"), step("train", "ingest"))
    for existing in (None, chain):
        with pytest.raises(Forbidden):
            chains.save(deployed, "Other", {"steps": [step("drift")]}, by=by(viewer), chain=existing)
    with pytest.raises(Forbidden):
        chains.set_enabled(chain, False, by=by(viewer))
    some = person("some")
    grants.grant(
        by=Actor.system(), person=some, verbs=["see", "trigger"], environment=deployed, full_name="drift/daily"
    )
    with pytest.raises(Forbidden):
        chains.save(deployed, "Monthly close", {"steps": [step("drift")]}, by=by(some), chain=chain)


def test_a_chain_is_visible_to_those_who_see_all_its_deployments(deployed: Environment, requester: User) -> None:
    chain = make(deployed, requester, step("ingest"), step("train", "ingest"))
    change = request_run(chain, requester)
    some = person("some")
    grants.grant(by=Actor.system(), person=some, verbs=["see"], environment=deployed, full_name="ingest/daily")
    for user, sees in ((requester, True), (some, False)):
        permissions = Permissions.of(by(user))
        assert chains.visible_to(permissions).filter(pk=chain.pk).exists() == sees
        seen = ChangeRequest.objects.filter(sees_whole_chain(permissions), pk=change.pk)
        assert seen.exists() == sees


# Run ------------------------------------------------------------------------------------------------------------------


def test_steps_follow_each_other_and_the_request_closes(
    deployed: Environment, requester: User, fake: FakePrefect
) -> None:
    chain = make(deployed, requester, step("ingest"), step("train", "ingest"), step("drift", "ingest"))
    change = request_run(chain, requester)
    assert where(change) == {"ingest": "running", "train": "waiting", "drift": "waiting"}
    end(change, "ingest", "COMPLETED", fake)
    assert where(change) == {"ingest": "completed", "train": "running", "drift": "running"}
    end(change, "train", "COMPLETED", fake)
    end(change, "drift", "COMPLETED", fake)
    assert set(where(change).values()) == {"completed"}
    assert change.state == ChangeRequest.State.CLOSED
    sent = [call.arguments["parameters"]["month"] for call in fake.calls if call.method == "create_flow_run"]
    assert sent == ["2026-10"] * 3
    started = AuditEntry.objects.filter(verb="chain.step").values_list("actor_kind", "on_behalf_of")
    assert list(started) == [("chain", "requester")] * 3
    assert reconcile() == ""


def test_a_chain_is_one_request_and_one_approval(
    prod_chain: Chain, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    change = request_run(prod_chain, requester)
    assert not change.run_requests.exists()
    changes.approve(change, by=by(approver), displayed_digest=change.digest)
    go_on()
    end(change, "ingest", "COMPLETED", prod_fake)
    end(change, "train", "COMPLETED", prod_fake)
    change.refresh_from_db()
    assert change.state == ChangeRequest.State.CLOSED
    assert AuditEntry.objects.filter(verb="request.approve", outcome="done").count() == 1
    assert reconcile() == ""


def test_a_run_keeps_the_version_it_was_requested_with(
    prod_chain: Chain, prod: Environment, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    change = request_run(prod_chain, requester)
    chains.save(prod, prod_chain.name, {"steps": [step("train")]}, by=by(requester), chain=prod_chain)
    assert change.chain_run.version.number == 1
    with refused("chain.version_changed"):
        request_run(prod_chain, requester, displayed_version=1)
    changes.approve(change, by=by(approver))
    go_on()
    assert where(change) == {"ingest": "running", "train": "waiting"}


def test_the_version_and_the_inputs_are_part_of_what_is_approved(
    prod_chain: Chain, prod: Environment, requester: User
) -> None:
    first = request_run(prod_chain, requester)
    # The same runs with the same values, and a gate between them.
    steps = [step("ingest"), step("train", "ingest", gate=True)]
    chains.save(prod, prod_chain.name, {"steps": steps}, by=by(requester), chain=prod_chain)
    second = request_run(prod_chain, requester)
    runs = [list(each.specs.order_by("position").values_list("digest", flat=True)) for each in (first, second)]
    assert runs[0] == runs[1]
    assert first.contents != second.contents
    assert requests.is_intact(first)
    with pytest.raises(DatabaseError), transaction.atomic():
        type(first.chain_run).objects.update(inputs={})


def test_sent_twice_it_is_one_request(deployed: Environment, requester: User) -> None:
    chain = make(deployed, requester, step("ingest"))
    first = request_run(chain, requester)
    again = request_run(chain, requester, submission_key=first.submission_key)
    assert again.pk == first.pk
    assert RunRequest.objects.count() == 1
    with refused("submission.reused"):
        request_run(chain, requester, "2026-11", submission_key=first.submission_key)


def test_running_needs_permission_for_every_step_with_its_values(deployed: Environment, requester: User) -> None:
    chain = make(deployed, requester, step("ingest"), step("train", "ingest"))
    some = person("some")
    only = {"properties": {"month": {"const": "2026-10"}}}
    grants.grant(by=Actor.system(), person=some, verbs=["see"], environment=deployed)
    grants.grant(by=Actor.system(), person=some, verbs=["trigger"], environment=deployed, full_name="ingest/daily")
    with pytest.raises(Forbidden):
        request_run(chain, some)
    grants.grant(
        by=Actor.system(),
        person=some,
        verbs=["trigger"],
        environment=deployed,
        full_name="train/daily",
        predicate=only,
    )
    with pytest.raises(Forbidden):
        request_run(chain, some, "2026-11")
    assert request_run(chain, some).requested_by == some


def test_inputs_are_checked_by_the_schema_of_each_step(deployed: Environment, requester: User) -> None:
    chain = make(deployed, requester, step("ingest"))
    with pytest.raises(schemas.Invalid):
        request_run(chain, requester, "next month")
    with pytest.raises(schemas.Invalid):
        chains.request_run(chain, {}, by=by(requester))
    with refused("chain.inputs"):
        chains.request_run(chain, {"month": "2026-10", "year": 2026}, by=by(requester))


def test_a_secret_input_is_sealed(deployed: Environment, requester: User, fake: FakePrefect) -> None:
    parameters = {"month": {"input": "month"}, "token": {"input": "token"}}
    chain = make(deployed, requester, step("ingest", parameters=parameters))
    change = chains.request_run(chain, {"month": "2026-10", "token": "s3cret"}, by=by(requester))
    go_on()
    assert change.chain_run.inputs == {"month": "2026-10"}
    assert "s3cret" not in str(list(change.specs.values())) + str(list(AuditEntry.objects.values()))
    (call,) = (call for call in fake.calls if call.method == "create_flow_run")
    assert call.arguments["parameters"]["token"] == "s3cret"


# Conditions and values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "expected"), [("HIGH", "running"), ("LOW", "skipped")])
def test_a_value_of_an_artifact_decides(
    deployed: Environment, requester: User, fake: FakePrefect, level: str, expected: str
) -> None:
    chain = make(deployed, requester, step("drift"), step("train", IF_HIGH))
    change = request_run(chain, requester)
    table = [DRIFT[0], {"field": "level", "value": level}]
    end(change, "drift", "COMPLETED", fake, {"key": "crm-drift", "type": "table", "data": table})
    assert where(change)["train"] == expected
    assert change.state == (ChangeRequest.State.APPROVED if level == "HIGH" else ChangeRequest.State.CLOSED)


def test_a_condition_waits_until_the_artifacts_are_read(
    deployed: Environment, requester: User, fake: FakePrefect
) -> None:
    chain = make(deployed, requester, step("drift"), step("train", IF_HIGH))
    change = request_run(chain, requester)
    run_request = latest(change, "drift")
    assert run_request.flow_run_id
    fake.add_artifact(run_request.flow_run_id, key="crm-drift", type="table", data=DRIFT)
    fake.set_state(run_request.flow_run_id, "COMPLETED")
    mirror.refresh_state(run_request.environment, [run_request.flow_run_id])
    chain_steps.advance(change.pk)
    assert where(change)["train"] == "waiting"
    # It has asked for what it needs; the next look finds it.
    go_on()
    chain_steps.advance(change.pk)
    assert where(change)["train"] == "running"


def mapped(schema: dict[str, Any] | None = None) -> dict[str, Any]:
    source = {"step": "ingest", "artifact": "plan", "pointer": "/rows", **({"schema": schema} if schema else {})}
    return step("train", "ingest", parameters={"month": {"input": "month"}, "rows": source})


def plan(rows: Any) -> dict[str, Any]:
    return {"key": "plan", "type": "table", "data": [{"field": "rows", "value": rows}]}


def test_a_parameter_has_its_value_from_an_artifact(deployed: Environment, requester: User, fake: FakePrefect) -> None:
    change = request_run(make(deployed, requester, step("ingest"), mapped()), requester)
    end(change, "ingest", "COMPLETED", fake, plan(7))
    sent = [call.arguments["parameters"]["rows"] for call in fake.calls if call.method == "create_flow_run"]
    assert sent == [100, 7]


@pytest.mark.parametrize("value", [plan("many"), plan(5000), {"key": "other", "data": []}])
def test_a_value_that_the_flow_does_not_take_waits_and_can_only_be_rejected(
    deployed: Environment, requester: User, fake: FakePrefect, value: dict[str, Any]
) -> None:
    change = request_run(make(deployed, requester, step("ingest"), mapped()), requester)
    end(change, "ingest", "COMPLETED", fake, value)
    run_request = latest(change, "train")
    assert run_request.state == State.HELD
    assert run_request.message
    with refused("gate.unfit"):
        changes.let_go(run_request, by=by(requester), reason="go")
    changes.reject_step(run_request, by=by(requester), reason="wrong")
    go_on()
    assert where(change)["train"] == "failed"
    assert change.progress == ChangeRequest.Progress.STOPPED
    assert reconcile() == ""


def test_in_a_protected_environment_a_value_beyond_what_was_approved_waits_for_a_person(
    prod: Environment, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    deploy(prod, prod_fake, "ingest", "train")
    chain = make(prod, requester, step("ingest"), mapped({"type": "integer", "maximum": 10}))
    change = request_run(chain, requester)
    changes.approve(change, by=by(approver))
    go_on()
    end(change, "ingest", "COMPLETED", prod_fake, plan(500))
    run_request = latest(change, "train")
    assert (run_request.state, run_request.flow_run_id) == (State.HELD, None)
    assert "rows" in run_request.message
    assert "500" not in run_request.message
    with refused("approval.own"):
        changes.let_go(run_request, by=by(requester), reason="go")
    with refused("gate.reason_required"):
        changes.let_go(run_request, by=by(approver))
    changes.let_go(run_request, by=by(approver), reason="checked")
    go_on()
    end(change, "train", "COMPLETED", prod_fake)
    change.refresh_from_db()
    assert change.state == ChangeRequest.State.CLOSED
    assert reconcile() == ""


def test_what_was_moved_past_its_gate_in_the_database_does_not_launch(
    prod: Environment, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    deploy(prod, prod_fake, "ingest", "train")
    change = request_run(make(prod, requester, step("ingest", gate=True)), requester)
    changes.approve(change, by=by(approver))
    go_on()
    RunRequest.objects.update(state=State.APPROVED)
    run_request = latest(change, "ingest")
    dispatch.launch(run_request)
    assert (run_request.state, run_request.flow_run_id) == (State.REFUSED, None)


# Gates ----------------------------------------------------------------------------------------------------------------


def test_a_manual_gate_waits_for_someone_who_may_run_the_step(
    deployed: Environment, requester: User, viewer: User, fake: FakePrefect
) -> None:
    chain = make(deployed, requester, step("ingest"), step("train", "ingest", gate=True))
    change = request_run(chain, requester)
    end(change, "ingest", "COMPLETED", fake)
    run_request = latest(change, "train")
    assert run_request.state == State.HELD
    with pytest.raises(Forbidden):
        changes.let_go(run_request, by=by(viewer))
    changes.let_go(run_request, by=by(requester))
    go_on()
    assert latest(change, "train").state == State.LAUNCHED
    with refused("gate.none"):
        changes.let_go(latest(change, "train"), by=by(requester))


def test_a_gate_of_an_approved_chain_is_for_its_approvers(
    prod: Environment, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    deploy(prod, prod_fake, "ingest")
    change = request_run(make(prod, requester, step("ingest", gate=True)), requester)
    changes.approve(change, by=by(approver))
    go_on()
    run_request = latest(change, "ingest")
    for act in (changes.let_go, changes.reject_step):
        with refused("approval.own"):
            act(run_request, by=by(requester), reason="r")
    changes.let_go(run_request, by=by(approver))
    go_on()
    assert latest(change, "ingest").state == State.LAUNCHED
    assert reconcile() == ""


# How far it is --------------------------------------------------------------------------------------------------------


def phase(change: ChangeRequest) -> str:
    """The word for its state, which a list reads in SQL."""
    listed = with_phases(ChangeRequest.objects.filter(pk=change.pk)).get()
    found = phase_of(ChangeRequest.objects.get(pk=change.pk))
    assert found == phase_of(listed)
    return found.key


def test_one_word_says_how_far_a_run_is(deployed: Environment, requester: User, fake: FakePrefect) -> None:
    chain = make(deployed, requester, step("ingest"), step("train", "ingest", gate=True), step("drift", "train"))
    change = request_run(chain, requester)
    assert phase(change) == "running"
    end(change, "ingest", "COMPLETED", fake)
    assert phase(change) == "gated"
    changes.let_go(latest(change, "train"), by=by(requester))
    go_on()
    assert phase(change) == "running"
    end(change, "train", "FAILED", fake)
    assert phase(change) == "stopped"
    chain_pacing.resume(change, by=by(requester))
    go_on()
    end(change, "train", "COMPLETED", fake)
    end(change, "drift", "COMPLETED", fake)
    assert phase(change) == "finished"


def test_a_run_that_is_not_resumed_ends_as_failed(deployed: Environment, requester: User, fake: FakePrefect) -> None:
    change = request_run(make(deployed, requester, step("ingest")), requester)
    end(change, "ingest", "FAILED", fake)
    assert phase(change) == "stopped"
    ChangeRequest.objects.filter(pk=change.pk).update(progress_at=timezone.now() - timedelta(days=31))
    chain_steps.advance(change.pk)
    change.refresh_from_db()
    assert (change.state, phase(change)) == (ChangeRequest.State.CLOSED, "failed")


# Failures -------------------------------------------------------------------------------------------------------------


def test_a_failure_stops_it_and_it_goes_on_from_there(
    deployed: Environment, requester: User, fake: FakePrefect, viewer: User
) -> None:
    chain = make(deployed, requester, step("ingest"), step("train", "ingest"), step("drift", "train"))
    change = request_run(chain, requester)
    end(change, "ingest", "COMPLETED", fake)
    end(change, "train", "FAILED", fake)
    assert where(change) == {"ingest": "completed", "train": "failed", "drift": "skipped"}
    assert (change.progress, change.state) == (ChangeRequest.Progress.STOPPED, ChangeRequest.State.APPROVED)
    assert f"step train, request {latest(change, 'train').pk}" in change.message
    stopped = notices().filter(topic=Topic.STOPPED)
    assert [(notice.person, notice.target_id) for notice in stopped] == [(requester, str(change.pk))]
    with pytest.raises(Forbidden):
        chain_pacing.resume(change, by=by(viewer))
    assert chain_pacing.resume(change, by=by(requester), reason="source was corrected") == 1
    go_on()
    assert where(change) == {"ingest": "completed", "train": "running", "drift": "waiting"}
    with refused("chain.nothing_failed"):
        chain_pacing.resume(change, by=by(requester))
    end(change, "train", "COMPLETED", fake)
    end(change, "drift", "COMPLETED", fake)
    assert where(change)["drift"] == "completed"
    assert change.state == ChangeRequest.State.CLOSED
    with refused("chain.over"):
        chain_pacing.resume(change, by=by(requester))
    assert change.run_requests.count() == 4
    assert reconcile() == ""


def test_where_it_needed_an_approval_a_further_attempt_needs_one_too(
    prod_chain: Chain, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    change = request_run(prod_chain, requester)
    changes.approve(change, by=by(approver))
    go_on()
    end(change, "ingest", "FAILED", prod_fake)
    assert chain_pacing.resume(change, by=by(requester)) == 0
    go_on()
    run_request = latest(change, "ingest")
    assert (run_request.occurrence, run_request.state) == ("2", State.HELD)
    changes.let_go(run_request, by=by(approver), reason="the source was corrected")
    go_on()
    assert latest(change, "ingest").state == State.LAUNCHED


def test_a_step_is_retried_as_often_as_it_says(deployed: Environment, requester: User, fake: FakePrefect) -> None:
    change = request_run(make(deployed, requester, step("ingest", retries=2), step("train", "ingest")), requester)
    for attempt in ("1", "2", "3"):
        assert latest(change, "ingest").occurrence == attempt
        assert where(change)["ingest"] == "running"
        end(change, "ingest", "FAILED", fake)
    assert where(change) == {"ingest": "failed", "train": "skipped"}
    assert change.progress == ChangeRequest.Progress.STOPPED


def test_retries_are_approved_with_the_chain(
    prod: Environment, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    deploy(prod, prod_fake, "ingest")
    change = request_run(make(prod, requester, step("ingest", retries=1, gate=True)), requester)
    changes.approve(change, by=by(approver))
    go_on()
    changes.let_go(latest(change, "ingest"), by=by(approver))
    go_on()
    end(change, "ingest", "FAILED", prod_fake)
    assert (latest(change, "ingest").occurrence, latest(change, "ingest").state) == ("2", State.LAUNCHED)


def test_a_failure_that_a_step_waits_for_does_not_stop_it(
    deployed: Environment, requester: User, fake: FakePrefect
) -> None:
    chain = make(
        deployed,
        requester,
        step("ingest"),
        step("train", "ingest"),
        step("tidy", {"step": "train", "when": "finished"}),
        step("drift", {"step": "ingest", "when": "failed"}),
    )
    change = request_run(chain, requester)
    end(change, "ingest", "FAILED", fake)
    assert where(change) == {"ingest": "failed", "train": "skipped", "tidy": "running", "drift": "running"}
    end(change, "tidy", "COMPLETED", fake)
    end(change, "drift", "COMPLETED", fake)
    change.refresh_from_db()
    assert change.state == ChangeRequest.State.CLOSED


def test_a_step_that_is_not_over_in_time_is_cancelled(
    deployed: Environment, requester: User, fake: FakePrefect
) -> None:
    change = request_run(make(deployed, requester, step("ingest", timeout_minutes=5, retries=1)), requester)
    run_request = latest(change, "ingest")
    assert run_request.flow_run_id
    fake.set_state(run_request.flow_run_id, "RUNNING")
    mirror.refresh(run_request.environment, [run_request.flow_run_id])
    go_on()
    assert not Action.objects.exists()
    RunRequest.objects.update(launched_at=timezone.now() - timedelta(minutes=6))
    chain_steps.advance(change.pk)
    chain_steps.advance(change.pk)
    assert Action.objects.get().is_automatic
    go_on()
    fake.confirm_cancel(run_request.flow_run_id)
    mirror.refresh(run_request.environment, [run_request.flow_run_id])
    go_on()
    # Nor is it retried: that would take as long again.
    assert where(change) == {"ingest": "failed"}


def test_cancelling_the_rest_leaves_what_was_sent(
    deployed: Environment, requester: User, fake: FakePrefect, viewer: User
) -> None:
    chain = make(deployed, requester, step("ingest"), step("drift", gate=True), step("train", "ingest"))
    change = request_run(chain, requester)
    with pytest.raises(Forbidden):
        chain_pacing.cancel_rest(change, by=by(viewer))
    assert chain_pacing.cancel_rest(change, by=by(requester)) == 1
    change.refresh_from_db()
    assert change.state == ChangeRequest.State.WITHDRAWN
    end(change, "ingest", "COMPLETED", fake)
    assert where(change) == {"ingest": "completed", "drift": "failed", "train": "ready"}
    assert not change.run_requests.filter(spec__position=2).exists()
    assert reconcile() == ""


# Paused ---------------------------------------------------------------------------------------------------------------


def test_nothing_starts_of_a_paused_chain_and_then_it_goes_on(
    deployed: Environment, requester: User, fake: FakePrefect, viewer: User
) -> None:
    chain = make(deployed, requester, step("ingest"), step("train", "ingest"), step("drift", gate=True))
    change = request_run(chain, requester)
    with pytest.raises(Forbidden):
        chain_pacing.pause(change, by=by(viewer))
    chain_pacing.pause(change, by=by(requester), reason="source is down")
    assert phase_of(change).key == "paused"
    with refused("chain.paused"):
        chain_pacing.pause(change, by=by(requester))
    # What runs goes on, and what is decided at a gate is kept.
    changes.let_go(latest(change, "drift"), by=by(requester))
    end(change, "ingest", "COMPLETED", fake)
    assert where(change) == {"ingest": "completed", "train": "ready", "drift": "running"}
    assert (latest(change, "drift").state, change.progress) == (State.HELD, ChangeRequest.Progress.PAUSED)
    with pytest.raises(Forbidden):
        chain_pacing.resume(change, by=by(viewer))
    assert chain_pacing.resume(change, by=by(requester)) == 1
    go_on()
    assert where(change) == {"ingest": "completed", "train": "running", "drift": "running"}
    assert [latest(change, key).state for key in ("train", "drift")] == [State.LAUNCHED] * 2
    assert list(
        AuditEntry.objects.filter(verb__in=["chain.pause", "chain.resume"], outcome="done").values_list("verb")
    ) == [
        ("chain.resume",),
        ("chain.pause",),
    ]
    assert reconcile() == ""


def test_a_step_that_was_released_and_not_sent_waits_while_it_is_paused(
    deployed: Environment, requester: User, fake: FakePrefect
) -> None:
    change = chains.request_run(make(deployed, requester, step("ingest")), {"month": "2026-10"}, by=by(requester))
    chain_steps.advance(change.pk)
    chain_pacing.pause(change, by=by(requester))
    go_on()
    assert latest(change, "ingest").state == State.APPROVED
    assert not [call for call in fake.calls if call.method == "create_flow_run"]
    chain_pacing.resume(change, by=by(requester))
    go_on()
    assert latest(change, "ingest").state == State.LAUNCHED


def test_a_paused_chain_is_not_retried_and_ends_where_nothing_is_left(
    deployed: Environment, requester: User, fake: FakePrefect
) -> None:
    change = request_run(make(deployed, requester, step("ingest", retries=1)), requester)
    chain_pacing.pause(change, by=by(requester))
    end(change, "ingest", "FAILED", fake)
    assert (latest(change, "ingest").occurrence, phase(change)) == ("1", "paused")
    chain_pacing.resume(change, by=by(requester))
    go_on()
    chain_pacing.pause(change, by=by(requester))
    end(change, "ingest", "FAILED", fake)
    assert phase(change) == "stopped"


def test_a_chain_that_is_paused_for_too_long_is_withdrawn(deployed: Environment, requester: User) -> None:
    change = request_run(make(deployed, requester, step("ingest"), step("train", "ingest")), requester)
    chain_pacing.pause(change, by=by(requester))
    ChangeRequest.objects.filter(pk=change.pk).update(progress_at=timezone.now() - timedelta(days=31))
    chain_steps.advance(change.pk)
    change.refresh_from_db()
    assert (change.state, phase(change)) == (ChangeRequest.State.WITHDRAWN, "withdrawn")
    assert reconcile() == ""


# Rules that change meanwhile ------------------------------------------------------------------------------------------


def test_each_step_is_checked_with_the_grants_of_the_requester(
    prod_chain: Chain, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    change = request_run(prod_chain, requester)
    changes.approve(change, by=by(approver))
    go_on()
    for grant in requester.grants.filter(environment=prod_chain.environment):
        grants.revoke(grant, by=Actor.system(), reason="left")
    end(change, "ingest", "COMPLETED", prod_fake)
    assert latest(change, "train").state == State.REFUSED
    assert where(change)["train"] == "failed"
    assert change.progress == ChangeRequest.Progress.STOPPED
    assert reconcile() == ""


def test_no_step_of_a_disabled_chain_starts(deployed: Environment, requester: User, fake: FakePrefect) -> None:
    chain = make(deployed, requester, step("ingest"), step("train", "ingest"))
    change = request_run(chain, requester)
    chains.set_enabled(chain, False, by=by(requester))
    end(change, "ingest", "COMPLETED", fake)
    assert latest(change, "train").state == State.REFUSED
    with refused("chain.disabled"):
        request_run(chain, requester)
    chains.set_enabled(chain, True, by=by(requester))
    chain_pacing.resume(change, by=by(requester))
    go_on()
    assert latest(change, "train").state == State.LAUNCHED


def test_a_definition_that_moved_is_refused_at_the_step(
    prod_chain: Chain, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    change = request_run(prod_chain, requester)
    changes.approve(change, by=by(approver))
    go_on()
    train = Deployment.objects.get(environment=prod_chain.environment, flow_name="train")
    prod_fake.change_deployment(train.prefect_id, entrypoint="other.py:train")
    end(change, "ingest", "COMPLETED", prod_fake)
    assert latest(change, "train").state == State.REFUSED
    assert len([call for call in prod_fake.calls if call.method == "create_flow_run"]) == 1


def test_a_freeze_holds_the_next_step_until_it_ends(
    deployed: Environment, requester: User, fake: FakePrefect, admin_user: User
) -> None:
    change = request_run(make(deployed, requester, step("ingest"), step("train", "ingest")), requester)
    freeze = freezes.freeze(deployed, by=by(admin_user), reason="disk is full")
    end(change, "ingest", "COMPLETED", fake)
    run_request = latest(change, "train")
    assert (run_request.state, run_request.flow_run_id) == (State.APPROVED, None)
    freezes.unfreeze(deployed, by=by(admin_user), reason="fixed")
    assert freeze
    tasks.recheck(deployed.pk)
    go_on()
    assert latest(change, "train").state == State.LAUNCHED


def test_the_deployments_are_those_of_the_names_when_it_is_requested(
    deployed: Environment, requester: User, fake: FakePrefect
) -> None:
    chain = make(deployed, requester, step("ingest"))
    old = Deployment.objects.get(environment=deployed, flow_name="ingest")
    fake.remove_deployment(old.prefect_id)
    deploy(deployed, fake)
    with refused("chain.deployment"):
        request_run(chain, requester)
    deploy(deployed, fake, "ingest", parameter_schema=SCHEMA)
    change = request_run(chain, requester)
    assert read_progress(change).specs["ingest"].deployment_id != old.pk
