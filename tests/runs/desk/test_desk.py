"""The portal from Python."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.catalog import sync
from flows.models import Alias, Deployment, Environment, Health
from flows.parameters import Invalid
from flows.prefect_api.records import PrefectError, Unreachable
from runs import desk, dispatch, mirror
from runs.access.decisions import Forbidden
from runs.actors import Actor, Channel
from runs.governance import grants
from runs.models import AuditEntry, Run, RunRequest, Verb
from runs.models.request import State
from tests.cast import SCHEMA, key
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def otto(requester: User) -> Actor:
    return desk.person("requester")


@pytest.fixture
def unprivileged(stranger: User) -> Actor:
    return desk.person("stranger")


# Who


def test_a_person_acts_by_command_and_the_account_is_kept(otto: Actor, deployment: Deployment) -> None:
    desk.trigger("dev", "monthly/monthly", {"month": "2026-10"}, by=otto)
    entry = AuditEntry.objects.get(verb="request.submit")
    assert (entry.actor_name, entry.channel) == ("requester", Channel.COMMAND)
    assert entry.user_agent.startswith("operating system account")
    assert entry.address


@pytest.mark.parametrize("name", ["nobody-of-that-name", "requester"])
def test_nobody_acts_without_an_active_account(requester: User, name: str) -> None:
    User.objects.update(is_active=False)
    with refused("user.unknown"):
        desk.person(name)


# Finding by name


@pytest.mark.parametrize("name", ["monthly/monthly", "monthly", "nightly-load"])
def test_a_deployment_has_several_names(deployment: Deployment, otto: Actor, name: str) -> None:
    Alias.objects.create(environment=deployment.environment, name="nightly-load", full_name="monthly/monthly")
    assert desk.deployment("dev", name, by=otto) == deployment
    assert desk.deployment("dev", str(deployment.prefect_id), by=otto) == deployment


def test_a_name_that_several_have_lists_them(deployment: Deployment, fake: FakePrefect, otto: Actor) -> None:
    fake.add_deployment(flow_name="monthly", name="again")
    sync.sync(deployment.environment)
    with refused("deployment.ambiguous"):
        desk.deployment("dev", "monthly", by=otto)
    assert desk.deployment("dev", "monthly/monthly", by=otto) == deployment


def test_an_unknown_name_says_what_there_is_and_how_to_read_again(deployment: Deployment, otto: Actor) -> None:
    with refused("deployment.unknown"):
        desk.deployment("dev", "yearly", by=otto)


def test_an_alias_of_something_not_deployed_says_what_to_deploy(deployment: Deployment, otto: Actor) -> None:
    Alias.objects.create(environment=deployment.environment, name="yearly", full_name="yearly/yearly")
    with refused("deployment.not_deployed"):
        desk.deployment("dev", "yearly", by=otto)


def test_an_alias_of_something_invisible_does_not_say_what_it_stands_for(
    deployment: Deployment, requester: User
) -> None:
    Alias.objects.create(environment=deployment.environment, name="hidden", full_name="payroll/payroll")
    grants.grant(by=Actor.system(), person=requester, verbs=[Verb.SEE], flow_name="payroll", effect="deny")
    with pytest.raises(desk.NotVisible) as caught:
        desk.deployment("dev", "hidden", by=desk.person("requester"))
    assert "payroll" not in str(caught.value)


def test_what_is_gone_is_not_found(deployment: Deployment, fake: FakePrefect, otto: Actor) -> None:
    fake.remove_deployment(deployment.prefect_id)
    sync.sync(deployment.environment)
    assert list(desk.deployments("dev", by=otto)) == []
    with pytest.raises(desk.NotVisible):
        desk.deployment("dev", "monthly", by=otto)


def test_what_may_not_be_seen_is_not_there(
    deployment: Deployment, prod_deployment: Deployment, a_run: Callable[..., Run], unprivileged: Actor, viewer: User
) -> None:
    run = a_run("RUNNING")
    assert not desk.environments(by=unprivileged)
    assert not desk.deployments(by=unprivileged)
    assert not desk.runs(by=unprivileged)
    for call in (
        lambda: desk.environment("dev", by=unprivileged),
        lambda: desk.deployment("dev", "monthly", by=unprivileged),
        lambda: desk.run(run.name, by=unprivileged),
        lambda: desk.trigger("dev", "monthly", {}, by=unprivileged),
        lambda: desk.cancel(str(run.prefect_id), by=unprivileged),
    ):
        with pytest.raises(desk.NotVisible):
            call()
    assert [each.slug for each in desk.environments(by=desk.person("viewer"))] == ["dev"]
    assert not AuditEntry.objects.filter(actor_name="stranger").exists()


def test_without_anybody_in_particular_everything_is_seen(
    deployment: Deployment, prod_deployment: Deployment, a_run: Callable[..., Run]
) -> None:
    a_run()
    assert {each.environment.slug for each in desk.deployments()} == {"dev", "prod"}
    assert len(desk.runs()) == 1


def test_a_run_is_found_by_id_name_and_request(
    deployment: Deployment, fake: FakePrefect, otto: Actor, a_run: Callable[..., Run]
) -> None:
    run = a_run(name="quiet-otter")
    assert desk.run("quiet-otter", by=otto) == desk.run(str(run.prefect_id), by=otto) == run
    run_request = launched(desk.trigger("dev", "monthly", {"month": "2026-10"}, by=otto))
    assert desk.run(f"request:{run_request.pk}", by=otto) == run_request.run
    for unknown in ("request:999", "request:x", "loud-otter", str(uuid.uuid4())):
        with pytest.raises(desk.NotVisible):
            desk.run(unknown, by=otto)


def test_a_run_is_looked_for_in_one_environment(otto: Actor, prod: Environment, a_run: Callable[..., Run]) -> None:
    run = a_run(name="quiet-otter")
    assert desk.run("quiet-otter", "dev", by=otto) == run
    with pytest.raises(desk.NotVisible):
        desk.run("quiet-otter", "prod", by=otto)


def test_a_run_name_that_several_have_lists_their_ids(otto: Actor, a_run: Callable[..., Run]) -> None:
    runs = [a_run(name="quiet-otter"), a_run("COMPLETED", name="quiet-otter")]
    with refused("run.ambiguous") as caught:
        desk.run("quiet-otter", by=otto)
    assert all(str(run.prefect_id) in str(caught.value) for run in runs)


def test_runs_are_filtered_by_state(otto: Actor, a_run: Callable[..., Run]) -> None:
    running = a_run("RUNNING")
    a_run("COMPLETED")
    assert desk.runs("dev", by=otto, state="running") == [running]
    assert len(desk.runs("dev", by=otto, limit=1)) == 1
    with refused("state.unknown"):
        desk.runs(by=otto, state="walking")


# Acting


def launched(run_request: RunRequest) -> RunRequest:
    """What a background task does with it."""
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    mirror.refresh(run_request.environment, [run_request.flow_run_id] if run_request.flow_run_id else [])
    run_request.refresh_from_db()
    return run_request


def test_the_same_key_again_is_the_same_request(deployment: Deployment, otto: Actor) -> None:
    again = key()
    first = desk.trigger("dev", "monthly", {"month": "2026-10"}, by=otto, key=again)
    assert desk.trigger("dev", "monthly", {"month": "2026-10"}, by=otto, key=again) == first


def test_seeing_is_not_yet_triggering(deployment: Deployment, viewer: User) -> None:
    with pytest.raises(Forbidden):
        desk.trigger("dev", "monthly", {"month": "2026-10"}, by=desk.person("viewer"))


def test_a_cancel_is_asked_for(otto: Actor, a_run: Callable[..., Run]) -> None:
    run = a_run()
    cancellation = desk.cancel(run.name, by=otto, reason="wrong month")
    assert (cancellation.run, cancellation.reason, cancellation.requested_by_name) == (run, "wrong month", "requester")


def test_waiting_ends_with_the_run(deployment: Deployment, fake: FakePrefect, otto: Actor) -> None:
    run_request = launched(desk.trigger("dev", "monthly", {"month": "2026-10"}, by=otto))
    assert run_request.flow_run_id
    fake.set_state(run_request.flow_run_id, "RUNNING")
    fake.set_state(run_request.flow_run_id, "COMPLETED")
    mirror.refresh(run_request.environment, [run_request.flow_run_id])
    assert desk.wait(run_request, seconds=0).state == State.COMPLETED
    assert desk.status(run_request.pk, by=otto).state == State.COMPLETED


def test_waiting_is_given_up_in_time(deployment: Deployment, otto: Actor) -> None:
    run_request = desk.trigger("dev", "monthly", {"month": "2026-10"}, by=otto)
    started = timezone.now()
    with refused("wait.timeout"):
        desk.wait(run_request, seconds=0.6)
    assert timezone.now() - started < timedelta(minutes=1)


def test_waiting_says_when_it_is_prefect_that_does_not_answer(
    deployment: Deployment, fake: FakePrefect, otto: Actor
) -> None:
    run_request = desk.trigger("dev", "monthly", {"month": "2026-10"}, by=otto)
    fake.go_down()
    dispatch.launch(run_request)
    with pytest.raises(PrefectError) as caught:
        desk.wait(run_request, seconds=0)
    run_request.refresh_from_db()
    assert run_request.next_attempt_at is not None
    assert run_request.message in str(caught.value)


def test_waiting_for_a_cancellation(fake: FakePrefect, otto: Actor, a_run: Callable[..., Run]) -> None:
    run = a_run()
    cancellation = desk.cancel(run.name, by=otto)
    dispatch.carry_out(cancellation)
    fake.set_state(run.prefect_id, "CANCELLED")
    mirror.refresh(run.environment, [run.prefect_id])
    assert desk.wait(cancellation, seconds=0).state == "done"


def test_a_request_that_may_not_be_seen_has_no_status(deployment: Deployment, otto: Actor, unprivileged: Actor) -> None:
    run_request = desk.trigger("dev", "monthly", {"month": "2026-10"}, by=otto)
    assert desk.status(run_request, by=otto) == run_request
    with pytest.raises(desk.NotVisible):
        desk.status(run_request, by=unprivileged)
    with pytest.raises(desk.NotVisible):
        desk.status(999)


# Prefect


def test_health_and_sync_ask_prefect_now(dev: Environment, fake: FakePrefect) -> None:
    assert desk.health("dev").state == Health.State.UP
    fake.add_deployment(flow_name="etl", name="new")
    assert desk.sync("dev").new == 1


def test_a_server_that_is_down_is_said(dev: Environment, fake: FakePrefect) -> None:
    fake.go_down()
    assert desk.health("dev").state == Health.State.DOWN
    with pytest.raises(PrefectError):
        desk.sync("dev")
    assert issubclass(Unreachable, PrefectError)


# Values that come as text


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "5", "5"),
        ({"type": "string"}, '"quoted"', '"quoted"'),
        ({"type": "integer"}, "5", 5),
        ({"type": "number"}, "2.5", 2.5),
        ({"type": "boolean"}, "true", True),
        ({"type": "array", "items": {"type": "string"}}, '["a"]', ["a"]),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "null", None),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "null", "null"),
        ({"type": "string", "format": "date"}, "2026-10-01", "2026-10-01"),
        ({"enum": [1, 2]}, "2", 2),
        ({"enum": ["1", "2"]}, "2", "2"),
        ({"type": "integer"}, "five", "five"),
        ({"type": "array", "items": {"type": "string"}}, "a,b", "a,b"),
    ],
)
def test_text_becomes_what_the_schema_wants(
    deployment: Deployment, schema: dict[str, Any], text: str, value: Any
) -> None:
    deployment.parameter_schema = {"type": "object", "properties": {"x": schema}}
    assert desk.typed(deployment, {"x": text}, {}) == {"x": value}


def test_a_text_that_cannot_be_read_is_refused_with_all_other_errors(deployment: Deployment) -> None:
    properties = {**SCHEMA["properties"], "columns": {"type": "array"}}
    deployment.parameter_schema = {**SCHEMA, "properties": properties}
    for text in ("[" * 100_000, "[1,"):
        with pytest.raises(Invalid) as caught:
            desk.typed(deployment, {"columns": text, "rows": "many"}, {})
        codes = {error.field: error.code for error in caught.value.errors}
        assert codes == {"columns": "parameter.json", "rows": "parameter.type", "month": "parameter.required"}


def test_text_wins_over_the_file(deployment: Deployment) -> None:
    assert deployment.parameter_schema == SCHEMA
    assert desk.typed(deployment, {"rows": "7"}, {"rows": 5, "month": "2026-10"}) == {"rows": 7, "month": "2026-10"}
