"""The pages of service levels, and where other pages lead to them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment
from runs.actors import Actor
from runs.governance import grants
from runs.models import Breach, ServiceLevel
from tests.cast import person
from tests.portal.page_elements import form_errors, has_button, message_codes
from tests.portal.query_counts import count

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
LIST = reverse("admin:runs_servicelevel_changelist")
NEW = reverse("admin:runs_servicelevel_new")
RUNBOOK = "https://wiki.example/late"


@pytest.fixture
def manager(deployment: Deployment) -> User:
    user = person("manager")
    grants.grant(by=Actor.system(), person=user, verbs=["see", "manage"], environment=deployment.environment)
    return user


@pytest.fixture
def level(deployment: Deployment) -> ServiceLevel:
    return ServiceLevel.objects.create(
        environment=deployment.environment, kind="late", threshold=5, runbook=RUNBOOK, created_by_name="ada"
    )


def breach(level: ServiceLevel, deployment: Deployment, **columns: object) -> Breach:
    now = timezone.now()
    return Breach.objects.create(level=level, deployment=deployment, value=7, opened_at=now, **columns)


def page_of(level: ServiceLevel) -> str:
    return reverse("admin:runs_servicelevel_change", args=[level.pk])


def test_one_is_created_once_however_often_the_form_is_sent(
    deployment: Deployment, manager: User, viewer: User, login: Login
) -> None:
    client = login(manager)
    typed = {"environment": str(deployment.environment_id), "kind": "late", "threshold": "5", "newest": "0"}
    assert message_codes(client.post(NEW, {**typed, "owner": "manager"}, follow=True)) == ["success"]
    assert message_codes(client.post(NEW, typed, follow=True)) == ["level.repeated"]
    made = ServiceLevel.objects.get()
    assert (made.owner, made.created_by_name) == (manager, "manager")
    for values, error in (
        ({"kind": "failing"}, ("days", "level.days")),
        ({"threshold": "0"}, ("threshold", "level.threshold")),
        ({"threshold": "inf"}, ("threshold", "invalid")),
        ({"full_name": "no/such"}, ("full_name", "level.deployment")),
        ({"owner": "no-one"}, ("owner", "user.unknown")),
        ({"runbook": "ftp://x"}, ("runbook", "level.runbook")),
    ):
        answer = client.post(NEW, {**typed, "newest": "99999", **values})
        assert form_errors(answer) == {error}, values
    assert form_errors(login(viewer).post(NEW, {**typed, "newest": "99999"})) == {("environment", "access.no_grant")}
    assert ServiceLevel.objects.count() == 1


def test_the_list_says_what_is_breached_for_the_reader(
    level: ServiceLevel, deployment: Deployment, viewer: User, stranger: User, login: Login
) -> None:
    client = login(viewer)
    assert [each.open_breaches for each in client.get(LIST).context["cl"].result_list] == [0]
    breach(level, deployment)
    assert [each.open_breaches for each in client.get(LIST).context["cl"].result_list] == [1]
    assert client.get(LIST, {"state": "breached"}).context["cl"].result_count == 1
    assert login(stranger).get(LIST).status_code == 403
    # Hidden deployments are not counted.
    place = {"environment": deployment.environment, "full_name": deployment.full_name, "effect": "deny"}
    grants.grant(by=Actor.system(), person=viewer, verbs=["see"], **place)
    assert [each.open_breaches for each in client.get(LIST).context["cl"].result_list] == [0]
    assert client.get(page_of(level)).context["breaches"] == []


def test_its_page_has_its_history_and_removes_it(
    level: ServiceLevel, deployment: Deployment, viewer: User, manager: User, login: Login
) -> None:
    old = breach(level, deployment, cleared_at=timezone.now() + timedelta(minutes=1))
    new = breach(level, deployment)
    answer = login(viewer).get(page_of(level))
    assert answer.context["breaches"] == [new, old]
    assert not has_button(answer.content.decode(), "remove")
    remove = reverse("admin:runs_servicelevel_remove", args=[level.pk])
    assert login(viewer).post(remove).status_code == 403
    client = login(manager)
    assert has_button(client.get(page_of(level)).content.decode(), "remove")
    assert message_codes(client.post(remove, {"reason": "x"}, follow=True)) == ["success"]
    assert message_codes(client.post(remove, {"reason": "x"}, follow=True)) == ["level.removed"]
    assert not Breach.objects.filter(cleared_at=None).exists()


def test_the_overview_and_the_page_of_the_deployment_show_them(
    level: ServiceLevel, deployment: Deployment, viewer: User, login: Login
) -> None:
    client = login(viewer)
    assert client.get(reverse("admin:index")).context["breaches"].number == 0
    breach(level, deployment)
    found = client.get(reverse("admin:index")).context["breaches"]
    assert found.number == 1, "levels, which the list has"
    assert client.get(found.url).context["cl"].result_count == 1
    url = reverse("admin:flows_deployment_change", args=[deployment.pk])
    page = client.get(url).content.decode()
    assert page_of(level) in page
    assert RUNBOOK in page
    for address in (LIST, page_of(level), url):
        assert count(client, address) <= 20
