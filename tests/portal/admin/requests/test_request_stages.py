"""Several approvals in stages, comments, and the ways around them, each from the page of the request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.models import Deployment, Environment
from portal.ui import rule_labels
from runs import changes, requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import Approval, AuditEntry, BreakGlass, Comment, Policy, RunRequest, Verb, Window
from tests.cast import ANSWERS, by, person
from tests.portal.many_rows import many_runs

Login = Callable[[User], Client]
State = RunRequest.State
SECRET = "opensesame"


def address(run_request: RunRequest, door: str = "change/") -> str:
    return f"/admin/runs/runrequest/{run_request.pk}/{door}"


def text(client: Client, run_request: RunRequest) -> str:
    """The page, without runs of white space; a secret is on none."""
    answer = client.get(address(run_request))
    assert answer.status_code == 200
    page = " ".join(answer.content.decode().split())
    assert SECRET not in page
    return page


def press(client: Client, run_request: RunRequest, door: str, **data: str) -> str:
    answer = client.post(address(run_request, door), data, follow=True)
    assert answer.status_code == 200
    run_request.refresh_from_db()
    return answer.content.decode()


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
    """One whose requester may break the glass."""
    may(requester, prod, "break glass")
    return staged


# One glance


def test_it_says_risk_ticket_stages_and_who_is_missing(staged: RunRequest, requester: User, login: Login) -> None:
    page = text(login(requester), staged)
    for piece in (
        "High risk",
        'href="https://tickets.example/OPS-7" target="_blank" rel="noopener noreferrer">OPS-7</a>',
        "by Month end",
        "1. Approver",
        "0 of 1 approved. It waits for 1 more now.",
        "2. Release manager",
        "0 of 1 approved. 1 missing.",
        "secret, not compared",
    ):
        assert piece in page


def test_it_names_who_of_the_stage_s_group_could_answer(
    staged: RunRequest, requester: User, approver: User, manager: User, login: Login
) -> None:
    assert "It can be answered by: approver." in text(login(requester), staged)
    changes.approve(staged, by=by(approver))
    assert "It can be answered by: manager." in text(login(requester), staged)
    manager.groups.clear()
    assert "Nobody in the group Release manager may answer it" in text(login(requester), staged)


def test_the_last_successful_run_is_beside_the_values(
    staged: RunRequest, approver: User, prod_deployment: Deployment, login: Login
) -> None:
    parameters = {"month": "2026-01", "rows": 9}
    (last,) = many_runs(prod_deployment, 1, parameters=parameters, ended_at=timezone.now())
    page = text(login(approver), staged)
    assert f'<a href="/admin/runs/run/{last.pk}/change/">Last successful run</a>' in page
    row = page[page.index('<span class="portal-code">rows</span>') :].partition("</tr>")[0]
    assert "not the default" in row
    assert "unlike the last run" in row
    assert '<span class="portal-code">9</span>' in row
    month = page[page.index('<span class="portal-code">month</span>') :].partition("</tr>")[0]
    assert "unlike" not in month


def test_who_may_not_see_inputs_sees_the_request_without_them(
    staged: RunRequest, prod: Environment, stranger: User, login: Login
) -> None:
    may(stranger, prod, "see")
    page = text(login(stranger), staged)
    assert f"“{Verb.SEE_INPUTS.label}”" in page
    assert "2026-01" not in page


def test_who_is_to_answer_sees_inputs_without_that_verb(
    staged: RunRequest, prod: Environment, stranger: User, login: Login
) -> None:
    may(stranger, prod, "see", "approve")
    assert "2026-01" in text(login(stranger), staged)


def test_the_asker_sees_only_their_own_inputs(
    requester: User, prod_deployment: Deployment, staged: RunRequest, prod: Environment, login: Login
) -> None:
    many_runs(prod_deployment, 1, parameters={"month": "1999-09"}, ended_at=timezone.now())
    grants.grant(by=Actor.system(), person=requester, verbs=["see inputs"], effect="deny", environment=prod)
    page = text(login(requester), staged)
    assert "2026-01" in page
    assert "1999-09" not in page


# Stages


def test_the_stages_are_signed_in_their_order(staged: RunRequest, approver: User, manager: User, login: Login) -> None:
    first, second = login(approver), login(manager)
    assert "needs 1 more from the group Approver now. You may still reject it." in text(second, staged)
    assert "Approve …" not in text(second, staged)
    said = press(first, staged, "approve/", reason="Fine", displayed_digest=staged.digest)
    assert "Approved. It waits for 1 more of Release manager now." in said
    page = text(first, staged)
    assert "You approved it: somebody else must be the next." in page
    assert "1 of 1 approved: approver." in page
    assert "Approved as Approver" in page
    assert "Approve …" in text(second, staged)
    assert "it is on its way to Prefect" in press(second, staged, "approve/", displayed_digest=staged.digest)
    assert staged.state == State.APPROVED


def test_a_mind_is_changed_by_a_new_answer_that_is_recorded(staged: RunRequest, approver: User, login: Login) -> None:
    client = login(approver)
    press(client, staged, "approve/", displayed_digest=staged.digest)
    assert "Reject …" in text(client, staged)
    press(client, staged, "reject/", reason="I looked again")
    assert staged.state == State.REJECTED
    assert list(Approval.objects.values_list("approved", flat=True)) == [True, False]
    assert "I looked again" in text(client, staged)


def test_the_digest_on_the_page_is_the_one_that_is_signed(staged: RunRequest, approver: User, login: Login) -> None:
    client = login(approver)
    assert f'name="displayed_digest" value="{staged.digest}"' in text(client, staged)
    for looked_at in ({}, {"displayed_digest": ""}, {"displayed_digest": "0" * 64}):
        assert "is not what you were shown" in press(client, staged, "approve/", **looked_at)
    assert not Approval.objects.exists()


def test_whoever_is_acted_for_has_no_such_button(
    requester: User, approver: User, prod_deployment: Deployment, login: Login
) -> None:
    run_request = requests.submit(
        prod_deployment, {"month": "2026-01"}, by=by(requester), reason="Closing", on_behalf_of=approver
    )
    client = login(approver)
    page = text(client, run_request)
    assert "asked by requester for approver" in page
    assert "It is asked for on your behalf: somebody else must answer it." in page
    assert "cannot approve or reject your own" in press(
        client, run_request, "approve/", displayed_digest=run_request.digest
    )
    assert run_request.state == State.WAITING


def test_rules_that_became_stricter_are_said_before_it_is_signed(
    staged: RunRequest, approver: User, login: Login
) -> None:
    Policy.objects.update(stages=[{"needed": 3, "group": ""}])
    page = text(login(approver), staged)
    assert rule_labels.approvals_label([{"needed": 3, "group": ""}]) in page
    assert "It would be refused at launch." in page


def test_secrets_that_cannot_be_opened_close_the_door_with_a_sentence(
    staged: RunRequest, approver: User, login: Login
) -> None:
    RunRequest.objects.update(sealed_parameters=b"sealed with a key that was lost")
    client = login(approver)
    assert "Approve …" not in text(client, staged)
    assert "PORTAL_FIELD_KEYS" in press(client, staged, "approve/", displayed_digest=staged.digest)


# Comments


def test_a_comment_is_kept_and_everybody_reads_it_as_text(
    staged: RunRequest, requester: User, approver: User, login: Login
) -> None:
    press(login(approver), staged, "comment/", text="Which <b>month</b>?")
    assert "Which &lt;b&gt;month&lt;/b&gt;?" in text(login(requester), staged)
    assert "1 to 2000 characters" in press(login(requester), staged, "comment/", text="  ")
    assert Comment.objects.count() == 1


# Broken glass


GLASS = {"reason": "Payroll stands still", "minutes": "10", "confirmation": "monthly/monthly"}


def test_breaking_the_glass_takes_the_verb_the_name_and_a_reason(
    emergency: RunRequest, requester: User, approver: User, login: Login
) -> None:
    assert "Break glass …" not in text(login(approver), emergency)
    assert login(approver).post(address(emergency, "break-glass/"), GLASS).status_code == 403
    client = login(requester)
    assert "Break glass …" in text(client, emergency)
    for change, sentence in (
        ({"confirmation": "monthly"}, "Nothing was done. Type monthly/monthly to confirm the emergency override."),
        ({"reason": " "}, "Describe the emergency."),
        ({"minutes": "600"}, "An emergency override lasts 1 to 60 minutes."),
        ({"minutes": "many"}, "An emergency override lasts 1 to 60 minutes."),
    ):
        assert sentence in press(client, emergency, "break-glass/", **GLASS | change)
    assert emergency.state == State.WAITING
    assert "Approval bypassed." in press(client, emergency, "break-glass/", **GLASS)
    assert emergency.state == State.APPROVED
    page = text(client, emergency)
    assert "requester broke the glass:</strong> Payroll stands still" in page
    assert "Somebody who had no part in it has to review this." in page


def test_it_is_reviewed_once_by_somebody_else(
    emergency: RunRequest, requester: User, approver: User, login: Login
) -> None:
    changes.break_glass(emergency, by=by(requester), reason="Payroll")
    assert "had no part in it" in press(login(requester), emergency, "review/", was_right="yes", reason="Of course")
    client = login(approver)
    assert "requester broke the glass. Was it right?" in text(client, emergency)
    assert "Choose whether the emergency override was justified." in press(client, emergency, "review/", reason="Fine")
    press(client, emergency, "review/", was_right="no", reason="It could have waited")
    row = BreakGlass.objects.get()
    assert (row.reviewed_by, row.was_right, row.review) == (approver, False, "It could have waited")
    page = text(client, emergency)
    assert "approver found that it was not right: It could have waited" in page
    assert "Reviewed: it was not right" in page
    assert "already been reviewed" in press(client, emergency, "review/", was_right="yes", reason="Well")


def test_there_is_nothing_to_review_where_no_glass_was_broken(staged: RunRequest, approver: User, login: Login) -> None:
    assert "Review …" not in text(login(approver), staged)
    assert "has no emergency override" in press(login(approver), staged, "review/", was_right="yes", reason="x")


# In spite of a window


def test_what_waits_for_a_window_says_until_when_and_goes_anyway_by_its_verb(
    requester: User, deployment: Deployment, dev: Environment, login: Login
) -> None:
    Window.objects.create(environment=dev, name="Never now", effect="deny", cron="* * * * *", minutes=5)
    run_request = requests.submit(deployment, {"month": "2026-01"}, by=by(requester))
    client = login(requester)
    page = text(client, run_request)
    assert "No run may start during “Never now”." in page
    assert "Go anyway …" not in page
    assert client.post(address(run_request, "override/"), {"reason": "Fire"}).status_code == 403
    may(requester, dev, "override freeze")
    assert "Go anyway …" in text(client, run_request)
    assert "Give a reason for starting outside the change window." in press(client, run_request, "override/", reason="")
    assert "waits for no change window any more" in press(client, run_request, "override/", reason="Fire")
    assert run_request.overridden_by_name == "requester"
    page = text(client, run_request)
    assert "Go anyway …" not in page
    assert "Let go in spite of a window or freeze" in page


# Who finds what


@pytest.mark.parametrize("door", ["comment/", "break-glass/", "override/", "review/"])
def test_a_stranger_finds_no_door_and_a_look_is_no_act(
    door: str, stranger: User, requester: User, staged: RunRequest, login: Login
) -> None:
    assert login(stranger).post(address(staged, door), {"reason": "x"}).status_code == 404
    assert login(requester).get(address(staged, door)).status_code == 405


@pytest.mark.parametrize(("door", "verb"), [("break-glass/", "request.break_glass"), ("override/", "request.override")])
def test_who_may_only_see_is_refused_and_that_is_in_the_trail(
    door: str, verb: str, prod: Environment, stranger: User, staged: RunRequest, login: Login
) -> None:
    may(stranger, prod, "see")
    assert login(stranger).post(address(staged, door), {"reason": "x", "minutes": "5"}).status_code == 403
    assert AuditEntry.objects.get(verb=verb).outcome == "refused"


# Again


def test_the_button_that_asks_again_is_for_the_asker_and_those_who_may_rerun(
    requester: User, approver: User, prod: Environment, staged: RunRequest, login: Login
) -> None:
    form = f"/admin/flows/deployment/{staged.deployment_id}/run/?again={staged.pk}"
    assert f'href="{form}"' in text(login(requester), staged)
    assert "Run again …" not in text(login(approver), staged)
    may(approver, prod, "rerun")
    assert f'href="{form}"' in text(login(approver), staged)


def test_a_repeated_request_says_what_is_other_than_before(
    requester: User, approver: User, staged: RunRequest, login: Login
) -> None:
    anew = requests.rerun(staged, by=by(requester), changes={"rows": 8}, reason="Once more")
    page = text(login(approver), anew)
    assert f"as request {staged.pk}</a> of requester" in page
    assert f"unlike request {staged.pk}" in page


def test_a_request_that_expired_says_so(staged: RunRequest, approver: User, login: Login) -> None:
    RunRequest.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    page = text(login(approver), staged)
    assert "Approve …" not in page
    assert "Reject …" not in page
