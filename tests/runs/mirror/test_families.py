"""Subflow runs belong to the run that called them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from flows.prefect_api.records import FlowRunRecord
from runs import dispatch, listings, mirror, requests
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, Run, Verb
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db


@pytest.fixture
def swept(dev: Environment, fake: FakePrefect, deployment: Deployment) -> Deployment:
    """The environment was read before, and had no run."""
    mirror.sync(dev)
    fake._flows["inner"] = UUID(int=7)
    return deployment


@pytest.fixture
def call(fake: FakePrefect) -> Callable[..., FlowRunRecord]:
    """Calls a subflow from a run, as Prefect's engine does."""

    def make(parent: UUID, name: str = "load-orders", **columns: Any) -> FlowRunRecord:
        task = fake.add_task_run(parent, name="inner-load-0")
        plain = {"state_type": "RUNNING", "flow_id": UUID(int=7), "parent_task_run_id": task.id, "name": name}
        return fake.add_run(**plain | columns)

    return make


Call = Callable[..., FlowRunRecord]


@pytest.fixture
def asked(swept: Deployment, fake: FakePrefect, requester: User) -> FlowRunRecord:
    """A run that was requested here, and runs."""
    run_request = requests.submit(swept, {"month": "2026-10"}, by=by(requester))
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.flow_run_id
    return fake.set_state(run_request.flow_run_id, "RUNNING")


def appeared() -> list[str]:
    return list(AuditEntry.objects.filter(verb="run.appeared").values_list("subject_name", flat=True))


def run_of(record: FlowRunRecord) -> Run:
    return Run.objects.get(prefect_id=record.id)


@pytest.mark.parametrize("order", ["parent first", "child first", "child alone", "together"])
def test_a_subflow_run_is_part_of_its_run_in_whatever_order_they_are_read(
    order: str, dev: Environment, asked: FlowRunRecord, call: Call
) -> None:
    child = call(asked.id)
    grandchild = call(child.id, name="load-lines")
    ids = [asked.id, child.id, grandchild.id]
    groups = {"parent first": [ids[:1], ids[1:]], "child first": [ids[1:], ids[:1]], "child alone": [ids[2:]]}
    for group in groups.get(order, [ids]):
        mirror.refresh(dev, group)
    parent, inner, innermost = run_of(asked), run_of(child), run_of(grandchild)
    assert (inner.parent, innermost.parent, parent.parent) == (parent, inner, None)
    assert inner.flow_name == innermost.flow_name == "inner"
    assert {each.access_deployment for each in (parent, inner, innermost)} == {parent.deployment}
    assert (inner.deployment, inner.deployment_name) == (None, "")
    assert not appeared()


def test_a_tree_that_was_started_outside_is_one_entry(
    dev: Environment, swept: Deployment, fake: FakePrefect, call: Call
) -> None:
    root = fake.add_run(swept.prefect_id, state_type="RUNNING", name="root")
    for number in range(3):
        call(call(root.id, name=f"child {number}").id)
    mirror.sync(dev)
    mirror.sync(dev)
    assert Run.objects.count() == 7
    assert appeared() == ["root"]


def test_a_run_that_claims_a_parent_which_did_not_run_then_is_an_entry(
    dev: Environment, swept: Deployment, fake: FakePrefect, call: Call
) -> None:
    ended = fake.add_run(swept.prefect_id, state_type="COMPLETED", name="ended")
    fake.change_run(
        ended.id, ended_at=timezone.now() - timedelta(hours=1), created_at=timezone.now() - timedelta(days=1)
    )
    planned = fake.add_run(swept.prefect_id, state_type="SCHEDULED", name="planned")
    for parent in (ended, planned):
        call(parent.id, name=f"claims {parent.name}", deployment_id=swept.prefect_id)
    mirror.sync(dev)
    assert {"claims ended", "claims planned"} <= set(appeared())
    assert not Run.objects.filter(parent__isnull=False).exists()


def test_a_parent_that_is_deleted_in_prefect_keeps_its_children(
    dev: Environment, asked: FlowRunRecord, call: Call, fake: FakePrefect
) -> None:
    child = call(asked.id)
    mirror.refresh(dev, [asked.id, child.id])
    fake.remove_run(asked.id)
    fake.set_state(child.id, "COMPLETED")
    mirror.refresh(dev, [asked.id, child.id])
    assert run_of(child).parent == run_of(asked)
    assert run_of(child).flow_name == "inner"
    assert run_of(child).access_deployment == run_of(asked).deployment


