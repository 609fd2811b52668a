"""Cancelling a run on its page: who can, what is shown, and its result."""

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
from runs import dispatch, mirror, requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import Action, AuditEntry, Policy, Run, RunRequest
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.many_rows import many_runs
from tests.portal.page_elements import attributes, has_button, message_codes

Login = Callable[[User], Client]
Runs = Callable[..., Run]


def address(run: Run, path: str = "change/") -> str:
    return f"/admin/runs/run/{run.pk}/{path}"


def text(client: Client, run: Run) -> str:
    return client.get(address(run)).content.decode()


def press(client: Client, run: Run, reason: str = "", **data: str) -> Any:
    answer = client.post(address(run, "cancel/"), {"reason": reason, **data}, follow=True)
    assert answer.status_code == 200
    return answer


def refusal_of(client: Client, run: Run, reason: str, **data: str) -> str:
    """The code with which a cancel is refused."""
    (code,) = message_codes(press(client, run, reason, **data))
    return code


def banners(page: str) -> list[tuple[str, str]]:
    """(state, text) of each cancellation on the page."""
    found = re.findall(r'data-key="cancellation-\d+" data-state="(\w+)".*?<div>(.*?)</div>', page, re.DOTALL)
    return [(state, " ".join(text.split())) for state, text in found]


def test_the_form_has_a_reason_and_works_without_javascript(requester: User, a_run: Runs, login: Login) -> None:
    run = a_run("RUNNING")
    page = text(login(requester), run)
    assert f'action="/admin/runs/run/{run.pk}/cancel/"' in page
    assert '<textarea class="portal-input" id="cancel-reason" name="reason"' in page


def test_from_request_to_result(requester: User, a_run: Runs, fake: FakePrefect, login: Login) -> None:
    run, client = a_run("RUNNING"), login(requester)
    answer = press(client, run, "Wrong month")
    page = answer.content.decode()
    assert message_codes(answer) == ["success"]
    ((state, banner),) = banners(page)
    assert state == "wanted"
    assert "requester" in banner
    assert "Wrong month" in banner
    assert not has_button(page, "cancel"), "one cancellation is enough"

    dispatch.carry_out(Action.objects.get())
    assert [state for state, _ in banners(text(client, run))] == ["sent"]

    fake.confirm_cancel(run.prefect_id)
    mirror.refresh(run.environment, [run.prefect_id])
    page = text(client, run)
    assert [state for state, _ in banners(page)] == ["done"]
    assert ">Cancelled<" in page


def test_a_run_that_was_faster_says_so(requester: User, a_run: Runs, fake: FakePrefect, login: Login) -> None:
    run, client = a_run("RUNNING"), login(requester)
    press(client, run, "Too late")
    fake.set_state(run.prefect_id, "COMPLETED")
    mirror.refresh(run.environment, [run.prefect_id])
    ((state, banner),) = banners(text(client, run))
    assert state == "overtaken"
    assert "Completed" in banner


def test_while_a_server_is_down_the_page_says_that_it_is_tried_again(
    requester: User, a_run: Runs, fake: FakePrefect, login: Login
) -> None:
    run, client = a_run("RUNNING"), login(requester)
    press(client, run, "Stop")
    fake.go_down()
    dispatch.carry_out(Action.objects.get())
    cancellation = Action.objects.get()
    assert (cancellation.state, cancellation.attempts) == ("wanted", 1)
    assert cancellation.next_attempt_at is not None
    assert cancellation.message in banners(text(client, run))[0][1]


def test_a_second_cancellation_is_refused_with_the_name_of_the_first(
    requester: User, a_run: Runs, login: Login
) -> None:
    run, client = a_run("RUNNING"), login(requester)
    press(client, run, "First")
    answer = press(client, run, "Second")
    assert message_codes(answer) == ["cancellation.pending"]
    assert "requester" in str(*answer.context["messages"])
    assert run.actions.count() == 1


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"])
def test_a_run_that_is_over_has_no_button_and_refuses(state: str, requester: User, a_run: Runs, login: Login) -> None:
    run, client = a_run(state), login(requester)
    assert not has_button(text(client, run), "cancel")
    assert refusal_of(client, run, "Late") == "run.finished"


