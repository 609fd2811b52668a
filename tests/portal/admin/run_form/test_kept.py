"""A session that ends while a form is filled in costs no typing, and gives no secret away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment
from portal.admin.run_form import kept
from portal.auth import kept_form
from portal.models import BrowserSession
from runs import requests
from runs.models import RunRequest
from tests.cast import by
from tests.portal.forms import confirm, fill_in, form_of, hidden
from tests.portal.page_elements import attributes

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
ORIGIN = {"Origin": "http://testserver"}
PASSWORD = "Xk7-long-enough"
TYPED = {
    "parameters-month": "2026-03",
    "parameters-rows": "7",
    "parameters-token": "opensesame",
    "reason": "month end",
    "tags": "a, b",
    "start": "now",
    "run_name": "mine",
}


@pytest.fixture
def requester(requester: User) -> User:
    requester.set_password(PASSWORD)
    requester.save()
    return requester


def filled(client: Client, deployment: Deployment, query: str = "") -> dict[str, str]:
    page = client.get(form_of(deployment, query)).content.decode()
    return {**TYPED, **hidden(page), "filled_by": attributes_of(page, "filled_by")}


def attributes_of(page: str, name: str) -> str:
    return page.partition(f'name="{name}" value="')[2].partition('"')[0]


def sign_in(client: Client, answer: Any, user: User, password: str = PASSWORD, **more: str) -> Any:
    """Use the sign-in page that came back."""
    page = answer.content.decode()
    action = page.partition('form action="')[2].partition('"')[0].replace("&amp;", "&")
    assert "data-kept" in page
    body = {"username": user.username, "password": password, "kept_form": attributes_of(page, "kept_form"), **more}
    return client.post(action, body, follow=True)


def assert_restored(answer: Any) -> None:
    page = answer.content.decode()
    assert attributes(page, "data-error") == ["form.kept"]
    for piece in ('value="2026-03"', 'value="7"', "month end", 'value="a, b"', 'value="mine"'):
        assert piece in page
    assert "opensesame" not in page
    assert not RunRequest.objects.exists()


def nothing_secret_is_stored() -> bool:
    return "opensesame" not in str([session.get_decoded() for session in BrowserSession.objects.all()])


def test_what_was_typed_is_found_again_after_signing_in(requester: User, deployment: Deployment, login: Login) -> None:
    client = login(requester)
    body = filled(client, deployment)
    client.session.flush()
    answer = client.post(form_of(deployment), body)
    assert answer.status_code == 403
    assert "opensesame" not in answer.content.decode()
    restored = sign_in(client, answer, requester)
    assert_restored(restored)
    assert kept.RETYPE in restored.context["refusal"].message
    assert nothing_secret_is_stored()
    again = {**body, **hidden(restored.content.decode())}
    assert client.post(form_of(deployment), again).status_code == 302
    assert RunRequest.objects.get().change.reason == "month end"


def test_it_is_shown_once(requester: User, deployment: Deployment, login: Login) -> None:
    client = login(requester)
    body = filled(client, deployment)
    client.session.flush()
    assert_restored(sign_in(client, client.post(form_of(deployment), body), requester))
    assert 'value="2026-03"' not in client.get(form_of(deployment)).content.decode()


def test_a_wrong_password_first_loses_nothing(requester: User, deployment: Deployment, login: Login) -> None:
    client = login(requester)
    body = filled(client, deployment)
    client.session.flush()
    refused = sign_in(client, client.post(form_of(deployment), body), requester, "wrong")
    assert_restored(sign_in(client, refused, requester))


def test_a_form_without_any_cookie_is_kept_too(requester: User, deployment: Deployment) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(requester)
    body = filled(client, deployment)
    client.cookies.clear()
    answer = client.post(form_of(deployment), body, headers=ORIGIN)
    token = attributes_of(answer.content.decode(), "csrfmiddlewaretoken")
    assert_restored(sign_in(client, answer, requester, csrfmiddlewaretoken=token))


def test_a_form_from_before_a_sign_in_in_another_tab_is_shown_again(requester: User, deployment: Deployment) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(requester)
    body = filled(client, deployment)
    client.force_login(requester)
    answer = client.post(form_of(deployment), {**body, "csrfmiddlewaretoken": "x" * 64}, headers=ORIGIN, follow=True)
    assert_restored(answer)
    assert nothing_secret_is_stored()


def test_a_form_that_another_user_filled_in_is_not_shown(
    requester: User, approver: User, deployment: Deployment
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(requester)
    body = filled(client, deployment)
    client.force_login(approver)
    answer = client.post(form_of(deployment), body, headers=ORIGIN)
    assert attributes(answer.content.decode(), "data-status") == ["403"]
    assert kept_form.SESSION_KEY not in client.session


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://elsewhere.example"}, {"Origin": "null"}])
def test_what_another_site_sends_is_not_shown(requester: User, deployment: Deployment, headers: dict[str, str]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(requester)
    body = filled(client, deployment)
    answer = client.post(form_of(deployment), body, headers=headers)
    assert attributes(answer.content.decode(), "data-status") == ["403"]
    assert kept_form.SESSION_KEY not in client.session


def test_who_else_signs_in_with_this_browser_finds_nothing(
    requester: User, approver: User, deployment: Deployment, login: Login
) -> None:
    client = login(requester)
    body = filled(client, deployment)
    client.session.flush()
    approver.set_password(PASSWORD)
    approver.save()
    sign_in(client, client.post(form_of(deployment), body), approver)
    assert kept_form.SESSION_KEY not in client.session


def test_what_was_kept_for_too_long_is_gone(
    requester: User, deployment: Deployment, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = login(requester)
    body = filled(client, deployment)
    client.session.flush()
    answer = client.post(form_of(deployment), body)
    late = timezone.now() + kept_form.VALID_FOR + timedelta(seconds=1)
    monkeypatch.setattr("django.utils.timezone.now", lambda: late)
    sign_in(client, answer, requester)
    assert kept_form.SESSION_KEY not in client.session


@pytest.mark.parametrize("token", ["", "nonsense", "\0"])
def test_a_token_of_nobody_is_ignored(token: str, requester: User, deployment: Deployment) -> None:
    client = Client()
    body = {"username": requester.username, "password": PASSWORD, "kept_form": token}
    assert client.post(reverse("admin:login"), body).status_code == 302
    assert kept_form.SESSION_KEY not in client.session


def test_what_was_to_be_confirmed_is_back_in_the_form(
    requester: User, prod_deployment: Deployment, login: Login
) -> None:
    client = login(requester)
    page = fill_in(client, prod_deployment, **TYPED).content.decode()
    client.session.flush()
    more = {"filled_by": attributes_of(page, "filled_by")}
    answer = confirm(client, prod_deployment, page, "monthly/monthly", **more)
    restored = sign_in(client, answer, requester)
    assert_restored(restored)
    assert nothing_secret_is_stored()
    body = {**TYPED, **hidden(restored.content.decode()), "parameters-token": ""}
    page = client.post(form_of(prod_deployment), body).content.decode()
    assert confirm(client, prod_deployment, page, "monthly/monthly").status_code == 302
    assert requests.values_of(RunRequest.objects.get()) == {"month": "2026-03", "rows": 7, "token": ""}


def test_a_rerun_keeps_its_address(requester: User, deployment: Deployment, login: Login) -> None:
    original = requests.submit(deployment, {"month": "2026-01", "token": "stored"}, by=by(requester))
    client = login(requester)
    query = f"?again={original.pk}"
    body = filled(client, deployment, query)
    client.session.flush()
    restored = sign_in(client, client.post(form_of(deployment, query), body), requester)
    assert attributes(restored.content.decode(), "data-rerun-of") == [str(original.pk)]
    assert 'value="2026-03"' in restored.content.decode()


def test_entries_too_large_to_keep_are_not(requester: User, deployment: Deployment, login: Login) -> None:
    client = login(requester)
    body = {**filled(client, deployment), "reason": "x" * kept_form.LARGEST}
    client.session.flush()
    answer = client.post(form_of(deployment), body)
    assert answer.status_code == 403
    assert "data-form-lost" in answer.content.decode()
    assert "data-kept" not in answer.content.decode()
