"""Every number of the overview is a link to the list that has exactly those rows, for readers with any grants."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from portal.admin.overview.trend_panel import RANGES
from runs import mirror, requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import Run, Stall
from tests.cast import ASKS, SCHEMA, by, person
from tests.fakes.prefect import FakePrefect
from tests.portal.many_rows import many_requests, many_runs

pytestmark = pytest.mark.django_db

URL = reverse("admin:index")
Login = Callable[[User], Client]
# What a page of tests needs at least, so that the test follows something.
FEWEST = 25


def links(page: str) -> list[tuple[str, str, int]]:
    """Return the key, address and number of each number that links to a list."""
    found = re.findall(r'href="([^"]*)" data-count="([^"]*)">([\d,]+)</a>', page)
    return [(html.unescape(key), html.unescape(url), int(number.replace(",", ""))) for url, key, number in found]


def rows(client: Client, url: str) -> int:
    answer = client.get(url)
    assert answer.status_code == 200, url
    found: int = answer.context["cl"].result_count
    return found


def disproved(client: Client, key: str) -> dict[str, tuple[int, int]]:
    """Return the numbers that differ from those of their lists, and how many were followed."""
    page = client.get(URL, {"range": key}).content.decode()
    found = links(page)
    assert len(found) >= FEWEST
    # The table has many that are 0: a few of them are enough.
    empty = [each for each in found if not each[2]][:5]
    return {
        name: (number, listed)
        for name, url, number in [*(each for each in found if each[2]), *empty]
        if (listed := rows(client, url)) != number
    }


@pytest.fixture
def busy(
    deployment: Deployment,
    prod_deployment: Deployment,
    fake: FakePrefect,
    prod_fake: FakePrefect,
    requester: User,
) -> None:
    """Runs of several deployments in two environments, in every state, over two months."""
    for environment, prefect in ((deployment.environment, fake), (prod_deployment.environment, prod_fake)):
        prefect.add_deployment(flow_name="export", name="nightly", parameter_schema=SCHEMA, tags=("finance",))
        sync.sync(environment)
    now = timezone.now()
    for number, each in enumerate(Deployment.objects.select_related("environment").order_by("pk")):
        for hours, state_type in enumerate(["COMPLETED", "FAILED", "CRASHED", "CANCELLED", "COMPLETED"] * 3):
            ended_at = now - timedelta(hours=hours * (7 + 50 * (hours > 4)), minutes=number)
            many_runs(
                each,
                1 + number,
                state_type=state_type,
                ended_at=ended_at,
                run_seconds=10.0 * hours,
                state_message=f"Process exited with status code: {hours % 3}" if hours % 2 else "",
            )
        many_runs(each, 10 + number, state_type="RUNNING", started_at=now)
        many_runs(each, 2, state_type="RUNNING", started_at=now, deleted_upstream_at=now)
        many_runs(each, 9 + number, state_type="SCHEDULED", expected_start_at=now + timedelta(hours=1))
        many_runs(each, 2, state_type="SCHEDULED", expected_start_at=now - timedelta(hours=1))
        for kind in Stall:
            many_runs(each, 1, state_type="RUNNING", stalled_kind=kind, stalled_since=now)
    # A run without a deployment is seen by its flow.
    (lone,) = many_runs(deployment, 1, state_type="FAILED", ended_at=now)
    nothing = {"deployment": None, "access_deployment": None, "deployment_name": ""}
    Run.objects.filter(pk=lone.pk).update(flow_name="adhoc", **nothing)
    mirror.rebuild_counts(deployment.environment)
    many_requests(prod_deployment, requester, 3)
    (mine,) = many_runs(deployment, 1, state_type="RUNNING", started_at=now)
    run_request = requests.submit(deployment, {"month": "2026-01"}, by=by(requester))
    type(run_request).objects.filter(pk=run_request.pk).update(run=mine, state="launched")


def reader(name: str, *selectors: dict[str, str | Model]) -> User:
    user = person(name)
    for selector in selectors:
        grants.grant(by=Actor.system(), person=user, verbs=ASKS, **selector)  # type: ignore[arg-type]
    return user


@pytest.mark.matrix
@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize(
    ("who", "key"),
    [
        *((who, "24h") for who in ("requester", "approver", "viewer", "admin_user", "one deployment", "flow")),
        *(("tag", key) for key in RANGES),
    ],
)
def test_each_number_is_that_of_its_list(
    key: str, who: str, request: pytest.FixtureRequest, prod: Environment, dev: Environment, login: Login
) -> None:
    narrow = {
        "one deployment": [{"environment": prod, "full_name": "export/nightly"}],
        "tag": [{"environment": prod, "tag": "finance"}, {"environment": dev, "tag": "crm"}],
        "flow": [{"environment": dev, "flow_name": "adhoc"}, {"environment": dev, "flow_name": "export"}],
    }
    user = reader("narrow", *narrow[who]) if who in narrow else request.getfixturevalue(who)
    assert disproved(login(user), key) == {}


@pytest.mark.usefixtures("busy")
def test_readers_with_fewer_grants_see_smaller_numbers(prod: Environment, admin_user: User, login: Login) -> None:
    narrow = login(reader("narrow", {"environment": prod, "full_name": "export/nightly"}))
    numbers = [
        {name: number for name, _, number in links(client.get(URL).content.decode())}
        for client in (narrow, login(admin_user))
    ]
    for name in ("ended", "failed", "running", "scheduled"):
        assert 0 < numbers[0][name] < numbers[1][name], name


def test_a_reader_without_logs_cannot_tell_causes_apart(deployment: Deployment, login: Login) -> None:
    user = person("blind")
    grants.grant(by=Actor.system(), person=user, verbs=["see"])
    now = timezone.now()
    for message in ("ValueError: canary", "KeyError: canary"):
        many_runs(deployment, 2, state_type="FAILED", ended_at=now, state_message=message)
    answer = login(user).get(URL)
    assert [cause.count.number for cause in answer.context["causes"]] == [4]
    assert "canary" not in answer.content.decode()


@pytest.mark.parametrize("wanted", ["", "99y", "%00", "<script>", "7d&range=30d"])
def test_an_unknown_range_is_the_usual_one(wanted: str, viewer: User, deployment: Deployment, login: Login) -> None:
    answer = login(viewer).get(f"{URL}?range={wanted}")
    assert answer.status_code == 200
    assert sum(choice.is_current for choice in answer.context["trend"].choices) == 1
    assert b"<script>" not in answer.content.split(b"</head>")[1].replace(b'<script src="', b"")
