"""The search and the filters of every list: bounded, and never a server error, whatever the address says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from runs.list_filters import LONGEST, MOST_WORDS
from runs.models import AuditEntry, Run, RunRequest
from tests.portal.page_elements import message_codes

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
LISTS = [
    f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    for model, options in admin.site._registry.items()
    if options.search_fields
]
REQUESTS, RUNS, ENTRIES = (f"admin:runs_{model._meta.model_name}_changelist" for model in (RunRequest, Run, AuditEntry))


@pytest.mark.parametrize("name", LISTS)
def test_a_search_of_many_words_is_refused(admin_user: User, login: Login, name: str) -> None:
    client = login(admin_user)
    page = client.get(reverse(name), {"q": "a " * 3000})
    assert page.status_code == 200
    assert "search text is too long" in page.content.decode()
    many = client.get(reverse(name), {"q": " ".join("abcdef"[: MOST_WORDS + 1])})
    assert f"at most {MOST_WORDS} words" in many.content.decode()
    few = client.get(reverse(name), {"q": " ".join("abcde"[:MOST_WORDS])})
    assert f"at most {MOST_WORDS} words" not in few.content.decode()
    assert client.get(reverse(name), {"q": "x" * LONGEST}).status_code == 200


def test_an_export_of_such_a_search_is_refused_too(admin_user: User, login: Login) -> None:
    address = reverse("admin:runs_auditentry_export") + "?q=" + "a+" * 3000
    answer = login(admin_user).post(address, {"format": "csv"}, follow=True)
    assert message_codes(answer) == ["search.too_long"]
    assert not AuditEntry.objects.filter(verb="audit.export").exists()


@pytest.mark.parametrize(
    ("name", "query"),
    [
        (REQUESTS, "sort_at__year=0"),
        (REQUESTS, "sort_at__year=99999"),
        (RUNS, "sort_at__year=0"),
        (RUNS, "sort_at__year=99999"),
        (RUNS, "sort_at__year=2026&sort_at__month=13"),
        (RUNS, "sort_at__year=2026&sort_at__month=2&sort_at__day=31"),
        *[
            (name, f"{column}_from={first}&{column}_to={last}")
            for name, column in (
                (REQUESTS, "sort_at"),
                (RUNS, "sort_at"),
                (RUNS, "started_at"),
                (ENTRIES, "at"),
            )
            for first, last in (("0001-01-01", "9999-12-31"), ("0000-00-00", "x"), ("9999-12-31", "0001-01-01"))
        ],
        (RUNS, "p=99999999999999999999"),
        (RUNS, "o=99999"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/New_York"])
def test_no_filter_in_an_address_is_a_server_error(
    viewer: User, admin_user: User, login: Login, settings: object, name: str, query: str, zone: str
) -> None:
    settings.TIME_ZONE = zone  # type: ignore[attr-defined]  # pytest-django's fixture
    for user in (viewer, admin_user):
        answer = login(user).get(f"{reverse(name)}?{query}")
        # 400: no list filters by that.
        assert answer.status_code in (200, 302, 400, 403), answer.status_code
