"""The page of a deployment: what it shows, to whom, and what its buttons do."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows import job_variables
from flows.catalog import sync
from flows.models import Alias, Deployment, Environment
from runs.actors import Actor
from runs.governance import grants
from runs.governance import pausing as governance_pausing
from runs.models import Action, AuditEntry, RunRequest, Verb
from runs.models.action import Kind
from tests.cast import by, person
from tests.fakes import records
from tests.fakes.prefect import FakePrefect
from tests.portal.many_rows import many_runs
from tests.portal.page_elements import attributes, error_codes, message_codes
from tests.portal.query_counts import count, must_be_agreed

pytestmark = pytest.mark.django_db

EVIL = '"><script>alert(1)</script>'
Login = Callable[[User], Client]


def page_of(deployment: Deployment) -> str:
    return reverse("admin:flows_deployment_change", args=[deployment.pk])


def url_of(name: str, deployment: Deployment) -> str:
    return reverse(f"admin:flows_deployment_{name}", args=[deployment.pk])


def text(client: Client, deployment: Deployment) -> str:
    answer = client.get(page_of(deployment))
    assert answer.status_code == 200
    return answer.content.decode()


def changed(deployment: Deployment, fake: FakePrefect, **fields: Any) -> Deployment:
    fake.change_deployment(deployment.prefect_id, **fields)
    sync.sync(deployment.environment)
    deployment.refresh_from_db()
    return deployment


@pytest.fixture
def plain(deployment: Deployment, fake: FakePrefect) -> Deployment:
    """A deployment that runs with its defaults alone."""
    return changed(deployment, fake, parameter_defaults={"month": "2026-01"})


# What it shows


def test_it_shows_what_it_is_and_where_it_runs(
    viewer: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    fake.add_work_pool("main", workers=(records.worker("north"), records.worker("south", is_online=False)))
    changed(
        deployment,
        fake,
        description="Loads the month.",
        version="7.1",
        entrypoint="flows.monthly:run",
        work_pool_name="main",
        work_queue_name="slow",
        concurrency_limit=3,
        schedules=(records.cron("0 6 * * *"), records.cron("0 7 * * *", is_active=False)),
    )
    page = text(login(viewer), deployment)
    for piece in ("Loads the month.", "7.1", "flows.monthly:run", "main", "slow", "north", "south", "1 worker online"):
        assert piece in page, piece
    assert "cron 0 6 * * * (UTC)" in page
    assert "(inactive)" in page
    assert f"{deployment.environment.server.prefect_ui}/deployments/deployment/{deployment.prefect_id}" in page


def test_parameters_are_described_and_secret_defaults_hidden(
    viewer: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    changed(deployment, fake, parameter_defaults={"token": "opensesame"})
    page = text(login(viewer), deployment)
    assert "whole number from 1 to 1000" in page
    assert ">required<" in page
    assert "secret text" in page
    assert "opensesame" not in page


def test_job_variables_are_shown_without_what_may_be_secret() -> None:
    shown: Any = job_variables.mask(
        {
            "image": "portal:1",
            "env": {"DB_URL": "postgres://me:pw@x"},
            "options": {"api_key": "abc", "cpu": 2, "list": [{"password": "pw"}]},
            "credentials": {"user": "me", "value": "pw"},
            "token": "",
        },
    )
    assert shown["image"] == "portal:1"
    assert shown["options"]["cpu"] == 2
    assert shown["token"] == ""
    assert "pw" not in str(shown)
    assert "abc" not in str(shown)


def test_success_and_duration_are_those_of_the_last_30_days(viewer: User, deployment: Deployment, login: Login) -> None:
    now = timezone.now()
    many_runs(deployment, 3, ended_at=now, run_seconds=42.0)
    many_runs(deployment, 1, state_type="CRASHED", ended_at=now)
    many_runs(deployment, 1, state_type="CANCELLED", ended_at=now)
    many_runs(deployment, 9, state_type="FAILED", ended_at=now - timedelta(days=31))
    page = text(login(viewer), deployment)
    assert ">75% <small>3 of 4</small><" in page
    assert ">42 s<" in page
    assert "1 failed" in page


def test_its_last_runs_and_the_next_starts_are_named(viewer: User, deployment: Deployment, login: Login) -> None:
    (run,) = many_runs(deployment, 1, name="brave-otter", state_type="FAILED")
    for name, hours in (("later", 5), ("next", 3)):
        at = timezone.now() + timedelta(hours=hours)
        many_runs(deployment, 1, name=name, state_type="SCHEDULED", expected_start_at=at)
    answer = login(viewer).get(page_of(deployment))
    assert reverse("admin:runs_run_change", args=[run.pk]) in answer.content.decode()
    assert "brave-otter" in answer.content.decode()
    assert [each.name for each in answer.context["upcoming"]] == ["next", "later"]


def test_the_access_panel_names_people_conditions_and_denies(
    viewer: User, requester: User, deployment: Deployment, login: Login
) -> None:
    bound = {"properties": {"rows": {"maximum": 5}}}
    grants.grant(by=Actor.system(), person=viewer, verbs=["trigger"], flow_name="another")
    grants.grant(by=Actor.system(), person=viewer, verbs=["trigger later"], flow_name="monthly", predicate=bound)
    grants.grant(by=Actor.system(), person=requester, verbs=["cancel"], effect="deny", flow_name="monthly")
    page = text(login(viewer), deployment)
    panel = page[page.index('id="access"') :]
    lines = {line.split("</td>")[0]: line for line in panel.split('<td class="portal-who-verbs">')[1:]}
    same = (Verb.TRIGGER, Verb.RERUN, Verb.BACKFILL, Verb.PUT_BACK)
    now = lines[", ".join(verb.label for verb in same)]
    assert "requester" in now
    assert "as Operator" in now
    assert "viewer" not in now, "a grant that does not reach it is not shown"
    assert "only when rows is at most 5" in lines[Verb.TRIGGER_LATER.label]
    (stopping,) = [line for verbs, line in lines.items() if verbs.startswith("cancel")]
    assert 'data-tone="red"' in stopping
    assert "requester" in stopping[stopping.index('data-tone="red"') :]
    (pausing,) = [line for verbs, line in lines.items() if "pause" in verbs]
    assert attributes(pausing, "data-administrators") == ["only"]


def test_of_many_people_some_are_named_and_the_rest_counted(viewer: User, deployment: Deployment, login: Login) -> None:
    for at in range(15):
        person(f"person-{at:02}", "Operator")
    page = text(login(viewer), deployment)
    assert "person-11" in page
    assert "person-12" not in page
    assert "and 3 more" in page


def test_quick_run_is_offered_only_where_the_defaults_are_allowed(
    stranger: User, plain: Deployment, login: Login
) -> None:
    grants.grant(by=Actor.system(), person=stranger, verbs=["see"])
    bound = grants.grant(
        by=Actor.system(), person=stranger, verbs=["trigger"], predicate={"properties": {"x": {"const": 1}}}
    )
    assert url_of("quick_run", plain) not in text(login(stranger), plain)
    assert url_of("run", plain) in text(login(stranger), plain)
    grants.revoke(bound, by=Actor.system())
    grants.grant(by=Actor.system(), person=stranger, verbs=["trigger"])
    assert url_of("quick_run", plain) in text(login(stranger), plain)


def test_a_deleted_one_says_since_when_and_what_to_do(
    requester: User, plain: Deployment, fake: FakePrefect, login: Login
) -> None:
    fake.remove_deployment(plain.prefect_id)
    sync.sync(plain.environment)
    page = text(login(requester), plain)
    notice = page[page.index('data-key="deleted"') :].partition("</div>")[0]
    assert "prefect deploy" in notice
    assert "data-ago" in notice
    assert url_of("run", plain) not in page
    assert url_of("quick_run", plain) not in page


def test_every_text_of_prefect_is_escaped(
    requester: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    fake.add_work_pool("main", type=EVIL, workers=(records.worker(EVIL),))
    changed(
        deployment,
        fake,
        name=EVIL,
        description=EVIL,
        tags=(EVIL,),
        version=EVIL,
        entrypoint=EVIL,
        work_pool_name="main",
        work_queue_name=EVIL,
        status="<b>ready</b>",
        job_variables={EVIL: EVIL},
        parameter_defaults={"month": EVIL},
        parameter_schema={
            "type": "object",
            "properties": {
                EVIL: {"type": "string", "title": EVIL, "description": EVIL, "default": EVIL},
                "colour": {"enum": [EVIL, "blue"], "description": EVIL},
            },
        },
    )
    many_runs(deployment, 1, name=EVIL, state_name=EVIL)
    client = login(requester)
    for url in (page_of(deployment), url_of("run", deployment)):
        page = client.get(url).content.decode()
        assert "<script>alert" not in page, url
        assert "<b>ready" not in page, url
        assert "&lt;script&gt;alert(1)" in page, url


# Permissions


def test_one_that_the_user_cannot_see_is_not_found(viewer: User, prod_deployment: Deployment, login: Login) -> None:
    client = login(viewer)
    assert client.get(page_of(prod_deployment)).status_code == 404
    assert client.get(url_of("run", prod_deployment)).status_code == 404
    for name in ("quick_run", "pause", "resume"):
        assert client.post(url_of(name, prod_deployment)).status_code == 404
    assert client.get(reverse("admin:flows_deployment_change", args=[10**9])).status_code == 404


def test_a_stranger_finds_nothing(stranger: User, deployment: Deployment, login: Login) -> None:
    client = login(stranger)
    assert client.get(page_of(deployment)).status_code == 404
    assert client.post(url_of("quick_run", deployment)).status_code == 404


def test_a_viewer_sees_why_there_is_no_button(viewer: User, deployment: Deployment, login: Login) -> None:
    page = text(login(viewer), deployment)
    assert url_of("run", deployment) not in page
    assert attributes(page, "data-why") == ["access.no_grant"]


@pytest.mark.parametrize("name", ["quick_run", "pause", "resume"])
def test_a_viewer_who_acts_anyway_is_refused_with_the_reason(
    name: str, viewer: User, plain: Deployment, login: Login
) -> None:
    answer = login(viewer).post(url_of(name, plain))
    assert answer.status_code == 403
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.actor_name, entry.after["refused"]["code"]) == ("viewer", "access.no_grant")
    assert entry.message in answer.content.decode()
    assert not Action.objects.exists()
    assert not RunRequest.objects.exists()


@pytest.mark.parametrize("name", ["quick_run", "pause", "resume"])
def test_get_is_not_allowed_for_actions(name: str, admin_user: User, plain: Deployment, login: Login) -> None:
    assert login(admin_user).get(url_of(name, plain)).status_code == 405


def test_nothing_can_be_written_to_the_page_itself(admin_user: User, deployment: Deployment, login: Login) -> None:
    assert login(admin_user).post(page_of(deployment), {"full_name": "mine"}).status_code == 405
    delete = reverse("admin:flows_deployment_delete", args=[deployment.pk])
    assert login(admin_user).post(delete, {"post": "yes"}).status_code == 403
    assert Deployment.objects.filter(pk=deployment.pk, full_name="monthly/monthly").exists()


# Quick run


def test_a_quick_run_uses_the_defaults_and_leads_to_the_request(
    requester: User, plain: Deployment, login: Login
) -> None:
    client = login(requester)
    page = text(client, plain)
    key = page.split('name="submission_key" value="')[1].split('"')[0]
    answer = client.post(url_of("quick_run", plain), {"submission_key": key})
    run_request = RunRequest.objects.get()
    assert answer.url == reverse("admin:runs_runrequest_change", args=[run_request.pk]) + "?follow=1"  # type: ignore[attr-defined]
    assert run_request.spec.parameters["month"] == "2026-01"
    again = client.post(url_of("quick_run", plain), {"submission_key": key})
    assert again.url == answer.url  # type: ignore[attr-defined]  # a redirect
    assert RunRequest.objects.count() == 1


def test_without_all_defaults_a_quick_run_leads_to_the_form(
    requester: User, deployment: Deployment, login: Login
) -> None:
    client = login(requester)
    assert url_of("quick_run", deployment) not in text(client, deployment)
    assert client.post(url_of("quick_run", deployment)).url == url_of("run", deployment)  # type: ignore[attr-defined]
    assert not RunRequest.objects.exists()


def test_a_quick_run_of_a_deleted_one_is_refused(
    requester: User, plain: Deployment, fake: FakePrefect, login: Login
) -> None:
    fake.remove_deployment(plain.prefect_id)
    sync.sync(plain.environment)
    answer = login(requester).post(url_of("quick_run", plain), follow=True)
    assert message_codes(answer) == ["deployment.gone"]
    assert not RunRequest.objects.exists()


# Pausing


def test_a_pause_is_requested_with_its_reason_and_shown_as_pending(
    admin_user: User, deployment: Deployment, login: Login
) -> None:
    page = login(admin_user).post(url_of("pause", deployment), {"reason": "Month end"}, follow=True).content.decode()
    request = Action.objects.get()
    assert (request.reason, request.kind) == ("Month end", Kind.PAUSE)
    assert f"requested-{request.pk}" in attributes(page, "data-key")
    assert AuditEntry.objects.latest("sequence").verb == "deployment.pause"


def test_a_protected_environment_requires_a_reason_for_pausing(
    admin_user: User, prod_deployment: Deployment, login: Login
) -> None:
    answer = login(admin_user).post(url_of("pause", prod_deployment), {"reason": " "}, follow=True)
    assert message_codes(answer) == ["reason.required"]
    assert not Action.objects.exists()


def test_a_pause_that_could_not_be_sent_says_so(admin_user: User, deployment: Deployment, login: Login) -> None:
    governance_pausing.pause(deployment, by=by(admin_user))
    Action.objects.update(message="Prefect does not answer.")
    assert "Prefect does not answer." in text(login(admin_user), deployment)


# Aliases


def test_an_alias_that_points_to_nothing_says_how_to_deploy(
    viewer: User, dev: Environment, deployment: Deployment, login: Login
) -> None:
    alias = Alias.objects.create(environment=dev, name="lost", full_name="monthly/not there")
    client = login(viewer)
    page = client.get(reverse("admin:flows_alias_change", args=[alias.pk])).content.decode()
    assert "monthly/not there" in page
    assert "PREFECT_API_URL=http://dev.test/api prefect deploy --name &#x27;not there&#x27;" in page
    assert 'data-state="not_deployed"' in client.get(reverse("admin:flows_alias_changelist")).content.decode()


def test_an_alias_follows_its_deployment(
    viewer: User, dev: Environment, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    alias = Alias.objects.create(environment=dev, name="month-end", full_name="monthly/monthly")
    fake.remove_deployment(deployment.prefect_id)
    fake.add_deployment(flow_name="monthly", name="monthly")
    sync.sync(dev)
    successor = Deployment.objects.get(deleted_upstream_at=None)
    assert successor.pk != deployment.pk
    page = login(viewer).get(reverse("admin:flows_alias_change", args=[alias.pk])).content.decode()
    assert page_of(successor) in page


def test_an_alias_is_visible_to_those_who_can_see_its_deployment(
    viewer: User, requester: User, dev: Environment, prod: Environment, deployment: Deployment, login: Login
) -> None:
    here = Alias.objects.create(environment=dev, name="here", full_name="monthly/monthly")
    there = Alias.objects.create(environment=prod, name="there", full_name="monthly/monthly")
    grants.grant(by=Actor.system(), person=requester, verbs=["see"], effect="deny", tag="crm")
    visible = {viewer: [here], requester: [there]}
    for user, seen in visible.items():
        client = login(user)
        codes = [client.get(reverse("admin:flows_alias_change", args=[each.pk])).status_code for each in (here, there)]
        assert codes == [200 if each in seen else 404 for each in (here, there)], user


def test_only_an_administrator_makes_and_changes_aliases(
    admin_user: User, requester: User, dev: Environment, login: Login
) -> None:
    add = reverse("admin:flows_alias_add")
    typed = {"environment": dev.pk, "name": "nightly", "full_name": "flow/deployment"}
    assert login(requester).post(add, typed).status_code == 403
    refused = login(admin_user).post(add, {**typed, "full_name": "x"})
    assert error_codes(refused.context["adminform"].form) == {"full_name": ["alias.format"]}
    assert login(admin_user).post(add, typed).status_code == 302
    alias = Alias.objects.get()
    assert AuditEntry.objects.latest("sequence").verb == "alias.create"
    login(admin_user).post(reverse("admin:flows_alias_delete", args=[alias.pk]), {"post": "yes"})
    assert not Alias.objects.exists()
    assert AuditEntry.objects.latest("sequence").verb == "alias.delete"


def test_the_cost_of_the_page_does_not_grow(requester: User, deployment: Deployment, login: Login) -> None:
    client = login(requester)
    many_runs(deployment, 1)
    few = count(client, page_of(deployment))
    many_runs(deployment, 50)
    assert count(client, page_of(deployment)) == few
    must_be_agreed("deployment page", few)


def test_a_default_that_prefect_fills_in_is_named_and_can_be_run_quickly(
    deployment: Deployment, fake: FakePrefect, requester: User, login: Login
) -> None:
    variable = {"__prefect_kind": "workspace_variable", "variable_name": "this_month"}
    place = changed(deployment, fake, parameter_defaults={"month": variable})
    client = login(requester)
    page = text(client, place)
    assert "from the variable this_month" in page
    assert "__prefect_kind" not in page
    assert url_of("quick_run", place) in page
    answer = client.post(url_of("quick_run", place), {"submission_key": str(uuid.uuid4())})
    assert RunRequest.objects.get().spec.parameters == {"rows": 100}
    shown = client.get(answer.url).content.decode()  # type: ignore[attr-defined]
    assert "from the variable this_month" in shown
    assert "is-different" not in shown
