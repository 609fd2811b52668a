"""Pinned deployments on the pages: on top, for their owner alone, and only while they may be seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment
from runs import pins
from runs.actors import Actor
from runs.governance import grants
from runs.models import Pin
from tests.cast import by
from tests.portal.many_rows import many_runs
from tests.portal.page_elements import message_codes

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
LIST, OVERVIEW, PALETTE = reverse("admin:flows_deployment_changelist"), reverse("admin:index"), reverse("admin:search")


def page_of(deployment: Deployment) -> str:
    return reverse("admin:flows_deployment_change", args=[deployment.pk])


def panel(page: str) -> str:
    """The panel of pinned deployments, empty if there is none."""
    _, _, rest = page.partition('data-panel="pinned"')
    return rest.partition("</section>")[0]


def text(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def test_pin_and_unpin_on_the_page(requester: User, deployment: Deployment, login: Login) -> None:
    client = login(requester)
    assert 'data-pinned="no"' in text(client, page_of(deployment))
    answer = client.post(reverse("admin:flows_deployment_pin", args=[deployment.pk]), {"next": LIST})
    assert answer["Location"] == LIST
    assert 'data-pinned="yes"' in text(client, page_of(deployment))
    client.post(reverse("admin:flows_deployment_unpin", args=[deployment.pk]))
    assert not Pin.objects.exists()


def test_it_is_on_top_of_list_overview_and_palette(
    requester: User, viewer: User, deployment: Deployment, login: Login
) -> None:
    many_runs(deployment, 1, state_type="FAILED")
    client, other = login(requester), login(viewer)
    for url in (LIST, OVERVIEW):
        assert panel(text(client, url)) == ""
    pins.pin(deployment, by=by(requester))
    for url in (LIST, OVERVIEW):
        shown = panel(text(client, url))
        assert page_of(deployment) in shown
        assert "Failed" in shown
        assert reverse("admin:flows_deployment_run", args=[deployment.pk]) in shown
        assert panel(text(other, url)) == ""
    assert "Pinned" in text(client, PALETTE)
    assert page_of(deployment) in text(client, PALETTE)
    assert page_of(deployment) not in text(other, PALETTE)
    # A search is for another one.
    assert panel(text(client, f"{LIST}?q=nothing")) == ""
    assert panel(text(client, f"{LIST}?environment=dev")) == ""


def test_a_pin_shows_nothing_once_it_is_hidden(
    requester: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    for each in (deployment, prod_deployment):
        pins.pin(each, by=by(requester))
    grants.grant(
        by=Actor.system(), person=requester, verbs=["see"], effect="deny", environment=prod_deployment.environment
    )
    client = login(requester)
    for url in (LIST, OVERVIEW, PALETTE):
        page = text(client, url)
        assert page_of(deployment) in page
        assert page_of(prod_deployment) not in page
    for verb in ("pin", "unpin"):
        answer = client.post(reverse(f"admin:flows_deployment_{verb}", args=[prod_deployment.pk]))
        assert answer.status_code == 404


def test_the_limit_is_said(
    requester: User, deployment: Deployment, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins, "MOST_PINS", 0)
    answer = login(requester).post(reverse("admin:flows_deployment_pin", args=[deployment.pk]), follow=True)
    assert message_codes(answer) == ["pin.too_many"]
