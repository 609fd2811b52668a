"""The overview, the sidebar and the palette: all that is seen first, and only what may be seen."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import health, sync
from flows.models import Deployment, Environment, Health
from portal.admin.audit import oversight
from runs import audit, changes, requests
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import configuration, grants
from runs.models import BreakGlass, ChangeRequest, RunRequest
from tests.cast import by, person
from tests.fakes import records
from tests.fakes.prefect import FakePrefect
from tests.portal.many_rows import many_requests, many_runs
from tests.portal.query_counts import count, must_be_agreed

pytestmark = pytest.mark.django_db

URL = reverse("admin:index")
SEARCH = reverse("admin:search")
EVIL = '"><script>alert(1)</script>'
Login = Callable[[User], Client]


def text(client: Client, url: str = URL) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def panel(page: str, region: str) -> str:
    """Return the part of the page in a live region."""
    start = page.index(f'data-live="{region}"')
    return page[start : page.index("</section>", start)]


# What it shows


def test_an_environment_is_shown_with_its_health_and_who_works_there(
    viewer: User, dev: Environment, fake: FakePrefect, login: Login
) -> None:
    fake.add_work_pool("main", workers=(records.worker("one"), records.worker("two", is_online=False)))
    health.check(dev.server)
    sync.sync(dev)
    page = text(login(viewer))
    assert 'data-state="up"' in page
    assert "1 worker online in 1 work pool" in page
    assert page.count("data-ago") >= 1, "when it was synced"


def test_an_environment_without_a_worker_says_that_runs_will_wait(
    viewer: User, dev: Environment, fake: FakePrefect, login: Login
) -> None:
    health.check(dev.server)
    answer = login(viewer).get(URL)
    (tile,) = answer.context["tiles"]
    assert tile.workers == 0
    assert tile.workers_label in answer.content.decode()


def test_down_is_said_with_what_to_do(viewer: User, dev: Environment, login: Login) -> None:
    health.record(dev.server, Health.State.DOWN, "No answer.")
    page = text(login(viewer))
    assert 'data-state="down"' in page
    assert "http://dev.test/api" in page


def test_what_runs_and_what_failed_is_listed_with_its_reason(
    viewer: User, deployment: Deployment, login: Login
) -> None:
    now = timezone.now()
    many_runs(deployment, 1, name="busy-bee", state_type="RUNNING", started_at=now)
    many_runs(
        deployment,
        1,
        name="sad-seal",
        state_type="FAILED",
        ended_at=now,
        state_message="Flow run encountered an exception: ValueError: no such month",
    )
    many_runs(deployment, 1, name="old-owl", state_type="FAILED", ended_at=now - timedelta(days=1, minutes=1))
    page = text(login(viewer))
    assert "busy-bee" in panel(page, "running")
    failed = panel(page, "attention")
    assert "sad-seal" in failed
    assert "ValueError: no such month" in failed
    assert "old-owl" not in failed


def test_long_lists_are_cut_and_say_how_many_there_are(viewer: User, deployment: Deployment, login: Login) -> None:
    many_runs(deployment, 11, state_type="RUNNING")
    running = panel(text(login(viewer)), "running")
    assert running.count("<li") == 8
    assert ">11<" in running


# Only what may be seen


def test_nothing_of_a_hidden_environment_is_shown_or_counted(
    viewer: User, requester: User, prod_deployment: Deployment, dev: Environment, login: Login
) -> None:
    now = timezone.now()
    many_runs(prod_deployment, 5, name="covert-run", state_type="RUNNING", started_at=now)
    many_runs(prod_deployment, 5, name="covert-run", state_type="FAILED", ended_at=now)
    many_requests(prod_deployment, requester, 2)
    page = text(login(viewer))
    assert ">prod<" not in page
    assert "covert-run" not in page
    for region in ("running", "scheduled", "attention"):
        assert "<li" not in panel(page, region)
    assert ">0<" in panel(page, "running")
    assert "<svg" not in panel(page, "trend")
    assert "sidebar-badge" not in page


def test_a_stranger_is_told_how_to_get_a_grant_and_sees_nothing_else(
    stranger: User, deployment: Deployment, login: Login
) -> None:
    many_runs(deployment, 2, name="covert-run", state_type="RUNNING")
    page = text(login(stranger))
    assert 'data-code="no_grant"' in page
    for hidden in ("covert-run", "monthly", ">dev<", "Deployments", "Environments", "Grants", "Users"):
        assert hidden not in page, hidden


def test_the_first_administrator_is_told_what_to_do_next(admin_user: User, login: Login) -> None:
    page = text(login(admin_user))
    assert 'data-code="no_environment"' in page
    assert reverse("admin:flows_environment_add") in page


def test_what_prefect_says_is_only_text(viewer: User, dev: Environment, deployment: Deployment, login: Login) -> None:
    now = timezone.now()
    health.record(dev.server, Health.State.DOWN, EVIL, version=EVIL[:40])
    for columns in ({"state_type": "RUNNING"}, {"state_type": "FAILED", "ended_at": now, "state_message": EVIL}):
        many_runs(deployment, 1, name=EVIL, state_name=EVIL, **columns)
    page = text(login(viewer))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_somebody_not_signed_in_is_sent_to_sign_in(client: Client, db: None) -> None:
    for url in (URL, SEARCH, reverse("admin:flows_deployment_changelist")):
        assert client.get(url).url.startswith("/admin/login/")  # type: ignore[attr-defined]  # a redirect
    assert b"Operations portal" in client.get("/admin/login/").content


# What it costs


def ten_of_everything(deployment: Deployment, requester: User) -> None:
    now = timezone.now()
    for columns in (
        {"state_type": "RUNNING", "started_at": now},
        {"state_type": "FAILED", "ended_at": now},
        {"state_type": "COMPLETED", "ended_at": now},
        {"state_type": "SCHEDULED", "expected_start_at": now + timedelta(hours=1)},
        {"state_type": "RUNNING", "stalled_kind": "silent", "stalled_since": now},
    ):
        many_runs(deployment, 10, **columns)
    for _ in range(2):
        many_requests(deployment, requester, 5)


@pytest.fixture
def several_roles(prod_deployment: Deployment) -> User:
    """One who approves, reads the audit trail, and has a grant on a single deployment."""
    found = person("several roles", "Approver", "Auditor")
    place = {"environment": prod_deployment.environment, "full_name": prod_deployment.full_name}
    grants.grant(by=Actor.system(), person=found, verbs=["see", "see inputs", "approve"], **place)
    return found


@pytest.mark.parametrize("reader", ["approver", "requester", "viewer", "auditor", "admin_user", "several_roles"])
def test_the_cost_of_the_overview_does_not_grow(
    reader: str,
    request: pytest.FixtureRequest,
    requester: User,
    dev: Environment,
    prod_deployment: Deployment,
    login: Login,
) -> None:
    client = login(request.getfixturevalue(reader))
    ten_of_everything(prod_deployment, requester)
    few = count(client, URL)
    for _ in range(9):
        ten_of_everything(prod_deployment, requester)
    assert RunRequest.objects.count() == 100
    assert count(client, URL) == few <= 20
    assert count(client, f"{URL}?range=30d") == few
    if reader == "approver":
        must_be_agreed("overview", few)


def overridden(waiting: RunRequest, by: User) -> None:
    BreakGlass.objects.create(change=waiting.change, by=by, by_name=by.username, until=timezone.now(), reason="Fire")


def test_overrides_to_review_cost_the_same_for_1_and_5(
    approver: User, requester: User, prod_deployment: Deployment, login: Login
) -> None:
    client = login(approver)
    first, *others = many_requests(prod_deployment, requester, 5)
    overridden(first, requester)
    one = count(client, URL)
    for waiting in others:
        overridden(waiting, requester)
    assert len(re.findall('data-key="override-', text(client))) == 5
    assert count(client, URL) == one


def test_an_override_of_several_runs_leads_to_the_first(
    approver: User, requester: User, prod_deployment: Deployment, login: Login
) -> None:
    grants.grant(
        by=Actor.system(), person=requester, verbs=["backfill", "break glass"], environment=prod_deployment.environment
    )
    specs = [requests.Spec(prod_deployment, {"month": month}) for month in ("2026-01", "2026-02")]
    kind = ChangeRequest.Kind.BACKFILL
    change = requests.submit_change(specs, by=by(requester), kind=kind, reason="Restated")
    changes.break_glass(change, by=by(requester), reason="Fire")
    first = change.run_requests.earliest("pk")
    page = text(login(approver))
    assert f'{reverse("admin:runs_runrequest_change", args=[first.pk])}">Review' in page
    assert change.title in page


# What happened past the rules


def counts_of(page: str) -> dict[str, str]:
    """What is counted -> the address behind the number, for numbers that are not 0."""
    found = re.findall(r'href="([^"]*)" data-count="([^"]*)">(\d+)</a>', page)
    return {key: html.unescape(url) for url, key, number in found if number != "0"}


@pytest.mark.usefixtures("single_administrator")
def test_those_in_charge_see_what_happened_past_the_rules(
    prod: Environment, dev: Environment, admin_user: User, auditor: User, viewer: User, login: Callable[[User], Client]
) -> None:
    for verb in ("run.appeared", "deployment.changed", "request.break_glass"):
        for environment in (prod, prod, dev):
            with audit.act(verb, None, by=Actor.system(), subject_kind="run", environment=environment.slug):
                pass
    prod.needs_approval = False
    configuration.save_environment(prod, by=by(admin_user), reason="r", confirm="prod")
    for user in (admin_user, auditor):
        client = login(user)
        found = counts_of(client.get(URL).content.decode())
        assert {key: len(client.get(url).context["cl"].result_list) for key, url in found.items()} == {
            "prod run.appeared": 2,
            "prod deployment.changed": 2,
            "prod request.break_glass": 2,
            "prod loosened": 1,
        }
    assert 'data-key="oversight"' not in login(viewer).get(URL).content.decode()


def test_what_is_older_or_was_refused_is_not_counted(
    prod: Environment, admin_user: User, login: Callable[[User], Client]
) -> None:
    with pytest.raises(Refused), audit.act("request.break_glass", None, by=by(admin_user), environment="prod"):
        raise Refused("override.minutes", "no", minimum=1)
    assert not counts_of(login(admin_user).get(URL).content.decode())
    with audit.act("run.appeared", None, by=Actor.system(), environment="prod"):
        pass
    later = timezone.localdate() + timedelta(days=7)
    assert oversight.counted(["prod"], later - timedelta(days=7))["prod", "run.appeared"] == 1
    assert not oversight.counted(["prod"], later - timedelta(days=6))
