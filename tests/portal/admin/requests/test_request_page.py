"""The page of a request: what was requested, its result, and who can withdraw it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.models import Deployment
from runs import dispatch, mirror, requests
from runs.models import Approval, AuditEntry, RunRequest, RunSpec
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes, has_button, message_codes
from tests.portal.query_counts import count, must_be_agreed

Login = Callable[[User], Client]
EVIL = "<script>alert('x')</script>"


def address(run_request: RunRequest, path: str = "change/") -> str:
    return f"/admin/runs/runrequest/{run_request.pk}/{path}"


def text(client: Client, run_request: RunRequest) -> str:
    answer = client.get(address(run_request))
    assert answer.status_code == 200
    return answer.content.decode()


def launch(run_request: RunRequest) -> None:
    dispatch.launch(RunRequest.objects.get(pk=run_request.pk))
    run_request.refresh_from_db()
    if run_request.flow_run_id:
        mirror.refresh(run_request.environment, [run_request.flow_run_id])
        run_request.refresh_from_db()


@pytest.fixture
def queued(requester: User, deployment: Deployment) -> RunRequest:
    """Queued in dev, which requires no approval."""
    return requests.submit(
        deployment,
        {"month": "2026-01", "token": "hush-hush"},
        by=by(requester),
        reason="Month end",
        tags=["nightly"],
        run_name="month-end",
    )


@pytest.fixture
def waiting(requester: User, prod_deployment: Deployment) -> RunRequest:
    """Waiting for an approval in prod."""
    return requests.submit(prod_deployment, {"month": "2026-01"}, by=by(requester), reason="Month end")


def test_it_shows_everything_that_was_frozen(viewer: User, queued: RunRequest, login: Login) -> None:
    page = text(login(viewer), queued)
    for piece in (
        "monthly/monthly",
        "Month end",
        "nightly",
        "month-end",
        "requester",
        "2026-01",
        queued.change.digest,
        ">Queued<",
    ):
        assert piece in page


def test_secrets_are_masked(viewer: User, queued: RunRequest, login: Login) -> None:
    page = text(login(viewer), queued)
    assert "hush-hush" not in page
    assert "••••••" in page


def test_secrets_that_cannot_be_opened_are_no_error(viewer: User, queued: RunRequest, login: Login) -> None:
    RunSpec.objects.update(sealed_parameters=b"sealed with a key that was lost")
    page = text(login(viewer), queued)
    assert "PORTAL_FIELD_KEYS" in page


def test_an_approval_written_past_the_portal_does_not_look_like_one(
    viewer: User, approver: User, queued: RunRequest, login: Login
) -> None:
    Approval.objects.create(
        change=queued.change, approved=True, by=approver, by_name="approver", digest=queued.change.digest
    )
    moments = attributes(text(login(viewer), queued), "data-moment")
    assert "unsigned" in moments
    assert "approved" not in moments


def test_what_differs_from_the_usual_is_marked(
    viewer: User, requester: User, deployment: Deployment, login: Login
) -> None:
    unusual = requests.submit(deployment, {"month": "2026-10", "rows": 7}, by=by(requester))
    page = " ".join(text(login(viewer), unusual).split())
    assert '<tr class="is-different"> <td><span class="portal-code">rows</span>' in page
    assert '<tr> <td><span class="portal-code">month</span>' in page, "without a default nothing is usual"


def test_it_follows_its_run(viewer: User, queued: RunRequest, fake: FakePrefect, login: Login) -> None:
    client = login(viewer)
    launch(queued)
    page = text(client, queued)
    # The state of its run, and no second word for the same.
    assert ">Scheduled<" in page
    assert ">Launched<" not in page
    assert "sent" in attributes(page, "data-moment")
    assert f'href="/admin/runs/run/{queued.run_id}/change/">month-end</a>' in page
    assert queued.flow_run_id
    fake.set_state(queued.flow_run_id, "RUNNING")
    fake.set_state(queued.flow_run_id, "FAILED", message="Flow run encountered an exception: ValueError: no such month")
    mirror.refresh(queued.environment, [queued.flow_run_id])
    page = text(client, queued)
    assert "ValueError: no such month" in page
    assert "finished" in attributes(page, "data-moment")


def test_a_server_that_is_down_says_why_it_waits(
    viewer: User, queued: RunRequest, fake: FakePrefect, login: Login
) -> None:
    fake.go_down()
    launch(queued)
    page = text(login(viewer), queued)
    assert queued.message in page
    assert (queued.state, queued.attempts) == (RunRequest.State.APPROVED, 1)
    assert "1 attempt" in page


def test_a_request_that_was_refused_at_launch_says_why(
    viewer: User, queued: RunRequest, deployment: Deployment, login: Login
) -> None:
    Deployment.objects.update(schema_fingerprint="0" * 64)
    launch(queued)
    page = text(login(viewer), queued)
    assert queued.state == RunRequest.State.REFUSED
    assert queued.state_label in page
    assert queued.message in page


def test_a_scheduled_request_says_when(requester: User, deployment: Deployment, login: Login) -> None:
    later = timezone.now() + timedelta(days=2)
    run_request = requests.submit(deployment, {"month": "2026-01"}, by=by(requester), scheduled_for=later)
    page = text(login(requester), run_request)
    assert f"{timezone.localtime(later):%d %b %Y, %H:%M:%S}" in page


def test_every_text_of_people_and_prefect_is_escaped(
    requester: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    run_request = requests.submit(
        deployment, {"month": "2026-01"}, by=by(requester), reason=EVIL, tags=[EVIL], run_name=EVIL
    )
    launch(run_request)
    assert run_request.flow_run_id
    fake.set_state(run_request.flow_run_id, "FAILED", EVIL, EVIL)
    mirror.refresh(run_request.environment, [run_request.flow_run_id])
    page = text(login(requester), run_request)
    assert EVIL not in page
    assert "&lt;script&gt;" in page


# Withdrawing


def test_the_requester_withdraws_what_was_not_sent(requester: User, waiting: RunRequest, login: Login) -> None:
    client = login(requester)
    assert has_button(text(client, waiting), "withdraw")
    answer = client.post(address(waiting, "withdraw/"), {"reason": "Not needed"}, follow=True)
    assert message_codes(answer) == ["success"]
    waiting.refresh_from_db()
    assert waiting.state == RunRequest.State.WITHDRAWN
    assert not has_button(answer.content.decode(), "withdraw")


def test_what_was_sent_is_cancelled_not_withdrawn(requester: User, queued: RunRequest, login: Login) -> None:
    launch(queued)
    client = login(requester)
    page = text(client, queued)
    assert not has_button(page, "withdraw")
    assert f'action="/admin/runs/run/{queued.run_id}/cancel/"' in page
    assert f'name="next" value="{address(queued)}"' in page
    assert message_codes(client.post(address(queued, "withdraw/"), follow=True)) == ["state.illegal"]


def test_a_viewer_sees_it_but_cannot_withdraw_it(viewer: User, queued: RunRequest, login: Login) -> None:
    client = login(viewer)
    assert not has_button(text(client, queued), "withdraw")
    assert client.post(address(queued, "withdraw/")).status_code == 403
    queued.refresh_from_db()
    assert queued.state == RunRequest.State.APPROVED
    assert AuditEntry.objects.get(verb="request.withdraw").outcome == "refused"


# Who may see it


@pytest.mark.parametrize("path", ["change/", "status.json", "history/"])
def test_a_stranger_finds_nothing(path: str, stranger: User, queued: RunRequest, login: Login) -> None:
    client = login(stranger)
    answer = client.get(address(queued, path))
    assert answer.status_code == client.get(f"/admin/runs/runrequest/999999/{path}").status_code == 404
    assert b"Month end" not in answer.content


def test_who_may_see_dev_finds_nothing_of_prod(viewer: User, waiting: RunRequest, login: Login) -> None:
    assert login(viewer).get(address(waiting)).status_code == 404


@pytest.mark.parametrize("path", ["approve/", "reject/", "withdraw/"])
def test_a_stranger_cannot_act_on_it(path: str, stranger: User, queued: RunRequest, login: Login) -> None:
    assert login(stranger).post(address(queued, path)).status_code == 404


@pytest.mark.parametrize("path", ["approve/", "reject/", "withdraw/"])
def test_get_is_not_allowed_for_actions(path: str, requester: User, queued: RunRequest, login: Login) -> None:
    assert login(requester).get(address(queued, path)).status_code == 405


def test_nobody_edits_a_request(admin_user: User, queued: RunRequest, login: Login) -> None:
    client = login(admin_user)
    assert client.post(address(queued), {"reason": "other"}).status_code == 405
    assert client.post(address(queued, "delete/"), {"post": "yes"}).status_code == 403
    assert client.get("/admin/runs/runrequest/add/").status_code == 403


# For scripts and pages that poll


def test_its_status_is_served_as_json(viewer: User, queued: RunRequest, login: Login) -> None:
    client = login(viewer)
    before = client.get(address(queued, "status.json")).json()
    assert before["state"] == "approved"
    assert before["label"] == "Queued"
    assert before["is_over"] is False
    assert before["run"] is None
    launch(queued)
    after = client.get(address(queued, "status.json")).json()
    assert after["state"] == "launched"
    assert after["run"]["url"] == f"/admin/runs/run/{queued.run_id}/change/"
    assert after["run"]["state"] == "SCHEDULED"


def test_the_cost_is_agreed(viewer: User, queued: RunRequest, login: Login) -> None:
    launch(queued)
    found = count(login(viewer), address(queued))
    assert found <= 20
    must_be_agreed("request page", found)
