"""The freeze button, and the banner on every page about a frozen environment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import changes, requests
from runs.actors import Actor
from runs.governance import freezes, grants
from runs.models import AuditEntry, Freeze, Window
from tests.cast import by
from tests.portal.page_elements import refusal_codes

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]


def address(what: str, environment: Environment) -> str:
    return reverse(f"admin:flows_environment_{what}", args=[environment.pk])


def text(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.fixture
def manager(requester: User, dev: Environment) -> User:
    grants.grant(by=Actor.system(), person=requester, verbs=["manage"], environment=dev)
    return requester


def test_whoever_manages_all_of_it_freezes_it_and_lets_it_go_on(
    dev: Environment, deployment: Deployment, manager: User, login: Login
) -> None:
    client = login(manager)
    assert address("freeze", dev) in text(client, address("change", dev))
    until = (timezone.now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    client.post(address("freeze", dev), {"reason": "Month end", "ticket": "OPS-1", "until": until})
    freeze = Freeze.objects.get()
    assert (freeze.reason, freeze.ticket, freeze.begun_by_name) == ("Month end", "OPS-1", "requester")
    assert timezone.localtime(freeze.until).strftime("%Y-%m-%dT%H:%M") == until
    page = text(client, address("change", dev))
    assert address("unfreeze", dev) in page
    assert f'data-key="frozen-{dev.pk}"' in page
    client.post(address("unfreeze", dev), {"reason": "Done", "ticket": "OPS-2"})
    assert freezes.freeze_of(dev) is None
    assert AuditEntry.objects.get(verb="environment.unfreeze").ticket == "OPS-2"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"reason": ""}, "freeze.reason_required"),
        ({"reason": "x", "until": "soon"}, "time.format"),
        ({"reason": "x", "until": "2026-02-30T00:00"}, "time.format"),
        ({"reason": "x", "until": "1999-01-01T00:00"}, "freeze.past"),
        ({"reason": "x" * 501}, "text.too_long"),
        ({"reason": "x", "ticket": "x" * 101}, "text.too_long"),
    ],
)
def test_a_mistake_is_shown_with_its_code(
    dev: Environment, deployment: Deployment, manager: User, login: Login, values: dict[str, Any], code: str
) -> None:
    answer = login(manager).post(address("freeze", dev), values, follow=True)
    assert refusal_codes(answer) == {code}
    assert not Freeze.objects.exists()


def test_who_does_not_manage_it_finds_no_button_and_no_way(
    dev: Environment, prod: Environment, deployment: Deployment, viewer: User, requester: User, login: Login
) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["manage"], environment=dev, tag="crm")
    for user in (viewer, requester):
        assert address("freeze", dev) not in text(login(user), address("change", dev))
        assert login(user).post(address("freeze", dev), {"reason": "x"}).status_code == 403
    assert login(viewer).post(address("freeze", prod), {"reason": "x"}).status_code == 404
    assert not Freeze.objects.exists()


def test_every_page_about_it_says_so(
    dev: Environment, deployment: Deployment, admin_user: User, requester: User, a_run: Any, login: Login
) -> None:
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    pages = {
        "overview": reverse("admin:index"),
        "deployment": reverse("admin:flows_deployment_change", args=[deployment.pk]),
        "form": reverse("admin:flows_deployment_run", args=[deployment.pk]),
        "request": reverse("admin:runs_runrequest_change", args=[run_request.pk]),
        "run": reverse("admin:runs_run_change", args=[a_run().pk]),
        "environment": address("change", dev),
        "calendar": address("calendar", dev),
    }
    client = login(requester)
    banner = f'data-key="frozen-{dev.pk}"'
    assert [name for name, url in pages.items() if banner in text(client, url)] == []
    freezes.freeze(dev, by=by(admin_user), reason="Audit <b>now</b>")
    for url in pages.values():
        page = text(client, url)
        assert banner in page
        assert "Audit &lt;b&gt;now&lt;/b&gt;" in page


def test_whoever_does_not_see_it_reads_nothing_of_its_freeze(
    prod: Environment, deployment: Deployment, admin_user: User, viewer: User, login: Login
) -> None:
    freezes.freeze(prod, by=by(admin_user), reason="Secret plans")
    for url in (
        reverse("admin:index"),
        reverse("admin:runs_run_changelist"),
        reverse("admin:flows_deployment_changelist"),
    ):
        assert "Secret plans" not in text(login(viewer), url)


def test_the_overview_says_when_runs_may_start(
    dev: Environment, deployment: Deployment, viewer: User, login: Login
) -> None:
    Window.objects.create(name="New year", environment=dev, cron="0 0 1 1 *", minutes=1)
    page = text(login(viewer), reverse("admin:index"))
    assert "New year" in page
    assert "1 Jan" in page
    assert address("calendar", dev) in page


def test_an_emergency_override_waits_on_the_overview_for_a_review(
    prod_deployment: Deployment, prod: Environment, requester: User, approver: User, viewer: User, login: Login
) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["break glass", "approve"], environment=prod)
    run_request = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="Month end")
    row = changes.break_glass(run_request.change, by=by(requester), reason="The shop is down")
    overview = reverse("admin:index")
    page = text(login(approver), overview)
    assert f'data-key="override-{row.pk}"' in page
    assert reverse("admin:runs_runrequest_change", args=[run_request.pk]) in page
    assert "The shop is down" not in text(login(requester), overview)
    assert "The shop is down" not in text(login(viewer), overview)
    changes.review(row, by=by(approver), was_right=True, text="It was")
    assert "The shop is down" not in text(login(approver), overview)
