"""The list of unassigned deployments: for administrators and auditors, with a page on which one is assigned."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Environment, UnassignedDeployment
from runs.models import AuditEntry
from tests.cast import make_environment
from tests.portal import query_counts
from tests.portal.api.programs import Programs
from tests.portal.client.in_process import Commands
from tests.portal.page_elements import message_codes

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
LIST = reverse("admin:flows_unassigneddeployment_changelist")
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def high(db: None) -> Environment:
    return make_environment("high", scope_kind="tags", scope_values=["prod"], is_protected=True)


@pytest.fixture
def low(high: Environment) -> Environment:
    return make_environment("low", server=high.server, scope_kind="tags", scope_values=["dev"])


def note(beside: Environment, name: str = "etl/nightly", **columns: object) -> UnassignedDeployment:
    now = timezone.now()
    fixed = {"server": beside.server, "prefect_id": uuid.uuid4(), "found_at": now, "synced_at": now}
    return UnassignedDeployment.objects.create(full_name=name, **fixed, **columns)


def page_of(row: UnassignedDeployment) -> str:
    return reverse("admin:flows_unassigneddeployment_change", args=[row.pk])


def test_administrators_and_auditors_see_it(
    low: Environment, admin_user: User, auditor: User, viewer: User, login: Login
) -> None:
    row = note(low, f"etl/{EVIL}", tags=[EVIL], covered_by=[low.pk], environment=low)
    for reader in (admin_user, auditor):
        for address in (LIST, page_of(row), reverse("admin:index")):
            page = login(reader).get(address).content.decode()
            assert EVIL not in page
            assert "etl/" in page or LIST in page
    assert login(viewer).get(LIST).status_code == 403
    assert login(viewer).get(page_of(row)).status_code in (403, 404)
    assert LIST not in login(viewer).get(reverse("admin:index")).content.decode()


def test_many_cost_what_few_do(low: Environment, high: Environment, admin_user: User, login: Login) -> None:
    client = login(admin_user)

    for number in range(10):
        note(low, f"etl/{number}", covered_by=[low.pk, high.pk], environment=low)
    few = query_counts.count(client, LIST)
    for number in range(10, 60):
        note(low, f"etl/{number}", covered_by=[low.pk, high.pk], environment=low)
    assert query_counts.count(client, LIST) == few <= 20


@pytest.mark.usefixtures("single_administrator")
def test_an_administrator_assigns_it_on_its_page(
    low: Environment, high: Environment, admin_user: User, auditor: User, login: Login
) -> None:
    row = note(low, covered_by=[low.pk], environment=high)
    address = reverse("admin:flows_unassigneddeployment_assign", args=[row.pk])
    assert address not in login(auditor).get(page_of(row)).content.decode()
    client = login(admin_user)
    assert address in client.get(page_of(row)).content.decode()
    answer = client.post(address, {"reason": "moved", "confirm": ""}, follow=True)
    assert message_codes(answer) == ["loosening.confirm"]
    client.post(address, {"reason": "moved", "confirm": "high"})
    row.refresh_from_db()
    assert row.confirmed == low
    assert AuditEntry.objects.get(verb="deployment.assign", outcome="done").reason == "moved"
    assert address not in client.get(page_of(row)).content.decode()


def test_what_is_in_several_scopes_has_no_button(
    low: Environment, high: Environment, admin_user: User, login: Login
) -> None:
    row = note(low, covered_by=[low.pk, high.pk])
    page = login(admin_user).get(page_of(row)).content.decode()
    assert 'data-code="unclear"' in page
    assert reverse("admin:flows_unassigneddeployment_assign", args=[row.pk]) not in page


def test_a_program_that_reads_the_audit_trail_lists_them(
    low: Environment, high: Environment, auditor: User, program: Programs, command: Commands
) -> None:
    note(low, covered_by=[high.pk, low.pk], environment=low, tags=["dev", "prod"])
    note(low, "etl/other")
    (row,) = program(auditor, reads_trail=True).get("/unassigned-deployments?environment=low").body["items"]
    assert (row["name"], row["in_scope_of"], row["environment"]) == ("etl/nightly", ["high", "low"], "low")
    assert program(auditor).get("/unassigned-deployments").body["items"] == []
    assert command(auditor, "unassigned").code == 0
