"""The list of deployments: what it shows, to whom, and at what cost."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import health, sync
from flows.models import Alias, Deployment, Environment, Health
from runs.actors import Actor
from runs.governance import grants
from runs.models import Action, RunRequest
from tests.fakes import records
from tests.fakes.prefect import FakePrefect
from tests.portal.many_rows import many_runs
from tests.portal.page_elements import attributes, message_codes
from tests.portal.query_counts import count, must_be_agreed

pytestmark = pytest.mark.django_db

URL = reverse("admin:flows_deployment_changelist")
Login = Callable[[User], Client]


def text(client: Client, query: str = "") -> str:
    answer = client.get(URL + query)
    assert answer.status_code == 200
    return answer.content.decode()


def names(page: str) -> list[str]:
    return re.findall(r'portal-cell-title">\s*<span class="portal-name" title="([^"]*)"', page)


def many(environment: Environment, number: int, **columns: Any) -> list[Deployment]:
    now = timezone.now()
    start = Deployment.objects.count()
    return Deployment.objects.bulk_create(
        Deployment(
            environment=environment,
            prefect_id=uuid.uuid4(),
            flow_id=uuid.uuid4(),
            **{
                "flow_name": "flow",
                "name": f"d{index:03}",
                "full_name": f"flow/d{index:03}",
                "schema_fingerprint": "0",
                "synced_at": now,
                "tags": ["some", f"tag-{index}"],
                "work_pool_name": "pool",
            }
            | columns,
        )
        for index in range(start, start + number)
    )


def test_a_row_shows_what_it_is_where_it_runs_and_its_last_run(
    requester: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    fake.add_work_pool("main", workers=(records.worker("w1"), records.worker("w2", is_online=False)))
    fake.change_deployment(deployment.prefect_id, work_pool_name="main", schedules=(records.cron("0 6 * * *"),))
    sync.sync(deployment.environment)
    Alias.objects.create(environment=deployment.environment, name="month-end", full_name=deployment.full_name)
    many_runs(deployment, 1, state_type="FAILED", ended_at=timezone.now() - timedelta(minutes=3))
    many_runs(deployment, 1, state_type="SCHEDULED")
    page = text(login(requester))
    assert names(page) == ["monthly/monthly"]
    for piece in ("alias month-end", ">crm<", "1 worker online", "1 active", ">Failed<", "3 min ago", ">dev<"):
        assert piece in page, piece
    assert ">Scheduled<" not in page, "what is planned is not the last run"


@pytest.mark.parametrize(
    ("pool", "sentence"),
    [
        ({"workers": ()}, "no worker online"),
        ({"workers": (records.worker(),), "is_paused": True}, "paused"),
        ({"type": "prefect:managed"}, "needs no worker"),
        (None, "work pool not found"),
    ],
)
def test_missing_workers_are_shown_in_the_list(
    pool: dict[str, Any] | None, sentence: str, requester: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    if pool is not None:
        fake.add_work_pool("main", **pool)
    fake.change_deployment(deployment.prefect_id, work_pool_name="main")
    sync.sync(deployment.environment)
    assert sentence in text(login(requester))


def test_users_see_what_their_grants_cover_and_no_trace_of_the_rest(
    viewer: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    Deployment.objects.filter(pk=prod_deployment.pk).update(
        full_name="covert/covert", tags=["covert-tag"], work_pool_name="covert-pool"
    )
    client = login(viewer)
    page = text(client, "?gone=all")
    assert names(page) == ["monthly/monthly"]
    assert "covert" not in page
    assert ">prod<" not in page, "filters and ages name only what may be seen"
    assert names(text(client, "?q=covert")) == []
    for unseen in ("prod", "no-such"):
        assert names(text(client, f"?environment={unseen}")) == [], "what may not be seen looks like what there is not"
    assert names(text(client, "?tag=covert-tag")) == ["monthly/monthly"]


def test_a_stranger_sees_no_list(stranger: User, deployment: Deployment, login: Login) -> None:
    answer = login(stranger).get(URL)
    assert answer.status_code == 403
    assert b"monthly" not in answer.content


def test_the_run_button_is_shown_where_the_user_can_run(
    requester: User, viewer: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    grants.grant(
        by=Actor.system(), person=requester, verbs=["trigger"], effect="deny", environment=deployment.environment
    )
    links = [reverse("admin:flows_deployment_run", args=[each.pk]) for each in (deployment, prod_deployment)]
    page = text(login(requester))
    assert [link in page for link in links] == [False, True]
    page = text(login(viewer))
    assert [link in page for link in links] == [False, False]


def test_a_deleted_one_is_listed_only_on_request(
    requester: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    fake.remove_deployment(deployment.prefect_id)
    sync.sync(deployment.environment)
    client = login(requester)
    assert names(text(client)) == []
    assert names(text(client, "?gone=yes")) == ["monthly/monthly"]
    page = text(client, "?gone=all")
    assert attributes(page, "data-badge") == ["deleted"]
    assert reverse("admin:flows_deployment_run", args=[deployment.pk]) not in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?environment=dev", ["a/a", "b/b"]),
        ("?tag=red", ["a/a"]),
        ("?tag=%00", ["a/a", "b/b"]),
        ("?pool=east", ["b/b"]),
        ("?paused=yes", ["b/b"]),
        ("?paused=no", ["a/a"]),
        ("?paused=nonsense", ["a/a", "b/b"]),
        ("?q=b/b", ["b/b"]),
        ("?q=words", ["a/a"]),
        ("?q=%00", ["a/a", "b/b"]),
        ("?_facets=True", ["a/a", "b/b"]),
    ],
)
def test_a_filter_keeps_what_it_says(
    query: str, found: list[str], requester: User, dev: Environment, login: Login
) -> None:
    many(dev, 1, full_name="a/a", tags=["red"], description="a few words")
    many(dev, 1, full_name="b/b", work_pool_name="east", is_paused=True)
    assert names(text(login(requester), query)) == found


@pytest.mark.parametrize(
    "query",
    [
        "?parameter_defaults__token__startswith=o",
        "?job_variables__env__KEY__startswith=o",
        "?environment__sealed_credential__gt=a",
        "?environment__api_url__startswith=http",
        "?grants__reason=x",
        "?runs__state_message__contains=x",
    ],
)
def test_what_a_page_hides_cannot_be_guessed_letter_by_letter(
    query: str, viewer: User, deployment: Deployment, login: Login
) -> None:
    Deployment.objects.update(parameter_defaults={"token": "opensesame"}, job_variables={"env": {"KEY": "opensesame"}})
    answer = login(viewer).get(URL + query)
    assert answer.status_code in (302, 400)


@pytest.mark.parametrize("model", ["flows_deployment", "flows_environment", "runs_run", "runs_runrequest"])
def test_a_nul_in_the_address_is_no_error(model: str, viewer: User, deployment: Deployment, login: Login) -> None:
    client = login(viewer)
    url = reverse(f"admin:{model}_changelist")
    for name in ("q", "environment", "deployment", "state", "tag", "no_such_column"):
        assert client.get(f"{url}?{name}=%00").status_code in (200, 302, 400), name


def test_hostile_names_and_tags_are_escaped(requester: User, dev: Environment, login: Login) -> None:
    evil = "<script>alert(1)</script>"
    (row,) = many(dev, 1, full_name=evil, tags=[f'"{evil}'], work_pool_name=evil, description=evil)
    many_runs(row, 1, state_name=evil)
    page = text(login(requester))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


# Nothing to show


def test_without_an_environment_administrators_can_add_one(admin_user: User, login: Login) -> None:
    page = text(login(admin_user))
    assert reverse("admin:flows_environment_add") in page


def test_without_deployments_the_causes_are_named(viewer: User, dev: Environment, login: Login) -> None:
    health.record(dev.server, Health.State.UP, "")
    page = text(login(viewer))
    panel = page[page.index("portal-empty portal-panel") :].partition("</ul>")[0]
    assert panel.count("<li>") >= 3
    assert "python -m flows.deploy" in panel
    assert "dev" in panel


def test_an_environment_that_is_down_does_not_look_empty(viewer: User, dev: Environment, login: Login) -> None:
    health.record(dev.server, Health.State.DOWN, "No answer.")
    page = text(login(viewer))
    assert "down" in attributes(page, "data-code")
    assert "No answer." in page
    assert "http://dev.test/api" in page


def test_a_search_that_finds_nothing_does_not_explain_how_to_deploy(
    requester: User, deployment: Deployment, login: Login
) -> None:
    page = text(login(requester), "?q=nothing-like-it")
    assert names(page) == []
    assert "python -m flows.deploy" not in page


# Several at once


def post(client: Client, action: str, rows: list[Deployment], **data: str) -> Any:
    return client.post(URL, {"action": action, "_selected_action": [row.pk for row in rows], **data}, follow=True)


def test_several_are_paused_with_one_reason(admin_user: User, dev: Environment, login: Login) -> None:
    rows = many(dev, 2)
    client = login(admin_user)
    form = post(client, "pause_selected", rows).content.decode()
    assert attributes(form, "value").count("pause_selected") == 1
    assert not Action.objects.exists(), "asking for the reason is not pausing"
    assert message_codes(post(client, "pause_selected", rows, reason="Month end")) == ["success", "success"]
    assert [each.reason for each in Action.objects.all()] == ["Month end", "Month end"]


def test_one_that_is_refused_does_not_stop_the_others(admin_user: User, dev: Environment, login: Login) -> None:
    rows = [*many(dev, 1), *many(dev, 1, is_paused=True)]
    answer = post(login(admin_user), "pause_selected", rows, reason="")
    assert sorted(message_codes(answer)) == ["deployment.unchanged", "success"]
    assert Action.objects.get().deployment == rows[0]


def test_a_quick_run_of_several_requests_those_that_need_no_parameter(
    requester: User, deployment: Deployment, login: Login
) -> None:
    rows = [*many(deployment.environment, 1), deployment]
    client = login(requester)
    form = post(client, "quick_run_selected", rows).content.decode()
    keys = dict(re.findall(r'name="(submission_key-\d+)" value="([^"]+)"', form))
    assert len(keys) == 2
    answer = post(client, "quick_run_selected", rows, reason="", **keys)
    assert sorted(message_codes(answer)) == ["parameters.default_invalid", "success"]
    assert [each.deployment for each in RunRequest.objects.all()] == [rows[0]]
    post(client, "quick_run_selected", rows, reason="", **keys)
    assert RunRequest.objects.count() == 1, "the same page sent twice is one request"


def test_a_reason_that_is_too_long_is_refused(admin_user: User, dev: Environment, login: Login) -> None:
    answer = post(login(admin_user), "pause_selected", many(dev, 1), reason="x" * 1001)
    assert message_codes(answer) == ["reason.too_long"]
    assert not Action.objects.exists()


@pytest.mark.parametrize("action", ["pause_selected", "resume_selected", "quick_run_selected"])
def test_a_viewer_has_none_of_these(action: str, viewer: User, deployment: Deployment, login: Login) -> None:
    client = login(viewer)
    assert action not in text(client)
    post(client, action, [deployment], reason="Let me")
    assert not Action.objects.exists()
    assert not RunRequest.objects.exists()


def test_what_may_not_be_seen_is_not_reached_by_its_number(
    viewer: User, prod_deployment: Deployment, login: Login
) -> None:
    grants.grant(by=Actor.system(), person=viewer, verbs=["manage"], environment=prod_deployment.environment)
    answer = post(login(viewer), "pause_selected", [prod_deployment], reason="Guess")
    assert b"monthly/monthly" not in answer.content
    assert not Action.objects.exists()


def test_the_cost_is_the_same_for_10_and_100_rows(requester: User, dev: Environment, login: Login) -> None:
    client = login(requester)
    many(dev, 10)
    ten = count(client, f"{URL}?all=")
    for row in many(dev, 90):
        many_runs(row, 1)
    hundred = count(client, f"{URL}?all=")
    assert ten == hundred <= 15
    must_be_agreed("deployment list", ten)
