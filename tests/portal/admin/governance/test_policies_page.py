"""Policies in the admin: stages without a script, a ticket to try, and who may read and change them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment, Environment
from runs.models import AuditEntry, Policy
from tests.portal.hostile_text import Page

pytestmark = pytest.mark.django_db

LIST = reverse("admin:runs_policy_changelist")
ADD = reverse("admin:runs_policy_add")
TYPED: dict[str, Any] = {
    "name": "Production",
    "outside_window": "wait",
    "risk": "high",
    "needs_reason": "on",
    "approval_minutes": "",
    "stages-1-needed": "2",
    "stages-1-group": "Approver",
    "stages-2-needed": "",
    "stages-2-group": "",
    "stages-3-needed": "1",
    "stages-3-group": "Release manager",
    "ticket_pattern": "",
    "ticket_link": "",
    "environment": "",
    "flow_name": "",
    "full_name": "",
    "tag": "",
}
Login = Callable[[User], Client]


def page_of(policy: Policy) -> str:
    return reverse("admin:runs_policy_change", args=[policy.pk])


def text(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def test_an_administrator_adds_changes_and_deletes_one(admin_user: User, prod: Environment, login: Login) -> None:
    client = login(admin_user)
    assert text(client, ADD).count("whoever may approve</option>") == 5
    answer = client.post(ADD, TYPED | {"environment": prod.pk})
    row = Policy.objects.get()
    assert answer.url == page_of(row)  # type: ignore[attr-defined]  # a redirect
    assert row.stages == [{"needed": 2, "group": "Approver"}, {"needed": 1, "group": "Release manager"}]
    assert (row.environment, row.risk, row.needs_reason, row.needs_ticket) == (prod, "high", True, False)
    page = text(client, page_of(row))
    assert 'value="2"' in page
    assert '<option value="Release manager" selected>' in page
    client.post(page_of(row), TYPED | {"stages-1-needed": "1", "approval_minutes": "60"})
    row.refresh_from_db()
    assert (row.stages[0]["needed"], row.approval_minutes) == (1, 60)
    client.post(reverse("admin:runs_policy_remove", args=[row.pk]))
    assert not Policy.objects.exists()
    verbs = AuditEntry.objects.order_by("sequence").values_list("verb", flat=True)
    assert list(verbs) == ["policy.create", "policy.change", "policy.delete"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"stages-1-needed": "10"}, "A stage needs 1 to 9 approvals."),
        ({"stages-1-needed": "many"}, "Write how many approvals as a number."),
        ({"stages-1-needed": "²"}, "Write how many approvals as a number."),
        ({"stages-1-group": "Nobody"}, "Unknown group Nobody"),
        ({"stages-3-group": "Approver"}, "Two stages are for Approver"),
        ({"ticket_pattern": "(?=x)"}, "is not a supported regular expression"),
        ({"ticket_link": "javascript:alert(1)//{ticket}"}, "must start with https://"),
        ({"ticket_pattern": "^OPS-[0-9]+$", "sample": "ops 12"}, "“ops 12” does not fit ^OPS-[0-9]+$."),
        ({"risk": "huge"}, "Select a valid choice."),
    ],
)
def test_a_mistake_is_a_sentence_and_what_was_typed_stays(
    admin_user: User, login: Login, values: dict[str, Any], sentence: str
) -> None:
    answer = login(admin_user).post(ADD, TYPED | values)
    assert answer.status_code == 200
    page = Page(answer.content.decode())
    assert sentence in page.text
    assert "Production" in page.text
    assert not Policy.objects.exists()


def test_a_ticket_that_fits_is_tried_and_not_kept(admin_user: User, login: Login) -> None:
    values = {"ticket_pattern": "^OPS-[0-9]+$", "sample": "OPS-12", "ticket_link": "https://tickets.example/{ticket}"}
    login(admin_user).post(ADD, TYPED | values)
    assert Policy.objects.get().ticket_pattern == "^OPS-[0-9]+$"


def test_others_read_what_is_about_something_they_see(
    viewer: User, auditor: User, deployment: Deployment, prod: Environment, login: Login
) -> None:
    shown = Policy.objects.create(name="For crm", tag="crm", stages=[{"needed": 1, "group": "Approver"}], risk="medium")
    hidden = Policy.objects.create(name="For prod", environment=prod)
    client = login(viewer)
    assert "For prod" not in text(client, LIST)
    assert client.get(page_of(hidden)).status_code == 404
    page = text(client, page_of(shown))
    assert "1 approval: 1 of Approver" in page
    assert "Medium risk" in page
    assert 'name="stages-1-needed"' not in page
    assert client.post(page_of(shown), TYPED).status_code == 403
    assert client.get(ADD).status_code == 403
    assert client.post(reverse("admin:runs_policy_remove", args=[shown.pk])).status_code == 403
    assert "For prod" in text(login(auditor), LIST)
    assert Policy.objects.count() == 2