def test_a_run_that_is_gone_has_no_button(requester: User, a_run: Runs, login: Login) -> None:
    run, client = a_run("RUNNING"), login(requester)
    Run.objects.update(deleted_upstream_at=timezone.now())
    assert not has_button(text(client, run), "cancel")
    assert refusal_of(client, run, "Deleted") == "run.gone"


def test_for_a_deleted_run_no_missing_permission_is_explained(viewer: User, a_run: Runs, login: Login) -> None:
    run, client = a_run("RUNNING"), login(viewer)
    assert has_button(text(client, run), "no-cancel")
    Run.objects.update(deleted_upstream_at=timezone.now())
    assert not has_button(text(client, run), "no-cancel")


def test_an_environment_can_require_a_reason(
    requester: User, prod_deployment: Deployment, prod: Environment, login: Login
) -> None:
    (run,) = many_runs(prod_deployment, 1, state_type="RUNNING")
    client = login(requester)
    assert 'maxlength="1000" required' in text(client, run)
    assert refusal_of(client, run, "  ") == "reason.required"
    assert message_codes(press(client, run, "Wrong month")) == ["success"]


def test_a_policy_can_require_a_matching_ticket(requester: User, a_run: Runs, dev: Environment, login: Login) -> None:
    Policy.objects.create(environment=dev, name="Tickets", needs_ticket=True, ticket_pattern="^OPS-[0-9]+$")
    run, client = a_run("RUNNING"), login(requester)
    assert 'id="cancel-ticket" name="ticket" maxlength="100" required' in text(client, run)
    assert refusal_of(client, run, "Wrong month") == "ticket.required"
    assert refusal_of(client, run, "Wrong month", ticket="later") == "ticket.pattern"
    press(client, run, "Wrong month", ticket="OPS-7")
    assert run.actions.get().ticket == "OPS-7"


# Forcing


@pytest.fixture
def stuck(requester: User, a_run: Runs, dev: Environment) -> Run:
    """A run that was cancelled five minutes ago and has not stopped; its requester may force that."""
    grants.grant(by=Actor.system(), person=requester, verbs=["force cancel"], environment=dev)
    run = a_run("RUNNING")
    requests.cancel(run, by=by(requester), reason="Wrong month")
    Action.objects.update(requested_at=timezone.now() - timedelta(minutes=5))
    return run


def force(client: Client, run: Run, reason: str = "Its machine is gone") -> Any:
    return client.post(address(run, "force-cancel/"), {"reason": reason}, follow=True)


def test_a_cancel_that_does_not_work_is_forced(requester: User, stuck: Run, fake: FakePrefect, login: Login) -> None:
    client = login(requester)
    assert f'action="{address(stuck, "force-cancel/")}"' in text(client, stuck)
    assert message_codes(force(client, stuck, " ")) == ["force.reason_required"]
    assert message_codes(force(client, stuck)) == ["success"]
    dispatch.carry_out(Action.objects.get(kind="force"))
    mirror.refresh(stuck.environment, [stuck.prefect_id])
    assert ">Cancelled<" in text(client, stuck)


def test_a_cancel_is_given_time_first(requester: User, stuck: Run, login: Login) -> None:
    Action.objects.update(requested_at=timezone.now())
    client = login(requester)
    page = text(client, stuck)
    assert has_button(page, "force")
    assert f'action="{address(stuck, "force-cancel/")}"' not in page
    assert message_codes(force(client, stuck)) == ["force.too_early"]


def test_forcing_requires_its_own_permission(viewer: User, stuck: Run, dev: Environment, login: Login) -> None:
    grants.grant(by=Actor.system(), person=viewer, verbs=["cancel"], environment=dev)
    client = login(viewer)
    assert not has_button(text(client, stuck), "force")
    assert force(client, stuck).status_code == 403
    assert AuditEntry.objects.get(verb="run.force_cancel").outcome == "refused"


def test_the_run_page_reruns_its_request_or_copies_its_parameters(
    requester: User, viewer: User, a_run: Runs, deployment: Deployment, login: Login
) -> None:
    elsewhere = a_run("COMPLETED")
    form = f"/admin/flows/deployment/{deployment.pk}/run/"
    assert f'href="{form}?like={elsewhere.pk}"' in text(login(requester), elsewhere)
    assert f'href="{form}' not in text(login(viewer), elsewhere)
    run_request = requests.submit(deployment, {"month": "2026-01"}, by=by(requester))
    RunRequest.objects.update(run=elsewhere)
    assert f'href="{form}?again={run_request.pk}"' in text(login(requester), elsewhere)


