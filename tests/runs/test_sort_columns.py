"""Lists of runs and requests are sorted by one stored column, with an index for each way they are restricted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import listings, mirror
from runs.models import Run, RunRequest
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.many_rows import many_requests, many_runs

pytestmark = pytest.mark.django_db


def test_a_run_does_not_move_in_its_list_while_it_goes_on(
    deployment: Deployment, fake: FakePrefect, dev: Environment
) -> None:
    record = fake.add_run(deployment.prefect_id)
    places = []
    for state in ("SCHEDULED", "RUNNING", "COMPLETED"):
        fake.set_state(record.id, state)
        mirror.sync(dev)
        places.append(Run.objects.get().sort_at)
    assert places == [record.created_at] * 3


def test_a_run_without_any_time_has_a_place(deployment: Deployment, requester: User) -> None:
    now = timezone.now()
    many_runs(deployment, 1, name="odd", created_upstream_at=None, synced_at=now)
    many_runs(deployment, 1, name="planned", created_upstream_at=None, expected_start_at=now + timedelta(days=1))
    many_runs(deployment, 1, name="old", created_upstream_at=now - timedelta(days=1))
    assert [run.name for run in Run.objects.all()] == ["planned", "odd", "old"]
    page = listings.RUNS.page(by(requester), {}, after=None, limit=20)
    assert [run.name for run in page.rows] == ["planned", "odd", "old"]


def test_rows_of_the_same_moment_are_in_the_order_of_their_keys(deployment: Deployment, requester: User) -> None:
    now = timezone.now()
    many_runs(deployment, 3, created_upstream_at=now)
    many_requests(deployment, requester, 3, requested_at=now)
    for model in (Run, RunRequest):
        keys = [row.pk for row in model._default_manager.all()]
        assert keys == sorted(keys, reverse=True)
        assert {row.sort_at for row in model._default_manager.all()} == {now}


@pytest.mark.parametrize("model", [Run, RunRequest])
@pytest.mark.parametrize("column", ["", "environment", "deployment"])
def test_the_first_page_is_read_from_an_index(
    model: type[Run | RunRequest], column: str, deployment: Deployment, requester: User
) -> None:
    many_runs(deployment, 60)
    many_requests(deployment, requester, 60)
    where = {"environment": {"environment": deployment.environment}, "deployment": {"deployment": deployment}}
    rows: QuerySet[Run | RunRequest] = model._default_manager.filter(**where.get(column, {}))
    with connection.cursor() as cursor:
        # A table of 60 rows is sorted faster than an index is read.
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
    plan = rows[:50].explain()
    assert "Sort" not in plan
    assert f"{'runs' if model is Run else 'requests'}_sorted" in plan
