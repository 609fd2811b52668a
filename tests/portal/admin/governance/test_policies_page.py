"""Policies in the admin: stages without a script, a ticket to try, and who may read and change them."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment, Environment
from portal.ui import rule_labels
from runs import changes
from runs.governance import policies
from runs.models import AuditEntry, ChangeRequest, Policy
from tests.cast import by
from tests.portal.page_elements import attributes, form_errors, refusal_codes
from tests.portal.page_text import Page

pytestmark = pytest.mark.django_db

LIST = reverse("admin:runs_policy_changelist")
ADD = reverse("admin:runs_policy_add")
TYPED: dict[str, Any] = {
    "name": "Production",
    "outside_window": "wait",
    "risk": "high",
    "needs_reason": "on",
    "approval_minutes": "",
    "token_days": "",
    "schedule_days": "",
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


@pytest.mark.usefixtures("single_administrator")
def test_an_administrator_adds_changes_and_deletes_one(admin_user: User, prod: Environment, login: Login) -> None:
    client = login(admin_user)
    page = text(client, ADD)
    assert [row for row in range(1, 7) if f'name="stages-{row}-group"' in page] == [1, 2, 3, 4, 5]
    answer = client.post(ADD, TYPED | {"environment": prod.pk})
    row = Policy.objects.get()
    assert answer.url == page_of(row)  # type: ignore[attr-defined]  # a redirect
    assert row.stages == [{"needed": 2, "group": "Approver"}, {"needed": 1, "group": "Release manager"}]
    assert (row.environment, row.risk, row.needs_reason, row.needs_ticket) == (prod, "high", True, False)
    page = text(client, page_of(row))
    assert 'value="2"' in page
    assert '<option value="Release manager" selected>' in page
    body = TYPED | {"environment": prod.pk, "stages-1-needed": "1", "approval_minutes": "60"}
    # Fewer approvals in a protected environment have to be confirmed.
    answer = client.post(page_of(row), body)
    assert attributes(answer.content.decode(), "data-loosening") == ["policy.stages"]
    client.post(page_of(row), body | {"loosening_reason": "r", "loosening_confirm": "prod"})
    row.refresh_from_db()
    assert (row.stages[0]["needed"], row.approval_minutes) == (1, 60)
    remove = reverse("admin:runs_policy_remove", args=[row.pk])
    assert attributes(text(client, page_of(row)), "data-loosens") == ["prod"]
    assert refusal_codes(client.post(remove, {"reason": "r"}, follow=True)) == {"loosening.confirm"}
    client.post(remove, {"reason": "r", "confirm": "prod"})
    assert not Policy.objects.exists()
    done = AuditEntry.objects.filter(outcome="done").order_by("sequence")
    assert list(done.values_list("verb", flat=True)) == ["policy.create", "policy.change", "policy.delete"]


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"stages-1-needed": "10"}, ("stages", "policy.stage_approvals")),
        ({"stages-1-needed": "many"}, ("stages", "number")),
        ({"stages-1-needed": "²"}, ("stages", "number")),
        ({"stages-1-group": "Nobody"}, ("stages", "policy.stage_group")),
        ({"stages-3-group": "Approver"}, ("stages", "policy.stage_duplicate")),
        ({"ticket_pattern": "(?=x)"}, ("__all__", "policy.ticket_pattern")),
        ({"ticket_link": "javascript:alert(1)//{ticket}"}, ("__all__", "policy.ticket_link_scheme")),
        ({"ticket_pattern": "^OPS-[0-9]+$", "sample": "ops 12"}, ("sample", "pattern")),
        ({"risk": "huge"}, ("risk", "invalid_choice")),
        ({"token_days": "0"}, ("token_days", "min_value")),
        ({"schedule_days": "367"}, ("schedule_days", "max_value")),
        ({"token_days": "366"}, ("token_days", "max_value")),
    ],
)
def test_a_mistake_is_shown_at_its_field_and_what_was_typed_stays(
    admin_user: User, login: Login, values: dict[str, Any], error: tuple[str, str]
) -> None:
    answer = login(admin_user).post(ADD, TYPED | values)
    assert answer.status_code == 200
    assert form_errors(answer) == {error}
    page = Page(answer.content.decode())
    assert answer.context["form"].errors[error[0]][0] in page.text
    assert "Production" in page.text
    assert not Policy.objects.exists()


def test_a_ticket_that_fits_is_tried_and_not_kept(admin_user: User, login: Login) -> None:
    values = {"ticket_pattern": "^OPS-[0-9]+$", "sample": "OPS-12", "ticket_link": "https://tickets.example/{ticket}"}
    login(admin_user).post(ADD, TYPED | values)
    assert Policy.objects.get().ticket_pattern == "^OPS-[0-9]+$"


def test_the_longest_token_is_saved_shown_and_approved(
    admin_user: User, second_administrator: User, viewer: User, prod: Environment, dev: Environment, login: Login
) -> None:
    client, body = login(admin_user), TYPED | {"environment": prod.pk, "token_days": "7"}
    client.post(ADD, body)
    row = Policy.objects.get()
    assert row.token_days == 7
    assert AuditEntry.objects.get(verb="policy.create").after["token_days"] == 7
    assert "tokens of at most 7 days" in text(client, LIST)
    # A longer life loosens the rules: it waits for the other administrator, and is then in effect.
    longer = body | {"token_days": "30", "loosening_reason": "r", "loosening_confirm": "prod"}
    answer = client.post(page_of(row), longer, follow=True)
    assert [(each.name, each.before, each.after) for each in answer.context["rows"]] == [
        ("longest token (days)", "7", "30")
    ]
    change = ChangeRequest.objects.get()
    changes.approve(change, by=by(second_administrator), displayed_digest=change.digest)
    row.refresh_from_db()
    assert row.token_days == 30
    Policy.objects.update(environment=dev)
    assert ("Longest token", "30 days") in login(viewer).get(page_of(row)).context["facts"]


def test_others_read_what_is_about_something_they_see(
    viewer: User, auditor: User, deployment: Deployment, prod: Environment, login: Login
) -> None:
    shown = Policy.objects.create(name="For crm", tag="crm", stages=[{"needed": 1, "group": "Approver"}], risk="medium")
    hidden = Policy.objects.create(name="For prod", environment=prod)
    client = login(viewer)
    assert "For prod" not in text(client, LIST)
    assert client.get(page_of(hidden)).status_code == 404
    page = text(client, page_of(shown))
    assert html.escape(rule_labels.approvals_label(shown.stages)) in page
    assert "Approver" in page
    assert html.escape(rule_labels.risk_badge("medium").state_label) in page
    assert 'name="stages-1-needed"' not in page
    assert client.post(page_of(shown), TYPED).status_code == 403
    assert client.get(ADD).status_code == 403
    assert client.post(reverse("admin:runs_policy_remove", args=[shown.pk])).status_code == 403
    assert "For prod" in text(login(auditor), LIST)
    assert Policy.objects.count() == 2


NOTHING = TYPED | {"needs_reason": "", "risk": "low", "stages-1-needed": "", "stages-3-needed": ""}


def test_one_that_requires_nothing_is_warned_of(admin_user: User, viewer: User, dev: Environment, login: Login) -> None:
    client, warning = login(admin_user), reverse("admin:runs_policy_warning")
    named = {name: value for name, value in NOTHING.items() if name not in ("name", "needs_reason")}
    assert 'data-key="requires-nothing"' in client.get(warning, named).content.decode()
    for demanding in ({"needs_ticket": "on"}, {"stages-1-needed": "1"}, {"risk": "high"}, {"outside_window": "refuse"}):
        assert 'data-key="requires-nothing"' not in client.get(warning, named | demanding).content.decode()
    answer = client.post(
        ADD, named | {"name": "Nothing", "ticket_link": "https://tickets.example/{ticket}"}, follow=True
    )
    assert refusal_codes(answer) == {"policy.nothing"}
    row = Policy.objects.get()
    assert policies.requires_nothing(row)
    # Its readers are told so too; who cannot change policies gets no answer to what they would type.
    assert 'data-key="requires-nothing"' in text(login(viewer), page_of(row))
    assert login(viewer).get(warning, named).status_code == 403


def test_stages_are_added_one_at_a_time(admin_user: User, login: Login) -> None:
    page = text(login(admin_user), ADD)
    # One is open; each of the others is inside the one before.
    assert page.count('<details class="portal-next">') == policies.MOST_STAGES - 1
    assert page.index('name="stages-1-needed"') < page.index('<details class="portal-next">')


def test_what_a_rule_matches_is_counted_while_it_is_typed(
    admin_user: User, viewer: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    client, matches = login(admin_user), reverse("admin:runs_policy_matches")
    cases: list[tuple[dict[str, Any], int]] = [
        ({}, 2),
        ({"environment": deployment.environment_id}, 1),
        ({"flow_name": "monthly", "tag": "crm"}, 2),
        ({"flow_name": "month"}, 0),
        ({"full_name": "monthly/monthly", "environment": "x"}, 2),
    ]
    for typed, count in cases:
        page = client.get(matches, typed).content.decode()
        assert attributes(page, "data-matches") == [str(count)], typed
        assert ('data-key="warning"' in page) is (count == 0), typed
        # What is typed in part is completed from the deployments that there are.
        assert '<option value="monthly">' in page
    assert login(viewer).get(matches).status_code == 403
    assert client.get(reverse("admin:runs_window_matches"), {"tag": "\0<b>"}).status_code == 200
