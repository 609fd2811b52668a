"""The sidebar, its badge, the palette, and pages that do not exist."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment
from runs import pins, requests
from runs.models import ChangeRequest
from tests.cast import by
from tests.portal.many_rows import many_requests, many_runs

pytestmark = pytest.mark.django_db

URL = reverse("admin:index")
SEARCH = reverse("admin:search")
EVIL = '"><script>alert(1)</script>'
Login = Callable[[User], Client]


def text(client: Client, url: str = URL) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


# The sidebar


@pytest.mark.parametrize(
    ("reader", "entries"),
    [
        ("stranger", []),
        ("viewer", ["environment", "deployment", "alias", "runrequest", "run"]),
        ("auditor", ["environment", "deployment", "alias", "grant", "runrequest", "run", "auditentry"]),
        (
            "admin_user",
            ["environment", "deployment", "alias", "grant", "runrequest", "run", "auditentry", "user", "group"],
        ),
    ],
)
def test_the_sidebar_shows_what_the_reader_may_open(
    request: pytest.FixtureRequest, reader: str, entries: list[str], login: Login
) -> None:
    apps = {"user": "auth", "group": "auth"} | dict.fromkeys(["grant", "runrequest", "run", "auditentry"], "runs")
    everything = ["environment", "deployment", "alias", "grant", "runrequest", "run", "auditentry", "user", "group"]
    client = login(request.getfixturevalue(reader))
    page = text(client)
    sidebar = page[: page.index('id="main"')]
    for name in everything:
        url = reverse(f"admin:{apps.get(name, 'flows')}_{name}_changelist")
        assert (f'href="{url}"' in sidebar) == (name in entries), name
        assert (client.get(url).status_code == 200) == (name in entries), name


def test_the_badge_counts_what_waits_for_the_reader(
    requester: User, approver: User, prod_deployment: Deployment, login: Login
) -> None:
    many_requests(prod_deployment, requester, 3)
    many_requests(prod_deployment, approver, 1)
    (expired,) = many_requests(prod_deployment, requester, 1)
    ChangeRequest.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - timedelta(minutes=1))
    page = text(login(approver))
    badge = page[page.index("sidebar-badge") :]
    assert badge[badge.index(">") + 1 : badge.index("</span>")].strip() == "3"


def test_the_pages_of_the_queue_are_nobodys(admin_user: User, login: Login) -> None:
    client = login(admin_user)
    for path in ("queuedtask/", "periodictask/"):
        assert client.get(f"/admin/runs/{path}").status_code == 404


# The palette


def test_the_palette_finds_pages_deployments_and_runs(requester: User, deployment: Deployment, login: Login) -> None:
    (run,) = many_runs(deployment, 1, name="monthly-otter", created_upstream_at=timezone.now())
    client = login(requester)
    found = text(client, f"{SEARCH}?s=monthly")
    assert reverse("admin:flows_deployment_change", args=[deployment.pk]) in found
    assert reverse("admin:runs_run_change", args=[run.pk]) in found
    assert reverse("admin:runs_run_change", args=[run.pk]) in text(client, f"{SEARCH}?s={run.prefect_id}")
    assert reverse("admin:runs_run_changelist") in text(client, f"{SEARCH}?s=runs")


def test_the_palette_finds_a_request_by_its_number_and_its_ticket(
    requester: User, viewer: User, prod_deployment: Deployment, login: Login
) -> None:
    run_request = requests.submit(
        prod_deployment, {"month": "2026-01"}, by=by(requester), reason="Closing", ticket="OPS-7"
    )
    page = reverse("admin:runs_runrequest_change", args=[run_request.pk])
    for term in (run_request.pk, f"Request {run_request.pk}", "ops-7"):
        assert page in text(login(requester), f"{SEARCH}?s={term}")
        assert page not in text(login(viewer), f"{SEARCH}?s={term}")
    assert page not in text(login(requester), f"{SEARCH}?s=OPS")


def test_the_palette_finds_nothing_that_may_not_be_seen_and_forgets_at_once(
    viewer: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    many_runs(prod_deployment, 1, name="monthly-covert")
    client = login(viewer)
    found = text(client, f"{SEARCH}?s=monthly")
    assert reverse("admin:flows_deployment_change", args=[deployment.pk]) in found
    assert reverse("admin:flows_deployment_change", args=[prod_deployment.pk]) not in found
    assert "monthly-covert" not in found
    assert "Grants" not in text(client, f"{SEARCH}?s=gra")
    viewer.groups.clear()
    ended = text(client, f"{SEARCH}?s=monthly")
    assert reverse("admin:flows_deployment_change", args=[deployment.pk]) not in ended, "an ended grant ends at once"


def test_the_palette_names_what_was_visited_as_far_as_it_is_visible_now(
    viewer: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    (run,) = many_runs(deployment, 1, name="monthly-otter")
    (hidden,) = many_runs(prod_deployment, 1, name="monthly-covert")
    keys = [f"run-{hidden.pk}", f"deployment-{prod_deployment.pk}", f"run-{run.pk}", f"deployment-{deployment.pk}"]
    page = text(login(viewer), f"{SEARCH}?s=&visited={','.join(keys)}")
    places = [reverse("admin:runs_run_change", args=[run.pk]), page_of(deployment)]
    assert [page.index(each) for each in places] == sorted(page.index(each) for each in places), "the last one first"
    assert "monthly-covert" not in page
    assert page_of(prod_deployment) not in page
    pins.pin(deployment, by=by(viewer))
    again = text(login(viewer), f"{SEARCH}?s=&visited={','.join(keys)}")
    assert again.count(page_of(deployment)) == 1, "pinned, and so not below once more"


@pytest.mark.parametrize(
    "keys", ["", ",", "run", "run-", "run-x", "run-²", "session-1", f"run-{'9' * 99}", "run-1," * 999]
)
def test_any_keys_of_visited_pages_are_answered(keys: str, viewer: User, deployment: Deployment, login: Login) -> None:
    assert 'data-code="empty"' in text(login(viewer), f"{SEARCH}?s=&visited={keys}")


def page_of(deployment: Deployment) -> str:
    return reverse("admin:flows_deployment_change", args=[deployment.pk])


@pytest.mark.parametrize("term", ["", "%00", "%25", "x" * 5000, "9" * 18, "9" * 99, "²", "<script>alert(1)</script>"])
def test_any_term_is_answered(term: str, requester: User, deployment: Deployment, login: Login) -> None:
    Deployment.objects.update(full_name=EVIL)
    answer = login(requester).get(f"{SEARCH}?s={term}")
    assert answer.status_code == 200
    assert b"<script>alert" not in answer.content


# Pages for what cannot be


def test_what_is_not_there_is_said_without_telling_whether_it_is_hidden(viewer: User, login: Login) -> None:
    client = login(viewer)
    for url in ("/admin/no/such/", "/nowhere/", reverse("admin:flows_deployment_change", args=[1])):
        answer = client.get(url)
        assert answer.status_code == 404
        assert b'data-status="404"' in answer.content
