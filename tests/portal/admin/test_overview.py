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
from tests.cast import by
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


def test_what_runs_and_what_failed_today_is_listed_with_its_reason(
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
    assert "busy-bee" in panel(page, "at-work")
    failed = panel(page, "failed")
    assert "sad-seal" in failed
    assert "ValueError: no such month" in failed
    assert "old-owl" not in failed


def test_long_lists_are_cut_and_say_how_many_more_there_are(viewer: User, deployment: Deployment, login: Login) -> None:
    many_runs(deployment, 11, state_type="RUNNING")
    running = panel(text(login(viewer)), "at-work")
    assert "3 more" in running
    assert ">11<" in running


def test_an_approver_sees_what_waits_for_them_and_nobody_else_does(
    requester: User, approver: User, prod_deployment: Deployment, login: Login
) -> None:
    requests.submit(prod_deployment, {"month": "2026-01"}, by=by(requester), reason="Month-end close")
    waiting = panel(text(login(approver)), "waiting")
    assert "Month-end close" in waiting
    assert "requester" in waiting
    assert 'data-live="waiting"' not in text(login(requester))


def test_nobody_is_asked_to_answer_their_own_request(
    requester: User, prod_deployment: Deployment, login: Login
) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["approve"], environment=prod_deployment.environment)
    requests.submit(prod_deployment, {"month": "2026-01"}, by=by(requester), reason="Mine")
    page = text(login(requester))
    assert "<li>" not in panel(page, "waiting")
    assert "sidebar-badge" not in page


def test_the_chart_has_a_table_that_says_the_same(viewer: User, deployment: Deployment, login: Login) -> None:
    now = timezone.now()
    many_runs(deployment, 3, ended_at=now)
    many_runs(deployment, 2, state_type="CRASHED", ended_at=now)
    chart = panel(text(login(viewer)), "chart")
    assert "<title>5 runs" in chart
    assert "3 completed, 2 failed or crashed" in chart
    assert chart.count("<tr>") == 15
    assert '<td class="is-number">3</td><td class="is-number">2</td>' in chart


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
    for region in ("at-work", "failed"):
        assert "<li>" not in panel(page, region)
        assert ">0<" in panel(page, region)
    assert "<svg" not in panel(page, "chart")
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
    assert "monthly/monthly" not in text(client, f"{SEARCH}?s=monthly"), "an ended grant ends at once"


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


def test_the_cost_of_the_overview_does_not_grow(
    approver: User, requester: User, dev: Environment, prod_deployment: Deployment, login: Login
) -> None:
    client = login(approver)
    now = timezone.now()
    for columns in ({"state_type": "RUNNING"}, {"state_type": "FAILED", "ended_at": now}):
        many_runs(prod_deployment, 2, **columns)
    many_requests(prod_deployment, requester, 2)
    few = count(client, URL)
    for columns in ({"state_type": "RUNNING"}, {"state_type": "FAILED", "ended_at": now}):
        many_runs(prod_deployment, 5, **columns)
    many_requests(prod_deployment, requester, 5)
    assert RunRequest.objects.count() == 7
    assert count(client, URL) == few
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
