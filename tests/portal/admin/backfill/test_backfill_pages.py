"""The pages of backfills: ranges, plan, submit, and the page on which one is followed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment, Environment
from runs import changes, mirror, requests, tasks
from runs.actors import Actor
from runs.governance import grants
from runs.models import Action, ChangeRequest, QueuedTask
from runs.models.request import State
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes, error_codes, has_button, message_codes
from tests.portal.query_counts import count

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
RANGES = {"first": "month", "first_values": "2026-01..2026-03", "second": "", "second_values": ""}
CHOICES = {"at_once": "2", "on_failure": "stop", "skip_completed": "on", "skip_open": "on"}
OTHERS = {"parameters-rows": "100", "parameters-token": ""}


def form_of(deployment: Deployment, **ranges: str) -> str:
    url = reverse("admin:flows_deployment_backfill", args=[deployment.pk])
    return f"{url}?{urlencode(ranges)}" if ranges else url


def page_of(change: ChangeRequest, query: str = "") -> str:
    return reverse("admin:runs_changerequest_change", args=[change.pk]) + query


def hidden(page: str) -> dict[str, str]:
    names = ("submission_key", "edited_draft", "draft", "plan")
    return {name: found[0] for name in names if (found := re.findall(f'name="{name}" value="([^"]*)"', page))}


def plan(client: Client, deployment: Deployment, **values: str) -> str:
    """Fill in the form and return the page of the plan."""
    page = client.get(form_of(deployment, **RANGES)).content.decode()
    answer = client.post(form_of(deployment), {**RANGES, **CHOICES, **OTHERS, **hidden(page), **values})
    assert answer.status_code == 200
    return str(answer.content.decode())


@pytest.fixture
def client(requester: User, login: Login) -> Client:
    return login(requester)


@pytest.fixture
def backfill(deployment: Deployment, requester: User) -> ChangeRequest:
    change = requests.submit_backfill(
        deployment, {"token": "hunter22"}, {"month": "2026-01..2026-05"}, by=by(requester), at_once=2
    )
    go_on()
    return change


def go_on() -> None:
    tasks.advance_changes()
    for task in QueuedTask.objects.filter(task="runs.tasks.launch_backfill"):
        pk, lane = (int(each) for each in task.args.strip("[]").split(","))
        task.delete()
        tasks.launch_backfill(pk, lane)


def test_the_button_is_for_holders_of_the_verb(
    client: Client, deployment: Deployment, viewer: User, login: Login
) -> None:
    address = reverse("admin:flows_deployment_change", args=[deployment.pk])
    assert form_of(deployment) in client.get(address).content.decode()
    others = login(viewer)
    assert form_of(deployment) not in others.get(address).content.decode()
    assert others.get(form_of(deployment)).status_code == 403
    assert others.post(form_of(deployment), RANGES).status_code == 403


def test_ranges_come_first_then_the_other_parameters(client: Client, deployment: Deployment) -> None:
    first = client.get(form_of(deployment))
    assert first.context["options"] is None
    # Secrets are not varied.
    assert [name for name, _ in first.context["ranges"].fields["first"].choices] == ["month", "rows"]
    second = client.get(form_of(deployment, **RANGES))
    page = second.content.decode()
    assert 'name="parameters-rows"' in page
    assert 'name="parameters-month"' not in page


@pytest.mark.parametrize(
    ("ranges", "errors"),
    [
        ({"first_values": "2026-06..2026-01"}, {"first_values": ["backfill.range"]}),
        ({"first_values": ""}, {"first_values": ["required"]}),
        ({"second": "month", "second_values": "x"}, {"second": ["second.same"]}),
        ({"second": "rows"}, {"second_values": ["backfill.empty"]}),
        ({"second": "rows", "second_values": "1..999"}, {"first_values": ["backfill.too_many"]}),
    ],
)
def test_ranges_that_cannot_be_read_say_so_at_their_input(
    client: Client, deployment: Deployment, ranges: dict[str, str], errors: dict[str, list[str]]
) -> None:
    answer = client.get(form_of(deployment, **RANGES | ranges))
    assert error_codes(answer.context["ranges"]) == errors


def test_the_plan_says_what_runs_exists_and_is_refused(client: Client, deployment: Deployment, a_run: Any) -> None:
    run = a_run("COMPLETED", parameters={"month": "2026-02"})
    page = plan(client, deployment, first_values="2026-01..2026-02, soon")
    assert attributes(page, "data-counts") == ["1/1/1"]
    assert attributes(page, "data-outcome") == ["run", "skip", "refuse"]
    assert reverse("admin:runs_run_change", args=[run.pk]) in page
    assert not ChangeRequest.objects.exists()


def test_what_was_planned_is_submitted_once(client: Client, deployment: Deployment) -> None:
    page = plan(client, deployment, **{"parameters-token": "hunter22", "reason": "corrected"})
    assert "hunter22" not in page
    for _ in range(2):
        answer = client.post(form_of(deployment), {**hidden(page)})
        change = ChangeRequest.objects.get()
        assert answer.headers["Location"] == page_of(change)
    assert (change.kind, change.pacing, change.reason) == (
        "backfill",
        {"at_once": 2, "on_failure": "stop"},
        "corrected",
    )
    assert change.run_requests.count() == 3


def test_refused_items_are_left_out_only_when_that_is_ticked(client: Client, deployment: Deployment) -> None:
    page = plan(client, deployment, first_values="2026-01, soon")
    again = client.post(form_of(deployment), hidden(page))
    assert attributes(again.content.decode(), "data-error") == ["backfill.refused_items"]
    client.post(form_of(deployment), {**hidden(page), "leave_out_refused": "1"})
    assert ChangeRequest.objects.get().run_requests.count() == 1


def test_a_plan_that_changed_is_shown_again(client: Client, deployment: Deployment, a_run: Any) -> None:
    page = plan(client, deployment)
    a_run("COMPLETED", parameters={"month": "2026-02"})
    again = client.post(form_of(deployment), hidden(page)).content.decode()
    assert attributes(again, "data-error") == ["backfill.plan_changed"]
    assert attributes(again, "data-counts") == ["2/1/0"]
    client.post(form_of(deployment), hidden(again))
    assert ChangeRequest.objects.get().run_requests.count() == 2


def test_a_draft_of_someone_else_is_worth_nothing(
    client: Client, deployment: Deployment, dev: Environment, login: Login
) -> None:
    page = plan(client, deployment)
    other = person("other", "Operator")
    answer = login(other).post(form_of(deployment), hidden(page))
    assert attributes(answer.content.decode(), "data-error") == ["form.expired"]
    assert not ChangeRequest.objects.exists()


def test_edit_keeps_what_was_entered_and_its_secrets(client: Client, deployment: Deployment) -> None:
    page = plan(client, deployment, **{"parameters-token": "hunter22", "tags": "a, b"})
    form = client.post(form_of(deployment), {**hidden(page), "change": "1"}).content.decode()
    assert "hunter22" not in form
    assert 'value="a, b"' in form
    sent = {**RANGES, **CHOICES, "parameters-rows": "7", "parameters-token": "", **hidden(form)}
    again = client.post(form_of(deployment), sent).content.decode()
    client.post(form_of(deployment), hidden(again))
    spec = ChangeRequest.objects.get().specs.first()
    assert spec
    assert requests.spec_values(spec) == {"month": "2026-01", "rows": 7, "token": "hunter22"}


def test_in_prod_it_waits_for_an_approval_on_its_page(
    client: Client, prod_deployment: Deployment, approver: User, login: Login
) -> None:
    page = plan(client, prod_deployment, reason="month end")
    again = client.post(form_of(prod_deployment), hidden(page)).content.decode()
    assert attributes(again, "data-error") == ["confirmation.mismatch"]
    client.post(form_of(prod_deployment), {**hidden(again), "confirmation": "monthly/monthly"})
    change = ChangeRequest.objects.get()
    theirs = login(approver)
    shown = theirs.get(page_of(change)).content.decode()
    assert has_button(shown, "approve")
    assert "2026-02" in shown
    assert not has_button(shown, "pause")
    theirs.post(reverse("admin:runs_changerequest_approve", args=[change.pk]), {"displayed_digest": change.digest})
    change.refresh_from_db()
    assert change.state == ChangeRequest.State.APPROVED


def test_its_page_shows_how_far_it_is(
    client: Client, backfill: ChangeRequest, fake: FakePrefect, deployment: Deployment
) -> None:
    done, failed = backfill.run_requests.filter(state=State.LAUNCHED).order_by("pk")
    fake.set_state(done.flow_run_id, "COMPLETED")  # type: ignore[arg-type]
    fake.set_state(failed.flow_run_id, "FAILED", message="ValueError: bad")  # type: ignore[arg-type]
    mirror.refresh(deployment.environment, [done.flow_run_id, failed.flow_run_id])  # type: ignore[list-item]
    tasks.advance_changes()
    page = client.get(page_of(backfill)).content.decode()
    assert attributes(page, "data-part") == ["completed", "failed", "held"]
    # The failed one first, what is done last.
    assert attributes(page, "data-item") == ["2", "3", "4", "5", "1"]
    assert "Stopped" in page
    # The list says the same, and finds it by that word.
    address = reverse("admin:runs_changerequest_changelist")
    for query, is_found in (
        ("state=stopped", True),
        ("q=Stopped", True),
        ("state=approved", False),
        ("q=paused", False),
    ):
        listed = client.get(f"{address}?{query}")
        assert [row.phase for row in listed.context["cl"].result_list] == (["stopped"] if is_found else [])
        assert (f"Backfill: {backfill.run_requests.count()} runs" in listed.content.decode()) == is_found
    assert "Last change (UTC)" in page
    assert "Times in UTC" in page
    assert "2026-02" in page
    assert "hunter22" not in page
    assert has_button(page, "resume")
    assert has_button(page, "cancel_rest")
    assert has_button(page, "retry_failed")
    only = client.get(page_of(backfill, "?items=completed")).content.decode()
    assert attributes(only, "data-item") == ["1"]


def test_who_may_not_view_parameters_or_logs_sees_neither(
    backfill: ChangeRequest, fake: FakePrefect, deployment: Deployment, login: Login, dev: Environment
) -> None:
    failed = backfill.run_requests.filter(state=State.LAUNCHED).order_by("pk")[0]
    fake.set_state(failed.flow_run_id, "FAILED", message="ValueError: private")  # type: ignore[arg-type]
    mirror.refresh(dev, [failed.flow_run_id])  # type: ignore[list-item]
    blind = person("blind")
    grants.grant(by=Actor.system(), person=blind, verbs=["see"], environment=dev)
    page = login(blind).get(page_of(backfill)).content.decode()
    assert "2026-01" not in page
    assert "private" not in page
    assert not any(has_button(page, each) for each in ("pause", "resume", "cancel_rest", "retry_failed"))


def test_a_stranger_does_not_find_it(backfill: ChangeRequest, stranger: User, login: Login) -> None:
    grants.grant(by=Actor.system(), person=stranger, verbs=["trigger"], environment=None)
    theirs = login(stranger)
    assert theirs.get(page_of(backfill)).status_code == 404
    for act in ("pause", "resume", "cancel_rest", "retry_failed"):
        assert theirs.post(reverse(f"admin:runs_changerequest_{act}", args=[backfill.pk])).status_code == 404


def test_buttons_pause_resume_and_cancel_the_rest(client: Client, backfill: ChangeRequest) -> None:
    def press(act: str) -> list[str]:
        answer = client.post(reverse(f"admin:runs_changerequest_{act}", args=[backfill.pk]), follow=True)
        return message_codes(answer)

    assert press("pause") == ["success"]
    assert has_button(client.get(page_of(backfill)).content.decode(), "resume")
    assert press("pause") == ["backfill.paused"]
    assert press("resume") == ["success"]
    assert press("cancel_rest") == ["success"]
    assert press("pause") == ["backfill.over"]


def test_failed_runs_are_retried_in_place_each_with_its_result(
    client: Client, backfill: ChangeRequest, fake: FakePrefect, dev: Environment
) -> None:
    for each in backfill.run_requests.filter(state=State.LAUNCHED):
        fake.set_state(each.flow_run_id, "FAILED")  # type: ignore[arg-type]
        mirror.refresh(dev, [each.flow_run_id])  # type: ignore[list-item]
    address = reverse("admin:runs_changerequest_retry_failed", args=[backfill.pk])
    assert message_codes(client.post(address, {"reason": "again"}, follow=True)) == ["success", "success"]
    assert Action.objects.filter(kind="retry").count() == 2
    assert message_codes(client.post(address, {"reason": "again"}, follow=True)) == ["retry.pending"] * 2


def test_an_item_is_decided_about_with_the_whole(
    client: Client, prod_deployment: Deployment, requester: User, approver: User, login: Login
) -> None:
    change = requests.submit_backfill(prod_deployment, {}, {"month": "2026-01,2026-02"}, by=by(requester), reason="r")
    item = change.run_requests.order_by("pk")[0]
    page = login(approver).get(reverse("admin:runs_runrequest_change", args=[item.pk])).content.decode()
    assert not has_button(page, "approve")
    assert page_of(change) in page


def test_a_page_of_many_items_takes_no_more_queries(client: Client, deployment: Deployment, requester: User) -> None:
    small, large = (
        requests.submit_backfill(deployment, {}, {"rows": values, "month": month}, by=by(requester))
        for values, month in (("1..5", "2026-01"), ("1..150", "2026-02"))
    )
    few, many = (count(client, page_of(change)) for change in (small, large))
    assert few == many
    assert many <= 20, many
    listed = count(client, reverse("admin:runs_changerequest_changelist"))
    changes.withdraw(large, by=by(requester))
    assert count(client, reverse("admin:runs_changerequest_changelist")) == listed