def test_what_is_known_is_not_asked_again(
    dev: Environment, asked: FlowRunRecord, call: Call, fake: FakePrefect
) -> None:
    child = call(asked.id)
    mirror.refresh(dev, [asked.id, child.id])
    fake.calls.clear()
    mirror.refresh_state(dev, [child.id])
    assert [each.method for each in fake.calls] == ["flow_runs", "flow_names"]


@pytest.mark.parametrize("grant", [{"flow_name": "monthly"}, {"full_name": "monthly/monthly"}, {"tag": "crm"}, {}])
@pytest.mark.parametrize("denied", [False, True])
def test_a_subflow_run_is_visible_exactly_as_its_run(
    dev: Environment, asked: FlowRunRecord, call: Call, grant: dict[str, str], denied: bool
) -> None:
    child = call(asked.id)
    mirror.refresh(dev, [asked.id, child.id])
    reader = person("reader")
    if denied:
        grants.grant(by=Actor.system(), person=reader, verbs=["see", "cancel"], environment=dev)
        grants.grant(by=Actor.system(), person=reader, verbs=["see", "cancel"], environment=dev, effect="deny", **grant)
    else:
        grants.grant(by=Actor.system(), person=reader, verbs=["see", "cancel"], environment=dev, **grant)
    # A grant for the flow of the subflow says nothing about it.
    grants.grant(by=Actor.system(), person=reader, verbs=["see"], environment=dev, flow_name="inner")
    expected = set() if denied else {asked.id, child.id}
    assert {each.prefect_id for each in listings.RUNS.rows(by(reader))} == expected if not denied else True
    permissions = Permissions.of_person(reader)
    for run in (run_of(asked), run_of(child)):
        for verb in (Verb.SEE, Verb.CANCEL):
            found = Run.objects.filter(permissions.q(verb, deployment="access_deployment__"), pk=run.pk).exists()
            assert found == bool(permissions.decide(verb, Target.of_run(run))) == (not denied)


def page_of(record: FlowRunRecord) -> str:
    return reverse("admin:runs_run_change", args=[run_of(record).pk])


def test_both_pages_and_the_list_link_to_each_other(
    dev: Environment, asked: FlowRunRecord, call: Call, requester: User, login: Callable[[User], Client]
) -> None:
    child = call(asked.id)
    mirror.refresh(dev, [asked.id, child.id])
    client = login(requester)
    assert f'href="{page_of(child)}"' in client.get(page_of(asked)).content.decode()
    below = client.get(page_of(child)).content.decode()
    assert f'href="{page_of(asked)}"' in below
    assert "inner" in below
    runs = reverse("admin:runs_run_changelist")
    assert f'part of <a class="portal-link" href="{page_of(asked)}"' in client.get(runs).content.decode()
    assert page_of(child) in client.get(f"{runs}?origin=subflow").content.decode()
    assert page_of(child) not in client.get(f"{runs}?origin=outside").content.decode()


def test_a_run_with_a_deployment_of_its_own_goes_by_that(
    dev: Environment,
    asked: FlowRunRecord,
    call: Call,
    fake: FakePrefect,
    requester: User,
    login: Callable[[User], Client],
) -> None:
    other = fake.add_deployment(flow_name="inner", name="secret", flow_id=UUID(int=7))
    sync.sync(dev)
    child = call(asked.id, deployment_id=other.id, name="hidden-child")
    mirror.refresh(dev, [asked.id, child.id])
    assert not appeared()
    assert run_of(child).access_deployment == Deployment.objects.get(prefect_id=other.id)
    grants.grant(by=Actor.system(), person=requester, verbs=["see"], effect="deny", flow_name="inner", environment=dev)
    client = login(requester)
    assert client.get(page_of(child)).status_code == 404
    assert page_of(child) not in client.get(page_of(asked)).content.decode()
    only_child = person("only-child")
    grants.grant(by=Actor.system(), person=only_child, verbs=["see"], flow_name="inner", environment=dev)
    client = login(only_child)
    page = client.get(page_of(child)).content.decode()
    listed = client.get(reverse("admin:runs_run_changelist")).content.decode()
    for shown in (page, listed):
        assert "hidden-child" in shown
        assert page_of(asked) not in shown
        assert run_of(asked).name not in shown


def test_a_circle_of_parents_ends(dev: Environment, swept: Deployment, fake: FakePrefect, call: Call) -> None:
    one = fake.add_run(swept.prefect_id, state_type="RUNNING")
    two = call(one.id)
    task = fake.add_task_run(two.id)
    fake._runs[one.id] = replace(fake._runs[one.id], parent_task_run_id=task.id)
    mirror.sync(dev)
    assert Run.objects.count() == 2
