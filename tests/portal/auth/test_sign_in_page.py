"""The page to sign in: what it says of a failed attempt."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from runs.models import AuditEntry

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", ["otto", "unknown", "disabled", "program"])
def test_one_sentence_says_that_it_failed_and_the_same_of_every_account(name: str) -> None:
    User.objects.create_user("otto", password="right", is_staff=True)
    User.objects.create_user("disabled", password="wrong", is_staff=True, is_active=False)
    User.objects.create_user("program", password="wrong")
    answer = Client().post(reverse("admin:login"), {"username": name, "password": "wrong"})
    page = answer.content.decode()
    assert page.count("errornote") == 1
    assert "Wrong user name or password." in page
    assert AuditEntry.objects.get(verb="session.sign_in").outcome == "refused"


def test_what_is_missing_is_counted() -> None:
    page = Client().post(reverse("admin:login"), {"username": "otto", "password": ""}).content.decode()
    assert "Fix 1 field below." in page
    assert not AuditEntry.objects.exists()
