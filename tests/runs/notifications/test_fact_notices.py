"""Notifications of runs, servers and drift: from events, once, and only of what people may see."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.catalog import health
from flows.models import Deployment, Environment, Health
from runs import failures, mirror, notifications, requests, tasks
from runs.actors import Actor
from runs.governance import grants
from runs.models import Notification, Outage, Run, RunEvent
from runs.models.notification import Topic
from runs.notifications import run_ends
from tests.background import notices
from tests.cast import by, person
from tests.failed_runs import a_failure
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db


@pytest.fixture
def end(deployment: Deployment, fake: FakePrefect) -> Callable[..., Run]:
    """Makes runs of `deployment` that end, as news: end("FAILED")."""

    def make(state: str, **columns: Any) -> Run:
        health.note_runs_synced(deployment.environment, timezone.now() - timedelta(hours=1))
        record = fake.add_run(deployment.prefect_id, state_type="RUNNING", **columns)
        mirror.refresh(deployment.environment, [record.id])
        fake.set_state(record.id, state)
        mirror.refresh(deployment.environment, [record.id])
        return Run.objects.get(prefect_id=record.id)

    return make


def subscribe(person: User, *topics: Topic) -> None:
    notifications.subscribe(person, [(topic, None) for topic in topics], by=by(person))


def heard() -> list[tuple[str, str]]:
    return [(each.person.username, each.topic) for each in notices().order_by("pk")]


def request_of(deployment: Deployment, requester: User, fake: FakePrefect) -> Run:
    """A run that is running, of a request."""
    health.note_runs_synced(deployment.environment, timezone.now())
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    tasks.launch(run_request.pk)
    run_request.refresh_from_db()
    assert run_request.flow_run_id
    fake.set_state(run_request.flow_run_id, "RUNNING")
    mirror.refresh(deployment.environment, [run_request.flow_run_id])
    return Run.objects.get(prefect_id=run_request.flow_run_id)


def test_each_hears_of_the_ends_that_they_chose_and_may_see(
    end: Callable[..., Run], viewer: User, requester: User, stranger: User
) -> None:
    subscribe(viewer, Topic.FAILED)
    subscribe(stranger, Topic.FAILED, Topic.CANCELLED)
    subscribe(requester, Topic.CANCELLED, Topic.OWN_ENDED)
    for state in ("COMPLETED", "FAILED", "CANCELLED", "CRASHED"):
        end(state)
    # The runs are nobody's request.
    assert heard() == [("viewer", "failed"), ("requester", "cancelled"), ("viewer", "failed")]


def test_who_requested_a_run_hears_of_its_end_once(
    deployment: Deployment, fake: FakePrefect, requester: User, viewer: User
) -> None:
    subscribe(requester, Topic.OWN_ENDED, Topic.OWN_FAILED, Topic.FAILED)
    subscribe(viewer, Topic.OWN_ENDED, Topic.OWN_FAILED)
    for state in ("FAILED", "COMPLETED"):
        run = request_of(deployment, requester, fake)
        fake.set_state(run.prefect_id, state)
        mirror.refresh(deployment.environment, [run.prefect_id])
    found = [(name, topic) for name, topic in heard() if topic.startswith("own")]
    assert found == [("requester", "own failed"), ("requester", "own ended")]


def test_the_first_success_after_a_failure_is_a_recovery(end: Callable[..., Run], viewer: User) -> None:
    subscribe(viewer, Topic.RECOVERED)
    for state in ("COMPLETED", "FAILED", "CANCELLED", "COMPLETED", "COMPLETED"):
        end(state)
    assert heard() == [("viewer", "recovered")]


def test_history_and_old_news_notify_no_one(
    deployment: Deployment, fake: FakePrefect, end: Callable[..., Run], viewer: User
) -> None:
    subscribe(viewer, Topic.FAILED)
    record = fake.add_run(deployment.prefect_id, state_type="FAILED")
    mirror.refresh(deployment.environment, [record.id])
    assert RunEvent.objects.filter(is_history=True).exists()
    end("FAILED")
    RunEvent.objects.update(occurred_at=F("observed_at") - timedelta(days=2))
    assert heard() == []


def test_a_batch_of_ends_costs_the_same_queries(end: Callable[..., Run], viewer: User) -> None:
    subscribe(viewer, Topic.RECOVERED)
    counts = []
    for number in (2, 10):
        for _ in range(number):
            end("COMPLETED")
        events = list(RunEvent.objects.filter(data__state="COMPLETED"))
        with CaptureQueriesContext(
            connection,
        ) as queries:
            run_ends.notify_of_ends(events)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 7


def test_an_outage_is_announced_when_it_is_confirmed_and_when_it_is_over(
    dev: Environment, viewer: User, stranger: User
) -> None:
    for each in (viewer, stranger):
        subscribe(each, Topic.SERVER)

    def check(state: Health.State, seconds: int) -> None:
        health.record(dev.server, state, "<b>refused</b>")
        Health.objects.update(changed_at=timezone.now() - timedelta(seconds=seconds))
        tasks.report_outages()
        tasks.report_outages()

    check(Health.State.UP, 500)
    check(Health.State.DOWN, 10)
    check(Health.State.UP, 1)
    assert (heard(), Outage.objects.count()) == ([], 0), "one failed check is no outage"
    check(Health.State.DOWN, 70)
    check(Health.State.REFUSED, 10)
    check(Health.State.UP, 1)
    assert heard() == [("viewer", "server")] * 2
    kinds = RunEvent.objects.filter(kind__startswith="environment").order_by("pk").values_list("kind", flat=True)
    assert list(kinds) == ["environment down", "environment back"]


def test_high_drift_is_announced_to_who_may_view_the_log(
    deployment: Deployment, fake: FakePrefect, end: Callable[..., Run], viewer: User
) -> None:
    blind = person("blind")
    grants.grant(by=Actor.system(), person=blind, verbs=["see"], environment=deployment.environment)
    for each in (viewer, blind):
        subscribe(each, Topic.DRIFT)
    for minutes, level in enumerate(("LOW", "HIGH", "HIGH", ["odd"], "NONE")):
        run = end("COMPLETED")
        at = timezone.now() + timedelta(minutes=minutes)
        table = [{"field": "alert_level", "value": level}]
        fake.add_artifact(run.prefect_id, key="crm-drift", type="table", data=table, created_at=at, updated_at=at)
        mirror.fetch_details(deployment.environment, [run.prefect_id])
    changes = RunEvent.objects.filter(kind=RunEvent.Kind.DRIFT_CHANGED).order_by("pk").values_list("data", flat=True)
    assert [each["level"] for each in changes] == ["LOW", "HIGH", "UNKNOWN", "NONE"]
    assert heard() == [("viewer", "drift")] * 2, "it became high, and is not any more"
    assert not RunEvent.objects.filter(kind=RunEvent.Kind.DRIFT_CHANGED).exclude(run_id=None).exists()


def test_that_a_failure_was_resolved_is_announced_once_without_the_log(
    deployment: Deployment, viewer: User, requester: User
) -> None:
    blind = person("blind")
    grants.grant(by=Actor.system(), person=blind, verbs=["see"], environment=deployment.environment)
    group = a_failure(deployment, "ValueError: password hunter2 is wrong")
    notices()
    for each in (viewer, requester, blind):
        subscribe(each, Topic.FAILURE)
    failures.resolve(group, by=by(requester), reason="Fixed the source")
    texts = {each.person.username: each.text for each in notices().filter(target_id=str(group.pk))}
    assert texts.keys() == {"viewer", "blind"}
    assert "Fixed the source" in texts["viewer"]
    assert "ValueError" not in texts["blind"]
    assert Notification.objects.count() == 2
