"""Rows are found by the names that people use, as far as they can see them."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from flows.catalog import sync
from flows.models import Alias, Deployment, Environment
from runs import dispatch, mirror, names, requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import Run, Verb
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db


# Deployments


@pytest.mark.parametrize("name", ["monthly/monthly", "monthly", "nightly-load"])
def test_a_deployment_has_several_names(deployment: Deployment, requester: User, name: str) -> None:
    Alias.objects.create(environment=deployment.environment, name="nightly-load", full_name="monthly/monthly")
    assert names.deployment("dev", name, by=by(requester)) == deployment
    assert names.deployment("dev", str(deployment.prefect_id), by=by(requester)) == deployment


def test_a_name_that_several_have_is_refused(deployment: Deployment, fake: FakePrefect, requester: User) -> None:
    fake.add_deployment(flow_name="monthly", name="again")
    sync.sync(deployment.environment)
    with refused("deployment.ambiguous"):
        names.deployment("dev", "monthly", by=by(requester))
    assert names.deployment("dev", "monthly/monthly", by=by(requester)) == deployment


def test_an_unknown_name_says_what_there_is(deployment: Deployment, requester: User) -> None:
    with refused("deployment.unknown") as caught:
        names.deployment("dev", "yearly", by=by(requester))
    assert "monthly/monthly" in str(caught.value)


def test_an_alias_of_something_not_deployed_says_what_to_deploy(deployment: Deployment, requester: User) -> None:
    Alias.objects.create(environment=deployment.environment, name="yearly", full_name="yearly/yearly")
    with refused("deployment.not_deployed") as caught:
        names.deployment("dev", "yearly", by=by(requester))
    assert "alias of yearly," in str(caught.value)


def test_an_alias_of_something_invisible_does_not_say_what_it_stands_for(
    deployment: Deployment, requester: User
) -> None:
    Alias.objects.create(environment=deployment.environment, name="hidden", full_name="payroll/payroll")
    grants.grant(by=Actor.system(), person=requester, verbs=[Verb.SEE], flow_name="payroll", effect="deny")
    with pytest.raises(names.NotVisible) as caught:
        names.deployment("dev", "hidden", by=by(requester))
    assert "payroll" not in str(caught.value)


def test_what_is_gone_is_not_found(deployment: Deployment, fake: FakePrefect, requester: User) -> None:
    fake.remove_deployment(deployment.prefect_id)
    sync.sync(deployment.environment)
    assert list(names.deployments("dev", by=by(requester))) == []
    with pytest.raises(names.NotVisible):
        names.deployment("dev", "monthly", by=by(requester))


def test_what_may_not_be_seen_is_not_there(
    deployment: Deployment, prod_deployment: Deployment, a_run: Callable[..., Run], stranger: User, viewer: User
) -> None:
    run, unprivileged = a_run("RUNNING"), by(stranger)
    assert not names.environments(by=unprivileged)
    assert not names.deployments(by=unprivileged)
    for call in (
        lambda: names.environment("dev", by=unprivileged),
        lambda: names.deployment("dev", "monthly", by=unprivileged),
        lambda: names.run(run.name, by=unprivileged),
        lambda: names.run(str(run.prefect_id), by=unprivileged),
    ):
        with pytest.raises(names.NotVisible):
            call()
    assert [each.slug for each in names.environments(by=by(viewer))] == ["dev"]
    # Neither who sees the environment, and in it another flow.
    grants.grant(by=Actor.system(), person=stranger, verbs=["see"], environment=run.environment, flow_name="other")
    unprivileged = by(stranger)
    assert names.environment("dev", by=unprivileged) == run.environment
    for reference in (run.name, str(run.prefect_id)):
        with pytest.raises(names.NotVisible):
            names.run(reference, by=unprivileged)


def test_without_an_actor_everything_is_found(deployment: Deployment, prod_deployment: Deployment) -> None:
    assert {each.environment.slug for each in names.deployments()} == {"dev", "prod"}


# Runs


def test_a_run_is_found_by_id_name_and_request(
    deployment: Deployment, requester: User, a_run: Callable[..., Run]
) -> None:
    run, reader = a_run(name="quiet-otter"), by(requester)
    assert names.run("quiet-otter", by=reader) == names.run(str(run.prefect_id), by=reader) == run
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=reader)
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.flow_run_id
    mirror.refresh(run_request.environment, [run_request.flow_run_id])
    run_request.refresh_from_db()
    assert names.run(f"request:{run_request.pk}", by=reader) == run_request.run
    for unknown in ("request:999", "request:x", "loud-otter", str(uuid.uuid4())):
        with pytest.raises(names.NotVisible):
            names.run(unknown, by=reader)


def test_a_run_is_looked_for_in_one_environment(requester: User, prod: Environment, a_run: Callable[..., Run]) -> None:
    run = a_run(name="quiet-otter")
    assert names.run("quiet-otter", "dev", by=by(requester)) == run
    with pytest.raises(names.NotVisible):
        names.run("quiet-otter", "prod", by=by(requester))


def test_a_run_name_that_several_have_lists_their_ids(requester: User, a_run: Callable[..., Run]) -> None:
    runs = [a_run(name="quiet-otter"), a_run("COMPLETED", name="quiet-otter")]
    with refused("run.ambiguous") as caught:
        names.run("quiet-otter", by=by(requester))
    assert all(str(run.prefect_id) in str(caught.value) for run in runs)
