"""Saved views: one's own, shared ones, and whose they are to delete."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flows.models import Deployment
from portal.lists import saved_views
from portal.models import SavedView
from runs.actors import Actor, Channel
from runs.models import AuditEntry
from tests.portal.page_elements import message_codes
from tests.refusals import refused

URL = "/admin/runs/run/"
Login = Callable[[User], Client]


def save(client: Client, name: str = "Broken in prod", query: str = "?state=FAILED", **more: str) -> str:
    answer = client.post("/admin/views/save/", {"list": "runs.run", "name": name, "query": query, **more})
    assert answer.status_code == 302
    return str(answer["Location"])


def offered(client: Client) -> list[str]:
    page = client.get(URL).content.decode()
    menu = page[page.index(">bookmark<") :]
    menu = menu[: menu.index('<form method="post" action="/admin/views/save/"')]
    return [name.strip() for name in re.findall(r'<a href="\?[^"]*"[^>]*>([^<]+)<', menu)]


def by(user: User) -> Actor:
    return Actor.person(user, channel=Channel.ADMIN)


def test_a_view_is_saved_without_the_page_of_the_list(requester: User, deployment: Deployment, login: Login) -> None:
    client = login(requester)
    address = save(client, query="?state=FAILED&after=2026-01-01~5&environment=&o=8")
    assert address == f"{URL}?state=FAILED&o=8"
    assert "Broken in prod" in offered(client)
    assert AuditEntry.objects.get(verb="view.save").after["filters"] == "state=FAILED&o=8"


def test_saving_again_replaces_it(requester: User, deployment: Deployment, login: Login) -> None:
    client = login(requester)
    save(client)
    save(client, query="?state=CRASHED", shared="yes")
    view = SavedView.objects.get()
    assert (view.query, view.is_shared) == ("state=CRASHED", True)


def test_only_shared_views_are_offered_to_others(
    requester: User, viewer: User, deployment: Deployment, login: Login
) -> None:
    save(login(requester), "Mine")
    save(login(requester), "Ours", shared="yes")
    assert {"Mine", "Ours"} <= {*offered(login(requester))}
    assert "Ours" in offered(login(viewer))
    assert "Mine" not in offered(login(viewer))
    User.objects.filter(pk=requester.pk).update(is_active=False)
    assert "Ours" not in offered(login(viewer))


def test_a_view_belongs_to_its_owner(
    requester: User, viewer: User, admin_user: User, deployment: Deployment, login: Login
) -> None:
    save(login(requester), "Ours", shared="yes")
    view = SavedView.objects.get()
    answer = login(viewer).post(f"/admin/views/{view.pk}/delete/", follow=True)
    assert "view.not_own" in message_codes(answer)
    login(admin_user).post(f"/admin/views/{view.pk}/delete/")
    assert not SavedView.objects.exists()


def test_a_personal_view_of_someone_else_does_not_exist(
    requester: User, viewer: User, admin_user: User, deployment: Deployment, login: Login
) -> None:
    save(login(requester), "Mine")
    view = SavedView.objects.get()
    for other in (viewer, admin_user):
        assert login(other).post(f"/admin/views/{view.pk}/delete/").status_code == 404
    with refused("view.not_own"):
        saved_views.delete(view, by=by(admin_user))
    assert SavedView.objects.exists()


@pytest.mark.parametrize("name", ["", "  ", "x" * 61])
def test_a_view_has_a_name(requester: User, deployment: Deployment, name: str) -> None:
    with refused("view.name"):
        saved_views.save("runs.run", name, "state=FAILED", is_shared=False, by=by(requester))


def test_a_view_is_bounded(requester: User, deployment: Deployment) -> None:
    with refused("view.too_long"):
        saved_views.save("runs.run", "x", "q=" + "y" * 2000, is_shared=False, by=by(requester))
    for number in range(saved_views.MOST_VIEWS):
        saved_views.save("runs.run", f"view {number}", "", is_shared=False, by=by(requester))
    with refused("view.too_many"):
        saved_views.save("runs.run", "one more", "", is_shared=False, by=by(requester))
    saved_views.save("runs.run", "view 3", "state=FAILED", is_shared=False, by=by(requester))
    saved_views.save("runs.artifact", "one more", "", is_shared=False, by=by(requester))


@pytest.mark.parametrize("label", ["runs.nothing", "x", "", "runs.run.x", "django_q.task", "auth.user"])
def test_a_list_that_one_does_not_see_has_no_views(
    requester: User, deployment: Deployment, login: Login, label: str
) -> None:
    answer = login(requester).post("/admin/views/save/", {"list": label, "name": "x", "query": ""})
    assert answer.status_code == 404


def test_the_view_that_one_looks_at_is_marked(requester: User, deployment: Deployment, login: Login) -> None:
    client = login(requester)
    page = client.get(f"{URL}?state=active").content.decode()
    assert re.search(r'href="\?state=active" aria-current="true"', page)