def test_a_reason_that_is_too_long_is_refused_and_not_cut(requester: User, a_run: Runs, login: Login) -> None:
    run = a_run("RUNNING")
    assert refusal_of(login(requester), run, "x" * 1001) == "reason.too_long"
    assert not run.actions.exists()


def test_a_hostile_reason_is_only_text(requester: User, a_run: Runs, login: Login) -> None:
    page = press(login(requester), a_run("RUNNING"), "<script>alert(1)</script>\x00").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_hostile_name_is_only_text_in_a_refusal(requester: User, a_run: Runs, login: Login) -> None:
    answer = press(login(requester), a_run("COMPLETED", name="<img src=x onerror=alert(1)>"), "Late")
    assert message_codes(answer) == ["run.finished"]
    assert "<img src=x" in str(*answer.context["messages"]), "the refusal names the run"
    assert "<img src=x" not in answer.content.decode()


def test_a_viewer_sees_the_run_but_cannot_cancel_it(viewer: User, a_run: Runs, login: Login) -> None:
    run, client = a_run("RUNNING"), login(viewer)
    page = text(client, run)
    assert not has_button(page, "cancel")
    assert attributes(page, "data-why") == ["access.no_grant"]
    answer = client.post(address(run, "cancel/"), {"reason": "Let me"})
    assert answer.status_code == 403
    assert "monthly in dev" in answer.content.decode(), "the reason names what it is about"
    assert not run.actions.exists()
    assert AuditEntry.objects.get(verb="run.cancel").outcome == "refused"


def test_a_deny_wins_even_for_operators(requester: User, a_run: Runs, dev: Environment, login: Login) -> None:
    run = a_run("RUNNING")
    grants.grant(by=Actor.system(), person=requester, verbs=["cancel"], effect="deny", environment=dev, reason="Audit")
    client = login(requester)
    assert attributes(text(client, run), "data-why") == ["access.denied"]
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
    assert not Action.objects.exists()


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


# What happens next


def ladder(page: str) -> dict[str, str]:
    """step -> its status."""
    return dict(zip(attributes(page, "data-step"), attributes(page, "data-status"), strict=True))


def test_an_open_cancellation_says_what_happens_next(requester: User, a_run: Runs, login: Login) -> None:
    run, client = a_run("RUNNING"), login(requester)
    assert ladder(text(client, run)) == {}
    press(client, run, "Wrong month")
    assert ladder(text(client, run))["sent"] == "now"
    dispatch.carry_out(Action.objects.get())
    page = text(client, run)
    assert ladder(page) == {"requested": "done", "sent": "done", "stop": "now", "force": "later", "timeout": "later"}
    assert "force cancel" in page


def test_a_cancellation_that_timed_out_is_an_alarm(
    requester: User, a_run: Runs, fake: FakePrefect, login: Login
) -> None:
    run, client = a_run("RUNNING"), login(requester)
    press(client, run, "Wrong month")
    dispatch.carry_out(Action.objects.get())
    fake.set_state(run.prefect_id, "CANCELLED", message="Flow run cancellation timed out; marked as Cancelled.")
    mirror.refresh(run.environment, [run.prefect_id])
    page = text(client, run)
    assert "cancel-timeout" in attributes(page, "data-key")
    assert ladder(page) == {}
    trail = AuditEntry.objects.filter(verb="run.cancel_unconfirmed").get()
    assert trail.subject_id == str(run.pk)


def test_one_that_was_confirmed_is_none(requester: User, a_run: Runs, fake: FakePrefect, login: Login) -> None:
    run, client = a_run("RUNNING"), login(requester)
    press(client, run, "Wrong month")
    dispatch.carry_out(Action.objects.get())
    fake.confirm_cancel(run.prefect_id)
    mirror.refresh(run.environment, [run.prefect_id])
    assert "cancel-timeout" not in attributes(text(client, run), "data-key")
