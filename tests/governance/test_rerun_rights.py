"""Re-run a request: secrets stay unseen, and `rerun` alone is enough only for unchanged values."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User

from flows.catalog import sync
from flows.models import Deployment, Environment
from runs import dispatch, requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, RunRequest, Verb
from runs.models.request import State
from tests.cast import SCHEMA, by
from tests.fakes.prefect import FakePrefect
from tests.refusals import forbidden, refused

pytestmark = pytest.mark.django_db

SECRET = "hunter22"


@pytest.fixture
def first(deployment: Deployment, requester: User) -> RunRequest:
    return requests.submit(
        deployment, {"month": "2026-10", "token": SECRET}, by=by(requester), run_name="october", tags=["x"]
    )


@pytest.fixture
def repeater(stranger: User) -> User:
    """Somebody who may run again what ran before, and ask for nothing of their own."""
    grants.grant(by=Actor.system(), person=stranger, verbs=["see", "rerun"])
    return stranger


def test_it_runs_again_with_the_secret_that_nobody_saw(first: RunRequest, repeater: User, fake: FakePrefect) -> None:
    run_request = requests.rerun(first, by=by(repeater), reason="it failed")
    assert (run_request.spec.rerun_of, run_request.spec.verb, run_request.spec.run_name, run_request.spec.tags) == (
        first,
        "rerun",
        "october",
        ["x"],
    )
    assert SECRET not in json.dumps([run_request.spec.parameters, run_request.change.policy, run_request.message])
    assert SECRET.encode() not in bytes(run_request.spec.sealed_parameters)
    dispatch.launch(run_request)
    assert fake.calls[-1].arguments["parameters"]["token"] == SECRET
    trail = json.dumps([[e.before, e.after, e.message, e.reason] for e in AuditEntry.objects.all()])
    assert SECRET not in trail


@pytest.mark.parametrize("changes", [{"rows": 7}, {"token": "other"}, {"month": "2026-11"}])
def test_with_other_values_it_is_a_run_of_its_own(
    first: RunRequest, repeater: User, changes: dict[str, object]
) -> None:
    with forbidden(Verb.TRIGGER):
        requests.rerun(first, by=by(repeater), changes=changes)
    grants.grant(by=Actor.system(), person=repeater, verbs=["trigger"])
    assert requests.rerun(first, by=by(repeater), changes=changes).spec.verb == "trigger"


def test_a_change_to_the_same_value_is_none(first: RunRequest, repeater: User) -> None:
    assert requests.rerun(first, by=by(repeater), changes={"month": "2026-10"}).spec.verb == "rerun"


def test_it_is_repeated_where_it_was_and_nowhere_else(
    first: RunRequest, repeater: User, dev: Environment, fake: FakePrefect
) -> None:
    fake.add_deployment(flow_name="payroll", name="payroll", parameter_schema=SCHEMA)
    sync.sync(dev)
    other = Deployment.objects.get(flow_name="payroll")
    with refused("rerun.other_deployment"):
        requests.submit(other, requests.values_of(first), by=by(repeater), rerun_of=first)


def test_every_gate_is_asked_as_of_anything_else(
    first: RunRequest, repeater: User, dev: Environment, fake: FakePrefect
) -> None:
    Environment.objects.filter(pk=dev.pk).update(needs_approval=True)
    assert requests.rerun(first, by=by(repeater)).state == State.HELD
    grants.grant(by=Actor.system(), person=repeater, verbs=["trigger"], effect="deny")
    with forbidden(Verb.RERUN, "access.denied"):
        requests.rerun(first, by=by(repeater))


def test_a_condition_on_values_binds_a_repetition_too(first: RunRequest, stranger: User) -> None:
    grants.grant(
        by=Actor.system(), person=stranger, verbs=["rerun"], predicate={"properties": {"rows": {"maximum": 5}}}
    )
    with forbidden(Verb.RERUN, "access.values"):
        requests.rerun(first, by=by(stranger))


def test_the_right_to_repeat_that_is_gone_by_the_launch_bites(
    first: RunRequest, repeater: User, fake: FakePrefect
) -> None:
    run_request = requests.rerun(first, by=by(repeater))
    grants.grant(by=Actor.system(), person=repeater, verbs=["rerun"], effect="deny")
    dispatch.launch(run_request)
    assert run_request.state == State.REFUSED
    assert "create_flow_run" not in [call.method for call in fake.calls]
