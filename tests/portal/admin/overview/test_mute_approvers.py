"""Approvers to whom no email can be sent: counted on the overview, listed among the users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from flows.models import Environment
from runs import notifications
from runs.actors import Actor
from runs.governance import grants

pytestmark = pytest.mark.django_db
Login = Callable[[User], Any]
PEOPLE = reverse("admin:auth_user_changelist")


@pytest.fixture
def mail(settings: Any) -> None:
    settings.MAIL_HOST = "mail.example.com"


def count(login: Login, person: User) -> int:
    found: int = login(person).get(reverse("admin:index")).context["mute_approvers"]
    return found


@pytest.mark.usefixtures("mail")
def test_administrators_see_how_many_there_are_and_who(
    prod: Environment, admin_user: User, approver: User, viewer: User, auditor: User, login: Login
) -> None:
    with_address = User.objects.create(username="reachable", is_staff=True, email="reachable@portal.example")
    disabled = User.objects.create(username="gone", is_staff=True, is_active=False)
    for person in (with_address, disabled, viewer):
        verbs = ["see"] if person == viewer else ["approve"]
        grants.grant(by=Actor.system(), person=person, verbs=verbs, environment=prod)
    assert set(notifications.approvers_without_address()) == {approver}
    assert [count(login, person) for person in (admin_user, auditor, viewer)] == [1, 0, 0]
    listed = login(admin_user).get(f"{PEOPLE}?address=approvers").context["cl"].result_list
    assert list(listed) == [approver]
    listed = login(admin_user).get(f"{PEOPLE}?address=none").context["cl"].result_list
    assert with_address not in listed
    assert {approver, viewer, disabled} <= set(listed)
    User.objects.filter(pk=approver.pk).update(email="approver@portal.example")
    assert count(login, admin_user) == 0


def test_nobody_misses_an_address_without_a_mail_server(
    prod: Environment, admin_user: User, approver: User, settings: Any, login: Login
) -> None:
    settings.MAIL_HOST = ""
    assert count(login, admin_user) == 0
