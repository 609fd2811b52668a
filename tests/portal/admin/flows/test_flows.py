"""Flows: seen through the deployments that one sees, with the numbers of these alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from runs.actors import Actor
from runs.governance import grants
from runs.models import DeploymentDayCount
from tests.cast import person
from tests.fakes.prefect import FakePrefect
from tests.portal import query_counts
from tests.portal.many_rows import many_runs

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
LIST = reverse("admin:flows_flow_changelist")


@pytest.fixture
def others(dev: Environment, fake: FakePrefect, deployment: Deployment) -> None:
    """Beside `monthly/monthly`, one more of that flow and one of another, all in dev."""
    fake.add_deployment(flow_name="monthly", name="catch-up")
    fake.add_deployment(flow_name="etl & co", name="daily", tags=("night",))
    sync.sync(dev)


def address(name: str) -> str:
    return reverse("admin:flows_flow_change", args=[name])


def names(client: Client, query: str = "") -> list[str]:
    return [row.flow_name for row in client.get(f"{LIST}{query}").context["cl"].result_list]


def ended(deployment: Deployment, completed: int, failed: int, *, days_ago: int = 1) -> None:
    day = (datetime.now(UTC) - timedelta(days=days_ago)).date()
    for state, number in (("COMPLETED", completed), ("FAILED", failed)):
        DeploymentDayCount.objects.create(
            environment=deployment.environment,
            deployment=deployment,
            access_deployment=deployment,
            day=day,
            state_type=state,
            number=number,
            total_ms=0,
        )


def test_a_flow_stands_once_with_its_environments(
    others: None, prod_deployment: Deployment, requester: User, viewer: User, login: Login
) -> None:
    rows = login(requester).get(LIST).context["cl"].result_list
    assert [(row.flow_name, row.summary.deployments) for row in rows] == [("etl & co", 1), ("monthly", 3)]
    assert [place.environment.slug for place in rows[1].summary.places] == ["dev", "prod"]
    (_, seen) = login(viewer).get(LIST).context["cl"].result_list
    assert [(place.environment.slug, place.deployments) for place in seen.summary.places] == [("dev", 2)]


def test_filters_and_search_are_about_what_the_reader_sees(
    others: None, prod_deployment: Deployment, requester: User, viewer: User, login: Login
) -> None:
    client = login(requester)
    assert names(client, "?environment=prod") == ["monthly"]
    assert names(client, "?environment=dev&tag=night") == ["etl & co"]
    assert names(client, "?q=MONTH") == ["monthly"]
    assert names(client, "?o=-0") == ["monthly", "etl & co"]
    # There is no order by the others.
    assert names(client, "?o=1.-3") == ["etl & co", "monthly"]
    # In prod, which is hidden, it could be told by the filter that there is one.
    assert names(login(viewer), "?environment=prod") == []
    assert names(login(viewer), "?tag=crm&environment=dev") == ["monthly"]


def test_a_flow_of_which_no_deployment_is_visible_does_not_exist(
    others: None, prod_deployment: Deployment, dev: Environment, stranger: User, login: Login
) -> None:
    narrow = person("narrow")
    grants.grant(by=Actor.system(), person=narrow, verbs=["see"], environment=dev, full_name="monthly/catch-up")
    client = login(narrow)
    assert names(client) == ["monthly"]
    many_runs(Deployment.objects.get(full_name="monthly/monthly", environment=dev), 1, name="covert-otter")
    page = client.get(address("monthly"))
    assert [row.full_name for row in page.context["deployments"]] == ["monthly/catch-up"]
    assert b"covert-otter" not in page.content
    for name in ("etl & co", "none", "\0", "monthly/monthly"):
        assert client.get(f"{LIST}{name}/change/").status_code == 404
    assert login(stranger).get(address("monthly")).status_code == 404
    assert login(stranger).get(LIST).status_code == 403


def test_how_its_runs_ended_is_counted_from_what_is_visible(
    others: None, prod_deployment: Deployment, deployment: Deployment, requester: User, viewer: User, login: Login
) -> None:
    ended(deployment, 3, 1)
    ended(deployment, 50, 0, days_ago=31)
    ended(prod_deployment, 6, 0)
    page = login(requester).get(address("monthly"))
    assert (page.context["numbers"].ended, page.context["numbers"].failed, page.context["numbers"].rate) == (
        10,
        1,
        "90%",
    )
    assert [(place.environment.slug, place.numbers.rate) for place in page.context["places"]] == [
        ("dev", "75%"),
        ("prod", "100%"),
    ]
    assert login(viewer).get(address("monthly")).context["numbers"].ended == 4


def test_its_last_runs_are_those_of_all_its_deployments(
    others: None, deployment: Deployment, viewer: User, login: Login
) -> None:
    many_runs(deployment, 1, name="old-otter", created_upstream_at=timezone.now() - timedelta(1))
    other = Deployment.objects.get(full_name="monthly/catch-up")
    many_runs(other, 1, name="new-otter", state_type="FAILED", created_upstream_at=timezone.now())
    many_runs(other, 1, name="next", state_type="SCHEDULED")
    client = login(viewer)
    assert [run.name for run in client.get(address("monthly")).context["last_runs"]] == ["new-otter", "old-otter"]
    (row,) = client.get(f"{LIST}?q=monthly").context["cl"].result_list
    assert row.last_run.state_label == "Failed"
    page = client.get(reverse("admin:flows_deployment_change", args=[other.pk])).content.decode()
    assert f'href="{address("monthly")}"' in page
    runs = client.get(f"{reverse('admin:runs_run_changelist')}?flow=monthly").context["cl"].result_list
    assert {run.name for run in runs} == {"new-otter", "old-otter", "next"}


def test_a_flow_whose_deployments_are_gone_is_gone(
    others: None, dev: Environment, fake: FakePrefect, viewer: User, login: Login
) -> None:
    fake.remove_deployment(Deployment.objects.get(flow_name="etl & co").prefect_id)
    sync.sync(dev)
    assert names(login(viewer)) == ["monthly"]


def test_it_is_only_looked_at(others: None, admin_user: User, login: Login) -> None:
    assert login(admin_user).post(address("monthly")).status_code == 405
    assert b"Add flow" not in login(admin_user).get(LIST).content


def test_more_flows_take_no_more_queries(
    dev: Environment, fake: FakePrefect, deployment: Deployment, viewer: User, login: Login
) -> None:
    client = login(viewer)
    few = query_counts.count(client, LIST)
    for number in range(30):
        fake.add_deployment(flow_name=f"flow-{number}", name="daily")
    sync.sync(dev)
    assert len(names(client)) == 31
    assert query_counts.count(client, LIST) == few
