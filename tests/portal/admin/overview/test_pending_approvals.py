"""What needs the reader's approval: what a row tells, and when it can be approved there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import changes, requests
from runs.actors import Actor
from runs.governance import configuration, grants
from runs.models import Approval, ChangeRequest, Policy, Run, RunRequest
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.many_rows import many_runs
from tests.portal.page_elements import attributes, refusal_codes

pytestmark = pytest.mark.django_db

URL = reverse("admin:index")
Login = Callable[[User], Client]


@pytest.fixture
def launched(prod_deployment: Deployment, requester: User, approver: User) -> RunRequest:
    """A request that was approved and launched: later ones have an approved definition to be compared with."""
    run_request = ask(prod_deployment, requester, "2026-01")
    changes.approve(run_request.change, by=by(approver))
    RunRequest.objects.filter(pk=run_request.pk).update(launched_at=timezone.now(), state=RunRequest.State.LAUNCHED)
    return run_request


def ask(deployment: Deployment, requester: User, month: str, **values: Any) -> RunRequest:
    return requests.submit(deployment, {"month": month, **values}, by=by(requester), reason="Month-end close")


def row(client: Client) -> Any:
    (found,) = client.get(URL).context["pending"].rows
    return found


def test_a_row_tells_who_wants_what_and_why(
    prod_deployment: Deployment, requester: User, approver: User, login: Login
) -> None:
    run_request = ask(prod_deployment, requester, "2026-01")
    page = login(approver).get(URL).content.decode()
    for told in ("Month-end close", "requester", "prod", "monthly"):
        assert told in page
    assert reverse("admin:runs_runrequest_change", args=[run_request.pk]) in page
    assert login(requester).get(URL).context["pending"] is None


def test_own_requests_are_not_offered(prod_deployment: Deployment, requester: User, login: Login) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["approve"], environment=prod_deployment.environment)
    ask(prod_deployment, requester, "2026-01")
    answer = login(requester).get(URL)
    assert answer.context["pending"].rows == []
    assert "sidebar-badge" not in answer.content.decode()


def test_a_row_shows_what_differs_from_the_last_successful_run(
    prod_deployment: Deployment, requester: User, approver: User, login: Login
) -> None:
    many_runs(prod_deployment, 1, ended_at=timezone.now(), parameters={"month": "2025-12", "rows": 100})
    ask(prod_deployment, requester, "2026-01", rows=500)
    found = row(login(approver))
    assert [(each.name, each.before, each.after) for each in found.differences] == [
        ("month", "2025-12", "2026-01"),
        ("rows", "100", "500"),
    ]


def test_without_a_successful_run_a_row_shows_what_differs_from_the_defaults(
    prod_deployment: Deployment, requester: User, approver: User, login: Login
) -> None:
    many_runs(prod_deployment, 1, ended_at=timezone.now(), state_type="FAILED", parameters={"month": "2025-12"})
    ask(prod_deployment, requester, "2026-01", rows=500)
    assert [(each.name, each.before) for each in row(login(approver)).differences] == [("rows", "100")]


def test_a_secret_is_named_and_never_shown(
    prod_deployment: Deployment, requester: User, approver: User, login: Login
) -> None:
    ask(prod_deployment, requester, "2026-01", token="canary-0815")
    client = login(approver)
    assert "secret: token" in row(client).flags
    assert "canary-0815" not in client.get(URL).content.decode()


def test_a_value_from_the_requester_is_only_text(
    prod_deployment: Deployment, requester: User, approver: User, login: Login
) -> None:
    evil = '"><script>alert(1)</script>'
    requests.submit(prod_deployment, {"month": "2026-01"}, by=by(requester), reason=evil, ticket=evil)
    assert "<script>alert" not in login(approver).get(URL).content.decode()


def test_what_the_row_tells_in_full_can_be_approved_in_it(
    launched: RunRequest, prod_deployment: Deployment, requester: User, approver: User, login: Login
) -> None:
    run_request = ask(prod_deployment, requester, "2026-02")
    client = login(approver)
    found = row(client)
    assert found.tells_all
    page = client.get(URL).content.decode()
    assert attributes(page, "value").count(run_request.change.digest) == 1
    answer = client.post(found.approve_url, {"displayed_digest": found.change.digest, "next": URL}, follow=True)
    assert answer.redirect_chain[-1][0] == URL
    assert Approval.objects.get(change=run_request.change).digest == found.change.digest
    assert answer.context["pending"].rows == []


def test_another_digest_than_the_displayed_one_is_refused(
    launched: RunRequest, prod_deployment: Deployment, requester: User, approver: User, login: Login
) -> None:
    ask(prod_deployment, requester, "2026-02")
    client = login(approver)
    answer = client.post(row(client).approve_url, {"displayed_digest": "0" * 64, "next": URL}, follow=True)
    assert refusal_codes(answer) == {"approval.stale"}
    assert Approval.objects.count() == 1


def test_a_request_can_be_rejected_in_its_row(
    prod_deployment: Deployment, requester: User, approver: User, login: Login
) -> None:
    run_request = ask(prod_deployment, requester, "2026-02")
    client = login(approver)
    client.post(row(client).reject_url, {"reason": "Wrong month", "next": URL})
    run_request.refresh_from_db()
    assert run_request.state == RunRequest.State.REJECTED


def test_a_first_approval_is_given_on_the_page(
    prod_deployment: Deployment, requester: User, approver: User, login: Login
) -> None:
    ask(prod_deployment, requester, "2026-02")
    client = login(approver)
    found = row(client)
    assert not found.tells_all
    assert "first approval" in found.flags
    page = client.get(URL).content.decode()
    assert f"{found.url}#approve-reason" in page
    assert found.change.digest not in page


def high_risk(deployment: Deployment, fake: FakePrefect) -> None:
    Policy.objects.create(name="Careful", environment=deployment.environment, risk="high")


def approved_past_the_portal(deployment: Deployment, fake: FakePrefect) -> None:
    # As a person who owns the database: no trigger refuses it.
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE runs_runrequest DISABLE TRIGGER USER")
        cursor.execute("UPDATE runs_runrequest SET signature = ''")


def other_definition(deployment: Deployment, fake: FakePrefect) -> None:
    deployment.definition = {**deployment.definition, "entrypoint": "elsewhere.py:flow"}
    deployment.definition_fingerprint = "1" * 64
    deployment.save()


def deletes_data(deployment: Deployment, fake: FakePrefect) -> None:
    deployment.tags = [*deployment.tags, "destructive"]
    deployment.save()


@pytest.mark.parametrize("change", [high_risk, approved_past_the_portal, other_definition, deletes_data])
def test_what_needs_a_closer_look_is_approved_on_the_page(
    change: Callable[[Deployment, FakePrefect], None],
    launched: RunRequest,
    prod_deployment: Deployment,
    prod_fake: FakePrefect,
    requester: User,
    approver: User,
    login: Login,
) -> None:
    change(prod_deployment, prod_fake)
    values = {"month": "2026-02"}
    confirmation = {"confirmation": prod_deployment.full_name} if change is deletes_data else {}
    requests.submit(prod_deployment, values, by=by(requester), reason="Month-end close", **confirmation)
    found = row(login(approver))
    assert found.flags
    assert not found.tells_all


def test_what_changed_after_the_request_is_approved_on_the_page(
    launched: RunRequest, prod_deployment: Deployment, requester: User, approver: User, login: Login
) -> None:
    ask(prod_deployment, requester, "2026-02")
    client = login(approver)
    assert row(client).tells_all
    Deployment.objects.filter(pk=prod_deployment.pk).update(definition_fingerprint="2" * 64)
    assert not row(client).tells_all


def test_several_runs_are_one_row(prod_deployment: Deployment, requester: User, approver: User, login: Login) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["backfill"], environment=prod_deployment.environment)
    specs = [requests.Spec(prod_deployment, {"month": month}) for month in ("2026-01", "2026-02")]
    change = requests.submit_change(specs, by=by(requester), kind=ChangeRequest.Kind.BACKFILL, reason="Restated")
    client = login(approver)
    found = row(client)
    assert found.change == change
    assert found.title.startswith("2 runs")
    assert not found.tells_all
    # It is decided as a whole, on its own page.
    assert found.url == found.address("change") == f"/admin/runs/changerequest/{change.pk}/change/"
    pending = client.get(URL).context["pending"]
    assert pending.count.number == 0
    assert client.get(pending.rules.url).context["cl"].result_count == pending.rules.number == 1


def test_who_is_denied_to_approve_it_reads_nothing_of_it(
    prod_deployment: Deployment, requester: User, approver: User, login: Login
) -> None:
    ask(prod_deployment, requester, "2026-02", rows=777)
    client = login(approver)
    assert "777" in client.get(URL).content.decode()
    grants.grant(by=Actor.system(), person=approver, verbs=["approve"], effect="deny", environment=None)
    assert "777" not in client.get(URL).content.decode()


def test_changes_of_rules_are_offered_to_other_administrators(
    prod: Environment, admin_user: User, second_administrator: User, login: Login
) -> None:
    prod.needs_approval = False
    change = configuration.save_environment(prod, by=by(admin_user), reason="Less friction", confirm="prod")
    assert change
    client = login(second_administrator)
    found = row(client)
    assert (found.change.pk, found.tells_all) == (change.pk, False)
    count = client.get(URL).context["pending"].rules
    assert client.get(count.url).context["cl"].result_count == count.number == 1
    assert login(admin_user).get(count.url).context["cl"].result_count == 0
    assert found.reject_url == reverse("admin:runs_changerequest_reject", args=[change.pk])
    mine = login(admin_user).get(URL)
    assert mine.context["pending"] is None
    assert [each.pk for each in mine.context["rules_waiting"]] == [change.pk]


def test_the_last_run_of_another_environment_is_not_compared_with(
    deployment: Deployment, prod_deployment: Deployment, requester: User, approver: User, login: Login
) -> None:
    many_runs(deployment, 1, ended_at=timezone.now(), parameters={"month": "1999-12"})
    ask(prod_deployment, requester, "2026-01")
    assert Run.objects.exists()
    assert "1999-12" not in login(approver).get(URL).content.decode()
