"""The pages of notification rules: who sees which, and what the form does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment
from runs.models import NotificationRule
from runs.notifications import notification_rules
from tests.cast import by, person

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
LIST, NEW = "admin:runs_notificationrule_changelist", "admin:runs_notificationrule_new"


def test_everyone_creates_their_own_once(deployment: Deployment, viewer: User, login: Login) -> None:
    client = login(viewer)
    form = client.get(reverse(NEW))
    assert "group" not in form.context["form"].fields
    sent = {"name": "<b>mine</b>", "topics": ["failed", "late"], "tag": "crm", "newest": form.context["newest"]}
    for _ in range(2):
        assert client.post(reverse(NEW), sent).status_code == 302
    rule = NotificationRule.objects.get()
    assert (rule.person, rule.topics, rule.match_key) == (viewer, ["failed", "late"], "tag crm")
    for address in (reverse(LIST), reverse("admin:runs_notificationrule_change", args=[rule.pk])):
        assert "&lt;b&gt;mine" in client.get(address).content.decode()
    assert client.post(reverse("admin:runs_notificationrule_remove", args=[rule.pk])).status_code == 302
    rule.refresh_from_db()
    assert rule.removed_by_name == "viewer"


def test_a_refusal_is_at_its_field(deployment: Deployment, viewer: User, login: Login) -> None:
    sent = {"name": "x", "topics": ["failed"], "full_name": "no/such", "newest": "0"}
    answer = login(viewer).post(reverse(NEW), sent)
    assert answer.context["form"].errors.as_data()["full_name"][0].code == "notification_rule.deployment"


def test_an_administrator_creates_those_of_groups(admin_user: User, viewer: User, login: Login) -> None:
    group = Group.objects.get(name="Operator")
    sent = {"name": "theirs", "topics": ["failed"], "group": group.pk, "newest": "0"}
    assert login(admin_user).post(reverse(NEW), sent).status_code == 302
    rule = NotificationRule.objects.get(group=group)
    page = reverse("admin:runs_notificationrule_change", args=[rule.pk])
    assert login(viewer).get(page).status_code in (302, 404)
    member = login(person("member", "Operator"))
    assert member.get(page).context["may_remove"] is False
    own = notification_rules.create("mine", ["failed"], by=by(viewer))
    hidden = reverse("admin:runs_notificationrule_change", args=[own.pk])
    assert login(admin_user).get(hidden).status_code in (302, 404)
