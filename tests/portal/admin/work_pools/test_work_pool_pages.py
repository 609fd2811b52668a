"""The list of work pools and the page of one: who sees them, and what waits in them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment, WorkPool
from runs import tasks
from runs.actors import Actor
from runs.governance import grants
from runs.models import Action
from tests.cast import person
from tests.fakes import records
from tests.fakes.prefect import FakePrefect
from tests.portal import query_counts
from tests.portal.many_rows import many_runs
from tests.portal.page_elements import has_button, message_codes

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
LIST = "admin:flows_workpool_changelist"


@pytest.fixture
def pool(deployment: Deployment, fake: FakePrefect) -> WorkPool:
    """`gpu` in dev, in whose queue `fast` is `monthly/monthly`; `other` has no deployment."""
    queues = (records.work_queue("fast"), records.work_queue("slow", priority=2, is_paused=True))
    fake.add_work_pool("gpu", workers=(records.worker("w1"), records.worker("w2", is_online=False)), queues=queues)
    fake.add_work_pool("other")
    fake.change_deployment(deployment.prefect_id, work_pool_name="gpu", work_queue_name="fast")
    sync.sync(deployment.environment)
    return WorkPool.current.get(name="gpu")


def address(pool: WorkPool) -> str:
    return reverse("admin:flows_workpool_change", args=[pool.pk])


def names(client: Client, query: str = "") -> list[str]:
    return [row.name for row in client.get(f"{reverse(LIST)}{query}").context["cl"].result_list]


def due(pool: WorkPool, **columns: Any) -> dict[str, Any]:
    at = timezone.now() - timedelta(minutes=1)
    plain = {"state_type": "SCHEDULED", "expected_start_at": at, "work_pool_name": pool.name}
    return plain | {"work_queue_name": "fast"} | columns


def test_who_sees_a_deployment_sees_its_pool_and_no_other(
    pool: WorkPool, dev: Environment, viewer: User, stranger: User, login: Login
) -> None:
    one = person("narrow")
    grants.grant(by=Actor.system(), person=one, verbs=["see"], environment=dev, full_name="monthly/monthly")
    other = WorkPool.current.get(name="other")
    assert names(login(viewer)) == ["gpu", "other"]
    assert names(login(one)) == ["gpu"]
    assert login(one).get(address(pool)).status_code == 200
    assert login(one).get(address(other)).status_code == 404
    assert login(stranger).get(reverse(LIST)).status_code == 403
    assert login(stranger).get(address(pool)).status_code == 404
    # The page of the environment shows no more.
    page = login(one).get(reverse("admin:flows_environment_change", args=[dev.pk]))
    assert [each.name for each in page.context["pools"]] == ["gpu"]


def test_a_pool_that_was_deleted_is_not_found(pool: WorkPool, fake: FakePrefect, viewer: User, login: Login) -> None:
    fake.remove_work_pool("gpu")
    sync.sync(pool.environment)
    assert login(viewer).get(address(pool)).status_code == 404


def test_the_numbers_lead_to_exactly_the_runs_that_they_count(
    pool: WorkPool, deployment: Deployment, viewer: User, login: Login
) -> None:
    many_runs(deployment, 2, **due(pool))
    many_runs(deployment, 1, **due(pool, stalled_kind="late"))
    many_runs(deployment, 4, **due(pool, state_type="RUNNING", work_queue_name="slow"))
    many_runs(deployment, 1, **due(pool, expected_start_at=timezone.now() + timedelta(hours=1)))
    many_runs(deployment, 1, **due(pool, work_pool_name="other"))
    many_runs(deployment, 1, **due(pool, deleted_upstream_at=timezone.now()))
    client = login(viewer)
    context = client.get(address(pool)).context
    assert [count.number for count in context["counts"]] == [3, 1, 4]
    by_queue = {row.queue.name: [count.number for count in row.counts] for row in context["queues"]}
    assert by_queue == {"fast": [3, 1, 0], "slow": [0, 0, 4]}
    assert len(context["waiting"].rows) == 3
    for count in [*context["counts"], *(count for row in context["queues"] for count in row.counts)]:
        assert client.get(count.url).context["cl"].result_count == count.number


def test_runs_that_the_reader_does_not_see_are_not_counted(
    pool: WorkPool, deployment: Deployment, fake: FakePrefect, dev: Environment, login: Login
) -> None:
    fake.add_deployment(flow_name="covert", name="covert", work_pool_name="gpu")
    sync.sync(dev)
    many_runs(Deployment.objects.get(flow_name="covert"), 5, **due(pool))
    many_runs(deployment, 1, **due(pool))
    one = person("narrow")
    grants.grant(by=Actor.system(), person=one, verbs=["see"], environment=dev, full_name="monthly/monthly")
    client = login(one)
    page = client.get(address(pool))
    assert page.context["counts"][0].number == 1
    assert "covert" not in page.content.decode()
    assert client.get(reverse(LIST)).context["cl"].result_list[0].counts[0].number == 1


def test_the_page_shows_state_queues_and_workers(pool: WorkPool, viewer: User, login: Login) -> None:
    context = login(viewer).get(address(pool)).context
    assert context["badge"].state_label == "Ready"
    assert [(row.queue.name, row.badge.state_label) for row in context["queues"]] == [
        ("fast", "Not polled"),
        ("slow", "Paused"),
    ]
    assert [(each.name, each.is_online) for each in context["workers"]] == [("w1", True), ("w2", False)]


def test_a_deployment_leads_to_its_pool(pool: WorkPool, deployment: Deployment, viewer: User, login: Login) -> None:
    page = login(viewer).get(reverse("admin:flows_deployment_change", args=[deployment.pk])).content.decode()
    assert f'href="{address(pool)}"' in page


def test_filters_select_by_environment_type_and_state(
    pool: WorkPool, fake: FakePrefect, viewer: User, login: Login
) -> None:
    fake.change_work_pool("other", type="kubernetes", is_paused=True)
    sync.sync(pool.environment)
    client = login(viewer)
    assert names(client, "?paused=yes") == ["other"]
    assert names(client, "?type=process") == ["gpu"]
    assert names(client, "?environment=dev&q=gp") == ["gpu"]


def test_the_list_and_the_page_take_as_many_queries_for_many_rows(
    pool: WorkPool, deployment: Deployment, fake: FakePrefect, viewer: User, login: Login
) -> None:
    client = login(viewer)
    few = [query_counts.count(client, url) for url in (reverse(LIST), address(pool))]
    for number in range(30):
        fake.add_work_pool(f"pool-{number}", workers=(records.worker(),))
    fake.change_work_pool("gpu", queues=tuple(records.work_queue(f"q{n}", priority=n + 1) for n in range(20)))
    sync.sync(deployment.environment)
    many_runs(deployment, 30, **due(pool))
    many = [query_counts.count(client, url) for url in (reverse(LIST), address(pool))]
    assert many == few
    assert max(many) <= 20


# Changing it


@pytest.fixture
def manager(dev: Environment) -> User:
    user = person("manager")
    grants.grant(by=Actor.system(), person=user, verbs=["see", "pause", "manage"], environment=dev)
    return user


def press(client: Client, route: str, *keys: int, **data: str) -> list[str]:
    address = reverse(f"admin:flows_workpool_{route}", args=keys)
    return message_codes(client.post(address, {"reason": "drained", **data}, follow=True))


def test_buttons_are_those_of_the_permissions(pool: WorkPool, viewer: User, manager: User, login: Login) -> None:
    for user, shown in ((viewer, False), (manager, True)):
        page = login(user).get(address(pool)).content.decode()
        assert [has_button(page, key) for key in ("pause", "limits")] == [shown, shown]


def test_a_pool_and_a_queue_are_paused_resumed_and_limited(
    pool: WorkPool, manager: User, fake: FakePrefect, login: Login
) -> None:
    client, queue = login(manager), pool.queues.get(name="fast").pk
    assert press(client, "pause", pool.pk) == ["success"]
    assert press(client, "limits", pool.pk, concurrency_limit="3") == ["success"]
    assert press(client, "limit_queue", pool.pk, queue, concurrency_limit="", priority="7") == ["success"]
    assert "drained" in client.get(address(pool)).content.decode()
    for action in Action.objects.all():
        tasks.carry_out(action.pk)
    record = fake.work_pool("gpu")
    assert (record.is_paused, record.concurrency_limit) == (True, 3)
    assert press(client, "limits", pool.pk, concurrency_limit="many") == ["limit.number"]
    assert press(client, "limits", pool.pk, concurrency_limit="3") == ["target.unchanged"]
    # Done, so that nothing is left to show of it.
    assert client.get(address(pool)).context["requested"] == []


def test_a_queue_of_another_pool_is_not_found(pool: WorkPool, manager: User, login: Login) -> None:
    other = WorkPool.current.get(name="other").queues.get()
    url = reverse("admin:flows_workpool_pause_queue", args=[pool.pk, other.pk])
    assert login(manager).post(url, {"reason": "r"}).status_code == 404
    assert not Action.objects.exists()


def test_the_page_of_a_deployment_changes_its_limit(deployment: Deployment, manager: User, login: Login) -> None:
    client = login(manager)
    url = reverse("admin:flows_deployment_limits", args=[deployment.pk])
    blank = client.post(url, {"concurrency_limit": "", "collision_strategy": "ENQUEUE"}, follow=True)
    assert message_codes(blank) == ["target.unchanged"]
    answer = client.post(url, {"concurrency_limit": "2", "collision_strategy": "CANCEL_NEW"}, follow=True)
    assert message_codes(answer) == ["success"]
    tasks.carry_out(Action.objects.get().pk)
    deployment.refresh_from_db()
    # Sent as it is shown, nothing changes.
    answer = client.post(url, {"concurrency_limit": "2", "collision_strategy": "CANCEL_NEW"}, follow=True)
    assert message_codes(answer) == ["target.unchanged"]
    assert (deployment.concurrency_limit, deployment.collision_strategy) == (2, "CANCEL_NEW")
