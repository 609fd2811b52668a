"""The first steps of an administrator: they tick themselves, and go when all are done or they are hidden."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import health
from flows.models import Deployment, Environment, Health
from runs.actors import Actor
from runs.governance import grants
from runs.models import Policy
from tests.cast import person
from tests.portal.many_rows import many_runs

pytestmark = pytest.mark.django_db

URL = reverse("admin:index")
HIDE = reverse("hide_first_steps")
Login = Callable[[User], Client]


def ticks(client: Client) -> dict[str, bool]:
    page = client.get(URL).content.decode()
    return {key: done == "yes" for key, done in re.findall(r'data-step="(\w+)" data-done="(\w+)"', page)}


def test_an_empty_portal_has_all_of_them_to_do(admin_user: User, login: Login) -> None:
    found = ticks(login(admin_user))
    assert list(found) == ["environment", "server", "person", "grant", "policy", "run"]
    assert not any(found.values())


def test_each_ticks_itself_and_the_last_one_removes_them(
    admin_user: User, deployment: Deployment, dev: Environment, login: Login
) -> None:
    client = login(admin_user)

    def newly_done() -> set[str]:
        before, found = set(known), {key for key, done in ticks(client).items() if done}
        known.update(found)
        return found - before

    known: set[str] = set()
    Health.objects.all().delete()
    assert newly_done() == {"environment"}
    health.record(dev.server, Health.State.UP, "")
    assert newly_done() == {"server"}
    colleague = person("colleague")
    assert newly_done() == {"person"}
    grants.grant(by=Actor.system(), person=colleague, verbs=["see"], environment=dev)
    assert newly_done() == {"grant"}
    Environment.objects.update(is_protected=True)
    assert newly_done() == set()
    Policy.objects.create(name="Careful", environment=dev)
    assert newly_done() == {"policy"}
    many_runs(deployment, 1, ended_at=timezone.now())
    assert ticks(client) == {}


def test_a_person_in_a_group_with_grants_has_access(admin_user: User, dev: Environment, login: Login) -> None:
    client = login(admin_user)
    person("colleague", "Operator")
    assert ticks(client)["grant"]


def test_only_administrators_see_them(viewer: User, auditor: User, deployment: Deployment, login: Login) -> None:
    for user in (viewer, auditor):
        assert ticks(login(user)) == {}


def test_they_can_be_hidden_by_who_sees_them_alone(
    admin_user: User, second_administrator: User, dev: Environment, login: Login
) -> None:
    client, other = login(admin_user), login(second_administrator)
    assert client.get(HIDE).status_code == 405
    assert ticks(client)
    assert client.post(HIDE).url == URL  # type: ignore[attr-defined]  # a redirect
    assert ticks(client) == {}
    assert ticks(other)
    assert ticks(login(admin_user)), "whoever signs in anew sees them again"


def test_each_leads_to_the_page_where_it_is_done(admin_user: User, login: Login) -> None:
    client = login(admin_user)
    steps = client.get(URL).context["first_steps"]
    assert all(client.get(step.link).status_code == 200 for step in steps)
