"""A deployment that was deleted and deployed again under its name is the same deployment at every door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows import deployments
from flows.catalog import sync
from flows.models import Deployment
from runs import mirror, requests
from runs.models import Run, RunRequest
from tests.cast import SCHEMA, by
from tests.fakes.prefect import FakePrefect
from tests.portal.client.in_process import Commands
from tests.portal.forms import PLAIN, form_of, hidden
from tests.refusals import refused

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]


@pytest.fixture
def earlier(deployment: Deployment, requester: User) -> RunRequest:
    """Of the deployment before it was deleted."""
    return requests.submit(deployment, {"month": "2026-01", "rows": 7, "token": "hunter22"}, by=by(requester))


@pytest.fixture
def ran(a_run: Callable[..., Run]) -> Run:
    return a_run("COMPLETED", parameters={"month": "2026-02", "rows": 3})


@pytest.fixture
def again(deployment: Deployment, earlier: RunRequest, ran: Run, fake: FakePrefect) -> Deployment:
    """As it is now, with another id."""
    record = fake.deployment(deployment.prefect_id)
    fake.remove_deployment(deployment.prefect_id)
    sync.sync(deployment.environment)
    made = fake.add_deployment(flow_name="monthly", name="monthly", parameter_schema=SCHEMA, tags=record.tags)
    sync.sync(deployment.environment)
    return Deployment.objects.select_related("environment").get(prefect_id=made.id)


def newest() -> RunRequest:
    return RunRequest.objects.order_by("-pk")[0]


def rerun_in_python(earlier: RunRequest, requester: User, **doors: Any) -> None:
    requests.rerun(RunRequest.objects.get(pk=earlier.pk), by=by(requester))


def rerun_by_client(earlier: RunRequest, requester: User, command: Commands, **doors: Any) -> None:
    ended = command(requester, "rerun", earlier.pk, "-p", "rows=7")
    assert ended.code == 0, ended.err


def rerun_on_its_page(earlier: RunRequest, client: Client, **doors: Any) -> None:
    page = client.get(reverse("admin:runs_runrequest_change", args=[earlier.pk])).content.decode()
    again = Deployment.objects.get(deleted_upstream_at=None)
    form = form_of(again, f"?again={earlier.pk}")
    assert form in page
    filled = {
        **PLAIN,
        **hidden(client.get(form).content.decode()),
        "parameters-month": "2026-01",
        "parameters-rows": "7",
    }
    assert client.post(form, filled).status_code == 302


@pytest.mark.parametrize("rerun", [rerun_in_python, rerun_by_client, rerun_on_its_page])
def test_a_request_is_repeated_for_the_deployment_of_that_name(
    rerun: Callable[..., None],
    earlier: RunRequest,
    again: Deployment,
    requester: User,
    login: Login,
    command: Commands,
) -> None:
    rerun(earlier=earlier, requester=requester, client=login(requester), command=command)
    made = newest()
    assert (made.spec.rerun_of, made.deployment, made.spec.deployment_prefect_id) == (earlier, again, again.prefect_id)
    assert requests.values_of(made) == requests.values_of(earlier)


def test_without_such_a_deployment_it_is_refused(
    deployment: Deployment, earlier: RunRequest, fake: FakePrefect, requester: User
) -> None:
    fake.remove_deployment(deployment.prefect_id)
    sync.sync(deployment.environment)
    deployment.refresh_from_db()
    assert deployments.current(deployment) is None
    with refused("deployment.gone"):
        requests.rerun(earlier, by=by(requester))


def test_a_run_of_before_fills_in_the_form_of_now(again: Deployment, ran: Run, requester: User, login: Login) -> None:
    client = login(requester)
    form = form_of(again, f"?like={ran.pk}")
    assert form in client.get(reverse("admin:runs_run_change", args=[ran.pk])).content.decode()
    assert 'value="2026-02"' in client.get(form).content.decode()


def test_its_page_and_the_list_show_the_runs_of_that_name(
    again: Deployment, ran: Run, requester: User, login: Login
) -> None:
    client = login(requester)
    page = client.get(reverse("admin:flows_deployment_change", args=[again.pk]))
    assert [row.record for row in page.context["last_runs"].rows] == [ran]
    assert page.context["figures"].ended == 1
    (row,) = client.get(reverse("admin:flows_deployment_changelist")).context["cl"].result_list
    assert (row.pk, row.last_run.pk) == (again.pk, ran.pk)


def test_its_own_last_run_comes_before_those_of_earlier(
    again: Deployment, fake: FakePrefect, requester: User, login: Login
) -> None:
    record = fake.add_run(again.prefect_id, state_type="FAILED")
    mirror.refresh(again.environment, [record.id])
    (row,) = login(requester).get(reverse("admin:flows_deployment_changelist")).context["cl"].result_list
    assert row.last_run.pk == Run.objects.get(prefect_id=record.id).pk


def test_the_page_of_the_deleted_one_leads_to_the_one_of_now(
    deployment: Deployment, again: Deployment, requester: User, login: Login
) -> None:
    page = login(requester).get(reverse("admin:flows_deployment_change", args=[deployment.pk])).content.decode()
    assert reverse("admin:flows_deployment_change", args=[again.pk]) in page


def test_other_environments_and_names_are_others(
    again: Deployment, prod_deployment: Deployment, fake: FakePrefect
) -> None:
    fake.add_deployment(flow_name="monthly", name="weekly", parameter_schema=SCHEMA)
    sync.sync(again.environment)
    assert again in deployments.of_one_name(again)
    assert deployments.of_one_name(again).count() == 2
    assert deployments.current(prod_deployment) == prod_deployment
