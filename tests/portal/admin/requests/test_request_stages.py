"""Approvals in stages, comments and overrides, each on the page of the request."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import changes, requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import Approval, AuditEntry, BreakGlass, ChangeRequest, Comment, Policy, RunRequest, RunSpec, Window
from tests.cast import ANSWERS, by, person
from tests.portal.many_rows import many_runs
from tests.portal.page_elements import attributes, has_button, message_codes

Login = Callable[[User], Client]
State = RunRequest.State
SECRET = "opensesame"


def address(run_request: RunRequest, path: str = "change/") -> str:
    return f"/admin/runs/runrequest/{run_request.pk}/{path}"


def text(client: Client, run_request: RunRequest) -> str:
    """The page, without runs of white space; a secret is on none."""
    answer = client.get(address(run_request))
    assert answer.status_code == 200
    page = " ".join(answer.content.decode().split())
    assert SECRET not in page
    return page


def press(client: Client, run_request: RunRequest, path: str, **data: str) -> Any:
    answer = client.post(address(run_request, path), data, follow=True)
    assert answer.status_code == 200
    run_request.refresh_from_db()
    return answer


def refusal_of(client: Client, run_request: RunRequest, path: str, **data: str) -> str:
    """The code with which an act is refused."""
    (code,) = message_codes(press(client, run_request, path, **data))
    return code


def stages_of(page: str) -> list[tuple[str, str]]:
    """(approvals given, approvals missing) of each stage."""
    return list(zip(attributes(page, "data-given"), attributes(page, "data-missing"), strict=True))


def may(user: User, environment: Environment, *verbs: str) -> None:
    grants.grant(by=Actor.system(), person=user, verbs=list(verbs), environment=environment)


@pytest.fixture
def manager(prod: Environment) -> User:
    user = person("manager", "Release manager")
    may(user, prod, *ANSWERS)
    return user


@pytest.fixture
def staged(requester: User, prod: Environment, prod_deployment: Deployment) -> RunRequest:
    """Waits for one of Approver, then for one of Release manager."""
    stages = [{"needed": 1, "group": "Approver"}, {"needed": 1, "group": "Release manager"}]
    link = "https://tickets.example/{ticket}"
    Policy.objects.create(environment=prod, name="Month end", stages=stages, risk="high", ticket_link=link)
    values = {"month": "2026-01", "rows": 7, "token": SECRET}
    return requests.submit(prod_deployment, values, by=by(requester), reason="Closing", ticket="OPS-7")


@pytest.fixture
def emergency(requester: User, prod: Environment, staged: RunRequest) -> RunRequest:
    """One whose requester can use the emergency override."""
    may(requester, prod, "break glass")
    return staged


# Overview


def test_it_says_risk_ticket_stages_and_who_is_missing(staged: RunRequest, requester: User, login: Login) -> None:
    page = text(login(requester), staged)
    for piece in (
        "High risk",
        'href="https://tickets.example/OPS-7" target="_blank" rel="noopener noreferrer">OPS-7</a>',
        "by Month end",
        "1. Approver",
        "2. Release manager",
        "secret, not compared",
    ):
        assert piece in page
    assert stages_of(page) == [("0", "1"), ("0", "1")]
    assert re.search(r'aria-current="step"> <div class="portal-strong">1\. Approver<', page)


def test_it_names_the_members_of_the_stage_s_group(
    staged: RunRequest, requester: User, approver: User, manager: User, login: Login
) -> None:
    assert attributes(text(login(requester), staged), "data-approvers") == ["approver"]
    changes.approve(staged.change, by=by(approver))
    staged.refresh_from_db()
    assert attributes(text(login(requester), staged), "data-approvers") == ["manager"]
    manager.groups.clear()
    assert attributes(text(login(requester), staged), "data-approvers") == [""]


def test_the_last_successful_run_is_beside_the_values(
    staged: RunRequest, approver: User, prod_deployment: Deployment, login: Login
) -> None:
    parameters = {"month": "2026-01", "rows": 9}
    (last,) = many_runs(prod_deployment, 1, parameters=parameters, ended_at=timezone.now())
    page = text(login(approver), staged)
    assert f'<a href="/admin/runs/run/{last.pk}/change/">Last successful run</a>' in page
    row = page[page.index('<span class="portal-code">rows</span>') :].partition("</tr>")[0]
    assert row.count("data-differs") == 2, "from the default and from the last run"
    assert '<span class="portal-code">9</span>' in row
    month = page[page.index('<span class="portal-code">month</span>') :].partition("</tr>")[0]
    assert "data-differs" not in month


def test_without_view_parameters_the_request_is_shown_without_them(
    staged: RunRequest, prod: Environment, stranger: User, login: Login
) -> None:
    may(stranger, prod, "see")
    page = text(login(stranger), staged)
    assert attributes(page, "data-needs") == ["see inputs"]
    assert "2026-01" not in page


def test_approvers_see_parameters_without_that_permission(
    staged: RunRequest, prod: Environment, stranger: User, login: Login
) -> None:
    may(stranger, prod, "see", "approve")
    assert "2026-01" in text(login(stranger), staged)


def test_the_requester_sees_only_their_own_parameters(
    requester: User, prod_deployment: Deployment, staged: RunRequest, prod: Environment, login: Login
) -> None:
    many_runs(prod_deployment, 1, parameters={"month": "1999-09"}, ended_at=timezone.now())
    grants.grant(by=Actor.system(), person=requester, verbs=["see inputs"], effect="deny", environment=prod)
    page = text(login(requester), staged)
    assert "2026-01" in page
    assert "1999-09" not in page


# Stages


def test_the_stages_are_approved_in_their_order(
    staged: RunRequest, approver: User, manager: User, login: Login
) -> None:
    first, second = login(approver), login(manager)
    page = text(second, staged)
    assert attributes(page, "data-why") == ["approval.group"]
    assert (has_button(page, "approve"), has_button(page, "reject")) == (False, True)
    answer = press(first, staged, "approve/", reason="Fine", displayed_digest=staged.change.digest)
    assert message_codes(answer) == ["success"]
    assert staged.state == State.HELD
    page = text(first, staged)
    assert attributes(page, "data-why") == ["approval.twice"]
    assert stages_of(page) == [("1", "0"), ("0", "1")]
    assert re.search(r'aria-current="step"> <div class="portal-strong">2\. Release manager<', page)
    assert "approved" in attributes(page, "data-moment")
    assert has_button(text(second, staged), "approve")
    press(second, staged, "approve/", displayed_digest=staged.change.digest)
    assert staged.state == State.APPROVED


def test_an_approver_can_reject_later_and_both_are_recorded(staged: RunRequest, approver: User, login: Login) -> None:
    client = login(approver)
    press(client, staged, "approve/", displayed_digest=staged.change.digest)
    assert has_button(text(client, staged), "reject")
    press(client, staged, "reject/", reason="I looked again")
    assert staged.state == State.REJECTED
    assert list(Approval.objects.values_list("approved", flat=True)) == [True, False]
    assert "I looked again" in text(client, staged)


def test_the_displayed_digest_is_the_one_that_is_approved(staged: RunRequest, approver: User, login: Login) -> None:
    client = login(approver)
    assert f'name="displayed_digest" value="{staged.change.digest}"' in text(client, staged)
    for displayed in ({}, {"displayed_digest": ""}, {"displayed_digest": "0" * 64}):
        assert refusal_of(client, staged, "approve/", **displayed) == "approval.stale"
    assert not Approval.objects.exists()


def test_people_who_are_acted_for_cannot_approve(
    requester: User, approver: User, prod_deployment: Deployment, login: Login
) -> None:
    run_request = requests.submit(
        prod_deployment, {"month": "2026-01"}, by=by(requester), reason="Closing", on_behalf_of=approver
    )
    client = login(approver)
    page = text(client, run_request)
    assert "requester on behalf of approver" in page
    assert attributes(page, "data-why") == ["approval.own"]
    assert not has_button(page, "approve")
    # Naming someone must not silence them.
    assert has_button(page, "reject")
    assert refusal_of(client, run_request, "approve/", displayed_digest=run_request.change.digest) == "approval.own"
    assert run_request.state == State.HELD


def test_stricter_requirements_are_shown_before_it_is_approved(
    staged: RunRequest, approver: User, login: Login
) -> None:
    Policy.objects.update(stages=[{"needed": 3, "group": ""}])
    page = text(login(approver), staged)
    (warning,) = re.findall(r'data-key="warning-approval.requirements_changed".*?</p>', page)
    assert "3 approvals" in warning
    assert "2 approvals" in warning


def test_with_unreadable_secrets_it_cannot_be_approved(staged: RunRequest, approver: User, login: Login) -> None:
    RunSpec.objects.update(sealed_parameters=b"sealed with a key that was lost")
    client = login(approver)
    assert not has_button(text(client, staged), "approve")
    assert refusal_of(client, staged, "approve/", displayed_digest=staged.change.digest) == "key.unreadable"


# Comments


def test_a_comment_is_shown_to_everyone_as_text(
    staged: RunRequest, requester: User, approver: User, login: Login
) -> None:
    press(login(approver), staged, "comment/", text="Which <b>month</b>?")
    assert "Which &lt;b&gt;month&lt;/b&gt;?" in text(login(requester), staged)
    assert refusal_of(login(requester), staged, "comment/", text="  ") == "comment.length"
    assert Comment.objects.count() == 1


# Emergency override


EMERGENCY = {"reason": "Payroll stands still", "minutes": "10", "confirmation": "monthly/monthly"}


def test_an_emergency_override_requires_the_permission_the_name_and_a_reason(
    emergency: RunRequest, requester: User, approver: User, login: Login
) -> None:
    assert not has_button(text(login(approver), emergency), "break-glass")
    assert login(approver).post(address(emergency, "break-glass/"), EMERGENCY).status_code == 403
    client = login(requester)
    assert has_button(text(client, emergency), "break-glass")
    for change, code in (
        ({"confirmation": "month"}, "confirmation.mismatch"),
        ({"reason": " "}, "override.reason_required"),
        ({"minutes": "600"}, "override.minutes"),
        ({"minutes": "many"}, "override.minutes"),
    ):
        assert refusal_of(client, emergency, "break-glass/", **EMERGENCY | change) == code
    assert emergency.state == State.HELD
    assert message_codes(press(client, emergency, "break-glass/", **EMERGENCY)) == ["success"]
    assert emergency.state == State.APPROVED
    page = text(client, emergency)
    banner = page[page.index('data-key="emergency"') :].partition("</strong>")
    assert "requester" in banner[0]
    assert banner[2].startswith(" Payroll stands still")
    assert attributes(page, "data-why") == ["review.own"]
    assert page.count("Payroll stands still") >= 2


def test_it_is_reviewed_once_by_someone_else(
    emergency: RunRequest, requester: User, approver: User, login: Login
) -> None:
    changes.break_glass(emergency.change, by=by(requester), reason="Payroll")
    emergency.refresh_from_db()
    assert refusal_of(login(requester), emergency, "review/", was_right="yes", reason="Of course") == "review.own"
    client = login(approver)
    assert has_button(text(client, emergency), "review")
    assert refusal_of(client, emergency, "review/", reason="Fine") == "review.verdict_required"
    press(client, emergency, "review/", was_right="no", reason="It could have waited")
    row = BreakGlass.objects.get()
    assert (row.reviewed_by, row.was_right, row.review) == (approver, False, "It could have waited")
    page = text(client, emergency)
    banner = page[page.index('data-key="emergency"') :].partition("It could have waited")[0]
    assert "approver" in banner
    assert "review" in attributes(page, "data-moment")
    assert not has_button(page, "review")
    assert refusal_of(client, emergency, "review/", was_right="yes", reason="Well") == "review.twice"


def test_there_is_nothing_to_review_without_an_override(staged: RunRequest, approver: User, login: Login) -> None:
    assert not has_button(text(login(approver), staged), "review")
    assert refusal_of(login(approver), staged, "review/", was_right="yes", reason="x") == "override.none"


# Overriding a window


def test_what_waits_for_a_window_names_it_and_starts_with_an_override(
    requester: User, deployment: Deployment, dev: Environment, login: Login
) -> None:
    Window.objects.create(environment=dev, name="Never now", effect="deny", cron="* * * * *", minutes=5)
    run_request = requests.submit(deployment, {"month": "2026-01"}, by=by(requester))
    client = login(requester)
    page = text(client, run_request)
    assert "Never now" in page
    assert not has_button(page, "override")
    assert client.post(address(run_request, "override/"), {"reason": "Fire"}).status_code == 403
    may(requester, dev, "override freeze")
    assert has_button(text(client, run_request), "override")
    assert refusal_of(client, run_request, "override/", reason="") == "window.reason_required"
    assert message_codes(press(client, run_request, "override/", reason="Fire")) == ["success"]
    assert run_request.overridden_by_name == "requester"
    page = text(client, run_request)
    assert not has_button(page, "override")
    assert "override" in attributes(page, "data-moment")


# Who can see it


@pytest.mark.parametrize("path", ["comment/", "break-glass/", "override/", "review/"])
def test_a_stranger_finds_nothing_and_get_is_not_allowed(
    path: str, stranger: User, requester: User, staged: RunRequest, login: Login
) -> None:
    assert login(stranger).post(address(staged, path), {"reason": "x"}).status_code == 404
    assert login(requester).get(address(staged, path)).status_code == 405


@pytest.mark.parametrize(("path", "verb"), [("break-glass/", "request.break_glass"), ("override/", "request.override")])
def test_viewers_are_refused_and_that_is_recorded(
    path: str, verb: str, prod: Environment, stranger: User, staged: RunRequest, login: Login
) -> None:
    may(stranger, prod, "see")
    assert login(stranger).post(address(staged, path), {"reason": "x", "minutes": "5"}).status_code == 403
    assert AuditEntry.objects.get(verb=verb).outcome == "refused"


# Re-running


def test_the_rerun_button_is_for_the_requester_and_those_who_can_rerun(
    requester: User, approver: User, prod: Environment, staged: RunRequest, login: Login
) -> None:
    form = f"/admin/flows/deployment/{staged.deployment_id}/run/?again={staged.pk}"
    assert f'href="{form}"' in text(login(requester), staged)
    assert form not in text(login(approver), staged)
    may(approver, prod, "rerun")
    assert f'href="{form}"' in text(login(approver), staged)


def test_a_rerun_shows_what_differs_from_before(
    requester: User, approver: User, staged: RunRequest, login: Login
) -> None:
    repeated = requests.rerun(staged, by=by(requester), changes={"rows": 8}, reason="Once more")
    page = text(login(approver), repeated)
    assert f'href="/admin/runs/runrequest/{staged.pk}/change/"' in page
    row = page[page.index('<span class="portal-code">rows</span>') :].partition("</tr>")[0]
    assert re.search(rf'data-label="Request {staged.pk}" data-differs><span class="portal-code">7<', row)


def test_a_request_that_expired_says_so(staged: RunRequest, approver: User, login: Login) -> None:
    ChangeRequest.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    page = text(login(approver), staged)
    assert not has_button(page, "approve")
    assert not has_button(page, "reject")
