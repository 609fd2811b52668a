"""Pairs of environments are compared when something changes, and keep since when they differ."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from flows.catalog import sync
from flows.models import Alias, Deployment, Environment
from runs import definitions, tasks
from runs.drift import pairs
from runs.drift.since import Since
from runs.models import AuditEntry, Drift
from tests.cast import make_environment
from tests.fakes.prefect import FakePrefect
from tests.made_schedules import let_schedule, schedule_of

pytestmark = pytest.mark.django_db
Kind = Drift.Kind


def read(*environments: Environment) -> None:
    for environment in environments:
        sync.sync(environment, on_change=definitions.record_changes)
    tasks.compare_environments()


def only() -> Drift:
    return Drift.objects.get()


def since(kind: Kind) -> Since:
    return Since.read(only().since[kind])


def test_a_change_in_one_environment_is_found_with_its_time_and_side(
    dev: Environment, prod: Environment, fake: FakePrefect, deployment: Deployment, prod_deployment: Deployment
) -> None:
    read(dev, prod)
    assert (only().left, only().right, only().kinds) == (deployment, prod_deployment, [])
    fake.change_deployment(deployment.prefect_id, version="2", tags=("crm", "new"))
    read(dev, prod)
    assert only().kinds == [Kind.VERSION, Kind.TAGS]
    # By the record; tags have none, so by the comparison.
    recorded = AuditEntry.objects.get(verb="deployment.changed")
    assert since(Kind.VERSION) == Since(recorded.at, "left")
    assert (since(Kind.TAGS).side, since(Kind.TAGS).is_exact) == ("left", True)
    assert only().changed_at == since(Kind.TAGS).at


def test_a_difference_keeps_its_time_until_it_is_gone(
    dev: Environment,
    prod: Environment,
    fake: FakePrefect,
    prod_fake: FakePrefect,
    deployment: Deployment,
    prod_deployment: Deployment,
) -> None:
    fake.change_deployment(deployment.prefect_id, concurrency_limit=5)
    read(dev, prod)
    first = since(Kind.LIMITS)
    assert (first.is_exact, first.side) == (False, "")
    prod_fake.change_deployment(prod_deployment.prefect_id, concurrency_limit=7, tags=("x",))
    read(dev, prod)
    assert since(Kind.LIMITS) == first
    assert since(Kind.TAGS).side == "right"
    prod_fake.change_deployment(prod_deployment.prefect_id, concurrency_limit=5)
    read(dev, prod)
    assert only().kinds == [Kind.TAGS]
    prod_fake.change_deployment(prod_deployment.prefect_id, concurrency_limit=6)
    read(dev, prod)
    assert since(Kind.LIMITS).is_exact


def test_a_first_comparison_reads_the_record(
    dev: Environment, prod: Environment, fake: FakePrefect, deployment: Deployment, prod_deployment: Deployment
) -> None:
    for version in ("2", "3"):
        fake.change_deployment(deployment.prefect_id, version=version)
        sync.sync(dev, on_change=definitions.record_changes)
    tasks.compare_environments()
    first = AuditEntry.objects.filter(verb="deployment.changed").earliest("sequence")
    assert since(Kind.VERSION) == Since(first.at, "left")


def test_only_what_changed_is_read_again(
    dev: Environment, prod: Environment, fake: FakePrefect, deployment: Deployment, prod_deployment: Deployment
) -> None:
    read(dev, prod)
    assert pairs.refresh() == 0
    with CaptureQueriesContext(connection) as queries:
        pairs.refresh()
    assert not any("parameter_schema" in each["sql"] for each in queries)
    fake.change_deployment(deployment.prefect_id, parameter_defaults={"rows": 5})
    sync.sync(dev)
    assert pairs.refresh() == 1
    assert only().kinds == [Kind.DEFAULTS]


def test_one_that_is_deployed_again_is_the_same_pair(
    dev: Environment, prod: Environment, fake: FakePrefect, deployment: Deployment, prod_deployment: Deployment
) -> None:
    fake.change_deployment(deployment.prefect_id, tags=("x",))
    read(dev, prod)
    first = since(Kind.TAGS)
    old = fake.deployment(deployment.prefect_id)
    fake.remove_deployment(deployment.prefect_id)
    new = fake.add_deployment("monthly", "monthly", parameter_schema=old.parameter_schema, tags=("x",))
    read(dev, prod)
    assert (only().left.prefect_id, since(Kind.TAGS)) == (new.id, first)


@pytest.mark.parametrize("how", ["deleted", "disabled"])
def test_what_is_not_deployed_in_both_is_no_pair(
    dev: Environment,
    prod: Environment,
    fake: FakePrefect,
    deployment: Deployment,
    prod_deployment: Deployment,
    how: str,
) -> None:
    read(dev, prod)
    if how == "deleted":
        fake.remove_deployment(deployment.prefect_id)
        sync.sync(dev)
    else:
        Environment.objects.filter(pk=dev.pk).update(is_active=False)
    tasks.compare_environments()
    assert not Drift.objects.exists()


def test_an_alias_makes_a_pair_of_two_names(dev: Environment, prod: Environment, fake: FakePrefect) -> None:
    from_dev = fake.add_deployment(flow_name="etl", name="dev-nightly")
    sync.sync(dev)
    other = make_environment("staging", position=2)
    row = Deployment.objects.get(prefect_id=from_dev.id)
    columns: dict[str, Any] = {each.name: getattr(row, each.name) for each in Deployment._meta.concrete_fields}
    columns |= {"id": None, "environment": other, "full_name": "etl/nightly", "name": "nightly", "version": "2"}
    Deployment.objects.create(**columns)
    assert pairs.refresh() == 0
    Alias.objects.create(environment=dev, name="nightly", full_name="etl/dev-nightly")
    Alias.objects.create(environment=other, name="nightly", full_name="etl/nightly")
    assert pairs.refresh() == 1
    assert (only().left_name, only().right_name, only().kinds) == ("etl/dev-nightly", "etl/nightly", [Kind.VERSION])


def test_all_pairs_of_three_environments_are_compared(
    dev: Environment, prod: Environment, deployment: Deployment, prod_deployment: Deployment
) -> None:
    third = make_environment("staging", position=2)
    columns = {each.name: getattr(deployment, each.name) for each in Deployment._meta.concrete_fields}
    Deployment.objects.create(**columns | {"id": None, "environment": third, "is_paused": True})
    assert [pairs.refresh(most=2), pairs.refresh(most=2)] == [2, 1]
    found = {(each.left_environment.slug, each.right_environment.slug): each.kinds for each in Drift.objects.all()}
    paused = [Kind.SCHEDULES]
    assert found == {("dev", "prod"): [], ("dev", "staging"): paused, ("prod", "staging"): paused}


def test_a_deployment_with_a_schedule_of_the_portal_differs(
    dev: Environment, prod: Environment, deployment: Deployment, prod_deployment: Deployment, requester: User
) -> None:
    read(dev, prod)
    let_schedule(requester, deployment)
    schedule_of(deployment, requester)
    assert pairs.refresh() == 1
    assert only().kinds == [Kind.PORTAL_SCHEDULES]
