"""No page takes more than 20 queries, for the reader with the most panels: an administrator who also approves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import requests
from runs.models import BreakGlass, ChangeRequest, LogLine, Policy, Run
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.addresses import fill, routes
from tests.portal.hostile_text import World, world
from tests.portal.many_rows import many_requests, many_runs
from tests.portal.query_counts import count
from tests.portal.test_every_address import lists

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
MOST = 20


@pytest.fixture
def reader(admin_user: User, approver: User, requester: User, prod_deployment: Deployment) -> User:
    """One whose overview has something in each panel."""
    admin_user.groups.add(*approver.groups.all())
    Policy.objects.create(
        environment=prod_deployment.environment, name="Two", stages=[{"needed": 1, "group": "Approver"}] * 2
    )
    requests.submit(prod_deployment, {"month": "2026-01"}, by=by(requester), reason="Closing")
    many_requests(prod_deployment, admin_user, 1)
    first, *_ = many_requests(prod_deployment, requester, 3)
    overridden = {"by": requester, "by_name": requester.username, "until": timezone.now(), "reason": "Fire"}
    BreakGlass.objects.create(change=first.change, **overridden)
    many_requests(prod_deployment, requester, 1, kind=ChangeRequest.Kind.RETRY)
    many_runs(prod_deployment, 9, state_type="FAILED", ended_at=timezone.now())
    return admin_user


@pytest.fixture
def made(dev: Environment, fake: FakePrefect, reader: User) -> World:
    found = world(dev, fake, reader)
    for run in Run.objects.filter(pk__in=found.rows["runs/run"]):
        now = timezone.now()
        LogLine.objects.bulk_create(
            LogLine(run=run, prefect_id=uuid4(), at=now + timedelta(seconds=number), level=40, message="x")
            for number in range(3)
        )
    return found


def addresses(made: World) -> Iterator[str]:
    yield from ("/admin/", "/admin/monitoring/", "/admin/profile/")
    # The pages of rows, not those of their acts; the pages of audit entries are alike.
    rows = made.rows | {"runs/auditentry": made.rows["runs/auditentry"][:1]}
    for route in routes():
        if route.startswith("admin/") and route.endswith(("/change/", "/run/", "/calendar/", "/add/", "/new/")):
            yield from fill(route, rows)
    yield from (address for address, _ in lists())
    yield from (f"/admin/runs/runrequest/{pk}/change/" for pk in requests_there())
    for line in LogLine.objects.order_by("run", "at"):
        yield f"/admin/runs/run/{line.run_id}/change/?line={line.pk}"


def requests_there() -> list[int]:
    return list(ChangeRequest.objects.filter(kind=ChangeRequest.Kind.RUN).values_list("run_requests", flat=True))


def test_no_page_takes_more(made: World, reader: User, login: Login) -> None:
    client, found = login(reader), {}
    assert Group.objects.filter(name="Approver", user=reader).exists()
    for address in addresses(made):
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            is_page = "html" in client.get(address).headers.get("Content-Type", "")
        if is_page:
            # Counted once more if they are too many: what is cached for a process does not count.
            found[address] = len(queries) if len(queries) <= MOST else count(client, address)
    assert {address: number for address, number in found.items() if number > MOST} == {}
    assert len(found) > 50
