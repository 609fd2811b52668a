"""The list of runs: what it shows, to whom, and at what cost."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import health
from flows.models import Deployment, Environment, Health
from runs import mirror
from runs.actors import Actor
from runs.governance import grants
from runs.models import Action, Run
from tests.fakes.prefect import FakePrefect
from tests.portal.many_rows import many_runs
from tests.portal.page_elements import attributes, message_codes, outcomes
from tests.portal.query_counts import count, must_be_agreed

URL = "/admin/runs/run/"
Login = Callable[[User], Client]
Runs = Callable[..., Run]


def text(client: Client, query: str = "") -> str:
    answer = client.get(URL + query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_row_says_what_it_is_where_it_ran_and_who_asked(requester: User, a_run: Runs, login: Login) -> None:
    a_run("RUNNING", name="brave-otter")
    page = text(login(requester))
    assert "brave-otter" in page
    assert "monthly/monthly" in page
    assert "Prefect (external)" in page
    assert 'data-tone="blue"' in page
    assert ">Running<" in page


def test_a_state_with_a_name_of_its_own_is_called_by_it(
    requester: User, a_run: Runs, fake: FakePrefect, login: Login
) -> None:
    run = a_run("SCHEDULED")
    fake.set_state(run.prefect_id, "SCHEDULED", "AwaitingRetry")
    mirror.refresh(run.environment, [run.prefect_id])
    assert "AwaitingRetry" in text(login(requester))


def test_what_nobody_granted_is_neither_listed_nor_counted_nor_found(
    viewer: User, a_run: Runs, prod_deployment: Deployment, login: Login
) -> None:
    a_run("COMPLETED", name="in-dev")
    many_runs(prod_deployment, 3)
    client = login(viewer)
    assert "in-dev" in text(client)
    assert ">run-1<" not in text(client, "?q=run-1")
    assert ">prod<" not in text(client), "the filter and the ages name only what may be seen"


def test_a_stranger_sees_no_list(stranger: User, a_run: Runs, login: Login) -> None:
    a_run("COMPLETED", name="secret-name")
    answer = login(stranger).get(URL)
    assert answer.status_code == 403
    assert b"secret-name" not in answer.content


def test_a_deny_hides_a_deployment_from_the_list(
    viewer: User, a_run: Runs, deployment: Deployment, login: Login
) -> None:
    a_run("COMPLETED", name="brave-otter")
    grants.grant(
        by=Actor.system(), person=viewer, verbs=["see"], effect="deny", full_name=deployment.full_name, reason="audit"
    )
    assert "brave-otter" not in text(login(viewer))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?environment=dev", {"early", "late", "planned"}),
        ("?environment=prod", set()),
        ("?state=FAILED", {"late"}),
        ("?state=active", {"planned"}),
        ("?state=FAILED&state=COMPLETED", {"early", "late"}),
        ("?deployment=monthly/monthly", {"early", "late", "planned"}),
        ("?deployment=no/such", set()),
        ("?tag=nightly", {"late"}),
        ("?tag=nightly%00", {"late"}),
        ("?origin=schedule", {"planned"}),
        ("?origin=outside", {"early", "late"}),
        ("?origin=portal", set()),
        ("?origin=nonsense", {"early", "late", "planned"}),
        ("?sort_at_from=2026-01-10", {"late"}),
        ("?sort_at_to=2026-01-09", {"early", "planned"}),
        ("?sort_at_from=nonsense", {"early", "late", "planned"}),
        ("?q=ear", {"early"}),
    ],
)
def test_a_filter_keeps_what_it_says(
    query: str, found: set[str], requester: User, deployment: Deployment, login: Login
) -> None:
    evening = datetime(2026, 1, 9, 23, 30, tzinfo=UTC)
    morning = evening + timedelta(hours=1)
    many_runs(deployment, 1, name="early", created_upstream_at=evening)
    many_runs(deployment, 1, name="late", created_upstream_at=morning, state_type="FAILED", tags=["nightly"])
    many_runs(
        deployment, 1, name="planned", created_upstream_at=evening, state_type="SCHEDULED", is_auto_scheduled=True
    )
    page = text(login(requester), query)
    assert {name for name in ("early", "late", "planned") if re.search(rf">\s*{name}\s*<", page)} == found


def test_hostile_names_and_tags_are_only_text(requester: User, deployment: Deployment, login: Login) -> None:
    many_runs(deployment, 1, name="<img src=x onerror=alert(1)>", state_name="<script>alert(2)</script>")
    page = text(login(requester))
    assert "<img src=x" not in page
    assert "<script>alert" not in page
    assert "&lt;img src=x" in page


def test_an_environment_that_is_down_does_not_look_empty(requester: User, dev: Environment, login: Login) -> None:
    health.record(dev.server, Health.State.DOWN, "No answer from http://dev.test.")
    page = text(login(requester))
    assert "down" in " ".join(attributes(page, "data-code")).split()
    assert "No answer from http://dev.test." in page


def test_an_environment_that_was_never_read_says_so(requester: User, dev: Environment, login: Login) -> None:
    health.record(dev.server, Health.State.UP, "")
    assert "never_synced" in " ".join(attributes(text(login(requester)), "data-code")).split()


def test_the_age_of_the_data_is_shown(requester: User, dev: Environment, login: Login) -> None:
    health.record(dev.server, Health.State.UP, "")
    health.note_runs_synced(dev, timezone.now() - timedelta(minutes=2))
    assert "2 min ago" in text(login(requester))


def test_an_empty_list_says_why_it_is_empty(requester: User, deployment: Deployment, login: Login) -> None:
    assert 'data-code="no_rows"' in text(login(requester))
    many_runs(deployment, 1)
    assert 'data-code="no_results"' in text(login(requester), "?q=no-such-run")


def test_nonsense_in_the_address_is_no_error(requester: User, login: Login) -> None:
    assert login(requester).get(f"{URL}?no_such_column=1").status_code in (200, 302)
    assert login(requester).get(f"{URL}?deployment__environment__sealed_credential__gt=a").status_code in (302, 400)


def test_the_cost_is_the_same_for_10_and_100_rows(requester: User, deployment: Deployment, login: Login) -> None:
    client = login(requester)
    many_runs(deployment, 10)
    ten = count(client, f"{URL}?all=")
    many_runs(deployment, 90)
    hundred = count(client, f"{URL}?all=")
    # More than one page is counted.
    assert ten + 1 == hundred <= 15
    must_be_agreed("run list", hundred)


# Cancelling what is selected


def post(client: Client, action: str, runs: list[Run], **data: str) -> Any:
    return client.post(URL, {"action": action, "_selected_action": [run.pk for run in runs], **data}, follow=True)


def cancellable(page: str) -> set[int]:
    """The runs of the form that asks for the reason which it will cancel."""
    return {int(pk) for pk in re.findall(r'name="_selected_action" value="(\d+)"', page)}


def test_selected_runs_are_cancelled_with_one_reason(requester: User, a_run: Runs, login: Login) -> None:
    runs = [a_run("RUNNING"), a_run("SCHEDULED")]
    client = login(requester)
    form = post(client, "cancel_selected", runs).content.decode()
    assert cancellable(form) == {run.pk for run in runs}
    assert not runs[0].actions.exists(), "asking for the reason is not cancelling"
    answer = post(client, "cancel_selected", runs, reason="Wrong month")
    assert outcomes(answer) == ["requested", "requested"]
    assert [run.actions.get().reason for run in runs] == ["Wrong month", "Wrong month"]


def test_what_cannot_be_cancelled_is_explained_and_not_sent(
    requester: User, a_run: Runs, prod_deployment: Deployment, login: Login
) -> None:
    grants.grant(
        by=Actor.system(), person=requester, verbs=["cancel"], effect="deny", environment=prod_deployment.environment
    )
    runs = [a_run("RUNNING"), a_run("COMPLETED"), *many_runs(prod_deployment, 1, state_type="RUNNING")]
    client = login(requester)
    page = post(client, "cancel_selected", runs).content.decode()
    assert cancellable(page) == {runs[0].pk}
    assert sorted(attributes(page, "data-why")) == ["access.denied", "run.finished"]
    post(client, "cancel_selected", runs, reason="All of them")
    assert [run.actions.count() for run in runs] == [1, 0, 0]


def test_a_viewer_has_no_such_action(viewer: User, a_run: Runs, login: Login) -> None:
    run = a_run("RUNNING")
    client = login(viewer)
    assert 'value="cancel_selected"' not in text(client)
    post(client, "cancel_selected", [run], reason="Let me")
    assert not run.actions.exists()


def test_runs_that_may_not_be_seen_are_not_reached_by_their_number(
    requester: User, viewer: User, prod_deployment: Deployment, login: Login
) -> None:
    hidden = many_runs(prod_deployment, 1, state_type="RUNNING", name="hidden-run")
    grants.grant(by=Actor.system(), person=viewer, verbs=["cancel"])
    answer = post(login(viewer), "cancel_selected", hidden, reason="Guess")
    assert b"hidden-run" not in answer.content
    assert not hidden[0].actions.exists()


def test_too_many_at_once_are_refused(requester: User, deployment: Deployment, login: Login) -> None:
    runs = many_runs(deployment, 201, state_type="RUNNING")
    answer = post(login(requester), "cancel_selected", runs, reason="All of them")
    assert message_codes(answer) == ["warning"]
    assert not Action.objects.exists()


def test_the_row_links_to_the_page(requester: User, a_run: Runs, login: Login) -> None:
    run = a_run("RUNNING")
    assert reverse("admin:runs_run_change", args=[run.pk]) in text(login(requester))


def test_a_run_with_a_blank_name_has_a_link_that_is_seen(a_run: Callable[..., Run], viewer: User, login: Login) -> None:
    run = a_run("COMPLETED", name=" ")
    client = login(viewer)
    for page in (
        reverse("admin:runs_run_changelist"),
        reverse("admin:flows_deployment_change", args=[run.deployment_id]),
    ):
        link = reverse("admin:runs_run_change", args=[run.pk])
        text = client.get(page).content.decode()
        assert re.search(rf'href="{link}[^"]*"[^>]*>\s*{run.prefect_id}', text), page
