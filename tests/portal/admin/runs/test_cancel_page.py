"""Cancelling a run from its page: who may, what is said, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import dispatch, mirror, requests
from runs.access.decisions import decide
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, Cancellation, Policy, Run, RunRequest, Verb
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.many_rows import many_runs

Login = Callable[[User], Client]
Runs = Callable[..., Run]


def address(run: Run, door: str = "change/") -> str:
    return f"/admin/runs/run/{run.pk}/{door}"


def text(client: Client, run: Run) -> str:
    return client.get(address(run)).content.decode()


def press(client: Client, run: Run, reason: str = "", **data: str) -> str:
    answer = client.post(address(run, "cancel/"), {"reason": reason, **data}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_button_asks_for_a_reason_and_works_without_javascript(requester: User, a_run: Runs, login: Login) -> None:
    run = a_run("RUNNING")
    page = text(login(requester), run)
    assert f'action="/admin/runs/run/{run.pk}/cancel/"' in page
    assert '<textarea class="portal-input" id="cancel-reason" name="reason"' in page


def test_from_wish_to_result(requester: User, a_run: Runs, fake: FakePrefect, login: Login) -> None:
    run, client = a_run("RUNNING"), login(requester)
    page = press(client, run, "Wrong month")
    assert "The cancel is on its way." in page
    assert "<strong>Queued:</strong> asked by requester" in page
    assert "Wrong month" in page
    assert "Cancel this run" not in page, "one wish is enough"

    dispatch.cancel_run(Cancellation.objects.get())
    page = text(client, run)
    assert "<strong>Cancelling:</strong> asked by requester" in page
    assert "Prefect has been asked to stop it" in page

    fake.confirm_cancel(run.prefect_id)
    mirror.refresh(run.environment, [run.prefect_id])
    page = text(client, run)
    assert "<strong>Cancelled:</strong> asked by requester" in page
    assert ">Cancelled<" in page


def test_a_run_that_was_faster_says_so(requester: User, a_run: Runs, fake: FakePrefect, login: Login) -> None:
    run, client = a_run("RUNNING"), login(requester)
    press(client, run, "Too late")
    fake.set_state(run.prefect_id, "COMPLETED")
    mirror.refresh(run.environment, [run.prefect_id])
    page = text(client, run)
    assert f"<strong>{Cancellation.State.OVERTAKEN.label}:</strong>" in page
    assert "It ended as Completed before the cancel reached it." in page


def test_a_server_that_is_down_says_that_it_is_tried_again(
    requester: User, a_run: Runs, fake: FakePrefect, login: Login
) -> None:
    run, client = a_run("RUNNING"), login(requester)
    press(client, run, "Stop")
    fake.go_down()
    dispatch.cancel_run(Cancellation.objects.get())
    assert "It will be sent again by itself." in text(client, run)


def test_a_second_wish_is_refused_with_the_name_of_the_first(requester: User, a_run: Runs, login: Login) -> None:
    run, client = a_run("RUNNING"), login(requester)
    press(client, run, "First")
    assert "requester has already requested this" in press(client, run, "Second")
    assert run.cancellations.count() == 1


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"])
def test_a_run_that_is_over_has_no_button_and_refuses(state: str, requester: User, a_run: Runs, login: Login) -> None:
    run, client = a_run(state), login(requester)
    assert "Cancel this run" not in text(client, run)
    assert "has already finished" in press(client, run, "Late")


def test_a_run_that_is_gone_has_no_button(requester: User, a_run: Runs, login: Login) -> None:
    run, client = a_run("RUNNING"), login(requester)
    Run.objects.update(deleted_upstream_at=timezone.now())
    assert "Cancel this run" not in text(client, run)
    assert "no longer exists in Prefect" in press(client, run, "Gone")


def test_an_environment_that_wants_a_reason_gets_one(
    requester: User, prod_deployment: Deployment, prod: Environment, login: Login
) -> None:
    (run,) = many_runs(prod_deployment, 1, state_type="RUNNING")
    client = login(requester)
    assert 'maxlength="1000" required' in text(client, run)
    assert "A reason is required for every cancel in prod." in press(client, run, "  ")
    assert "The cancel is on its way." in press(client, run, "Wrong month")


def test_a_policy_can_want_a_ticket_that_fits(requester: User, a_run: Runs, dev: Environment, login: Login) -> None:
    Policy.objects.create(environment=dev, name="Tickets", needs_ticket=True, ticket_pattern="^OPS-[0-9]+$")
    run, client = a_run("RUNNING"), login(requester)
    assert 'id="cancel-ticket" name="ticket" maxlength="100" required' in text(client, run)
    assert "A ticket is required for every cancel in dev." in press(client, run, "Wrong month")
    assert "is not a valid ticket" in press(client, run, "Wrong month", ticket="later")
    press(client, run, "Wrong month", ticket="OPS-7")
    assert run.cancellations.get().ticket == "OPS-7"


# Forcing


@pytest.fixture
def stuck(requester: User, a_run: Runs, dev: Environment) -> Run:
    """A run that was cancelled five minutes ago and has not stopped; its requester may force that."""
    grants.grant(by=Actor.system(), person=requester, verbs=["force cancel"], environment=dev)
    run = a_run("RUNNING")
    requests.cancel(run, by=by(requester), reason="Wrong month")
    Cancellation.objects.update(requested_at=timezone.now() - timedelta(minutes=5))
    return run


def force(client: Client, run: Run, reason: str = "Its machine is gone") -> Any:
    return client.post(address(run, "force-cancel/"), {"reason": reason}, follow=True)


def test_a_cancel_that_does_not_work_is_forced(requester: User, stuck: Run, fake: FakePrefect, login: Login) -> None:
    client = login(requester)
    assert "Force cancel …" in text(client, stuck)
    assert "Describe how you know" in force(client, stuck, " ").content.decode()
    assert "Prefect is told that it is over." in force(client, stuck).content.decode()
    dispatch.cancel_run(Cancellation.objects.get(is_forced=True))
    mirror.refresh(stuck.environment, [stuck.prefect_id])
    assert ">Cancelled<" in text(client, stuck)


def test_a_cancel_is_given_time_first(requester: User, stuck: Run, login: Login) -> None:
    Cancellation.objects.update(requested_at=timezone.now())
    client = login(requester)
    page = text(client, stuck)
    assert "the cancel can be forced in" in page
    assert "Force the cancel" not in page
    assert "wait 2 minutes for the cancellation" in force(client, stuck).content.decode()


def test_forcing_takes_its_own_verb(viewer: User, stuck: Run, dev: Environment, login: Login) -> None:
    grants.grant(by=Actor.system(), person=viewer, verbs=["cancel"], environment=dev)
    client = login(viewer)
    assert "Force" not in text(client, stuck)
    assert force(client, stuck).status_code == 403
    assert AuditEntry.objects.get(verb="run.force_cancel").outcome == "refused"


def test_the_run_page_asks_again_for_its_request_or_for_what_it_was_given(
    requester: User, viewer: User, a_run: Runs, deployment: Deployment, login: Login
) -> None:
    elsewhere = a_run("COMPLETED")
    form = f"/admin/flows/deployment/{deployment.pk}/run/"
    assert f'href="{form}?like={elsewhere.pk}"' in text(login(requester), elsewhere)
    assert "Run again …" not in text(login(viewer), elsewhere)
    run_request = requests.submit(deployment, {"month": "2026-01"}, by=by(requester))
    RunRequest.objects.update(run=elsewhere)
    assert f'href="{form}?again={run_request.pk}"' in text(login(requester), elsewhere)


def test_a_reason_that_is_too_long_is_refused_and_not_cut(requester: User, a_run: Runs, login: Login) -> None:
    run = a_run("RUNNING")
    assert "The reason is too long: 1001 characters, at most 1000." in press(login(requester), run, "x" * 1001)
    assert not run.cancellations.exists()


def test_a_hostile_reason_is_only_text(requester: User, a_run: Runs, login: Login) -> None:
    page = press(login(requester), a_run("RUNNING"), "<script>alert(1)</script>\x00")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_hostile_name_is_only_text_in_a_refusal(requester: User, a_run: Runs, login: Login) -> None:
    page = press(login(requester), a_run("COMPLETED", name="<img src=x onerror=alert(1)>"), "Late")
    assert "has already finished" in page
    assert "<img src=x" not in page


def test_a_viewer_sees_the_run_but_may_not_cancel_it(viewer: User, a_run: Runs, login: Login) -> None:
    run, client = a_run("RUNNING"), login(viewer)
    page = text(client, run)
    assert "Cancel this run" not in page
    sentence = decide(viewer, Verb.CANCEL, run.deployment).sentence
    assert sentence in page
    answer = client.post(address(run, "cancel/"), {"reason": "Let me"})
    assert answer.status_code == 403
    assert sentence in answer.content.decode()
    assert not run.cancellations.exists()
    assert AuditEntry.objects.get(verb="run.cancel").outcome == "refused"


def test_a_prohibition_closes_the_door_even_for_operators(
    requester: User, a_run: Runs, dev: Environment, login: Login
) -> None:
    run = a_run("RUNNING")
    grants.grant(by=Actor.system(), person=requester, verbs=["cancel"], effect="deny", environment=dev, reason="Audit")
    client = login(requester)
    assert decide(requester, Verb.CANCEL, run.deployment).sentence in text(client, run)
    assert client.post(address(run, "cancel/")).status_code == 403


def test_a_superuser_without_a_grant_may_not_cancel(admin_user: User, a_run: Runs, login: Login) -> None:
    assert login(admin_user).post(address(a_run("RUNNING"), "cancel/")).status_code == 403


def test_a_stranger_finds_no_such_run(stranger: User, a_run: Runs, login: Login) -> None:
    run = a_run("RUNNING")
    assert login(stranger).post(address(run, "cancel/"), {"reason": "Guess"}).status_code == 404
    assert not AuditEntry.objects.filter(verb="run.cancel").exists()


def test_a_form_of_another_site_does_nothing(requester: User, a_run: Runs) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(requester)
    assert client.post(address(a_run("RUNNING"), "cancel/")).status_code == 403
    assert not Cancellation.objects.exists()


@pytest.mark.parametrize(
    ("target", "leads_to"),
    [
        ("/admin/runs/runrequest/7/change/", "/admin/runs/runrequest/7/change/"),
        ("https://elsewhere.test/", None),
        ("//elsewhere.test/", None),
        ("javascript:alert(1)", None),
    ],
)
def test_afterwards_it_leads_back_but_never_away(
    target: str, leads_to: str | None, requester: User, a_run: Runs, login: Login
) -> None:
    run = a_run("RUNNING")
    answer = login(requester).post(address(run, "cancel/"), {"reason": "x", "next": target})
    assert answer["Location"] == (leads_to or address(run))
