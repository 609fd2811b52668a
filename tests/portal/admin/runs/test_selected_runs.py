"""Acting on several runs at once: what happens to each beforehand, and what became of each afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from flows.models import Deployment, Environment
from portal.admin.runs import selected
from runs import dispatch, mirror, requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import Action, AuditEntry, Policy, Run, RunRequest
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes, message_codes, outcomes

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
LIST = reverse("admin:runs_run_changelist")


@pytest.fixture
def failed(deployment: Deployment, fake: FakePrefect, requester: User) -> Callable[..., Run]:
    """Makes failed runs that were requested here."""

    def make(**values: Any) -> Run:
        run_request = requests.submit(deployment, {"month": "2026-10", **values}, by=by(requester))
        dispatch.launch(run_request)
        run_request.refresh_from_db()
        assert run_request.flow_run_id is not None
        fake.set_state(run_request.flow_run_id, "FAILED")
        mirror.refresh(deployment.environment, [run_request.flow_run_id])
        return Run.objects.get(prefect_id=run_request.flow_run_id)

    return make


def ask(client: Client, action: str, *runs: Run, **data: str) -> Any:
    body = {"action": action, "_selected_action": [run.pk for run in runs], "index": "0", **data}
    return client.post(LIST, body)


def send(client: Client, action: str, *runs: Run, **data: str) -> Any:
    """Fill in the form of the action and send it."""
    page = ask(client, action, *runs).content.decode()
    keys = dict(re.findall(r'name="(submission_key-\d+)" value="([^"]*)"', page))
    return ask(client, action, *runs, **{"reason": "source is back", **keys, **data})


def requests_made() -> int:
    return RunRequest.objects.filter(spec__rerun_of__isnull=False).count()


# Re-running


def test_each_selected_run_is_requested_again_with_its_values(
    failed: Callable[..., Run], a_run: Callable[..., Run], requester: User, login: Login
) -> None:
    first, second, outside = failed(rows=7, token="opensesame"), failed(rows=8), a_run("FAILED")
    client = login(requester)
    asked = ask(client, "rerun_selected", first, second, outside).content.decode()
    assert attributes(asked, "data-why") == ["rerun.external"]
    assert "opensesame" not in asked
    answer = send(client, "rerun_selected", first, second, outside)
    page = client.get(answer.url)
    assert sorted(outcomes(page)) == ["requested", "requested", "rerun.external"]
    made = RunRequest.objects.filter(spec__rerun_of__isnull=False).order_by("pk")
    assert {requests.values_of(each)["rows"] for each in made} == {7, 8}
    assert requests.values_of(made.get(spec__rerun_of=first.run_request))["token"] == "opensesame"
    for each in made:
        assert reverse("admin:runs_runrequest_change", args=[each.pk]) in page.content.decode()


def test_sent_twice_each_is_requested_once(failed: Callable[..., Run], requester: User, login: Login) -> None:
    run, client = failed(), login(requester)
    page = ask(client, "rerun_selected", run).content.decode()
    keys = dict(re.findall(r'name="(submission_key-\d+)" value="([^"]*)"', page))
    for _ in range(2):
        answer = ask(client, "rerun_selected", run, reason="r", **keys)
        assert outcomes(client.get(answer.url)) == ["requested"]
    assert requests_made() == 1


def test_what_needs_an_approval_waits_for_it_and_says_so_beforehand(
    failed: Callable[..., Run], requester: User, login: Login
) -> None:
    run, client = failed(), login(requester)
    Environment.objects.update(needs_approval=True)
    assert "Waits for approval" in ask(client, "rerun_selected", run).content.decode()
    assert outcomes(client.get(send(client, "rerun_selected", run).url)) == ["needs approval"]


def test_the_name_of_an_environment_that_wants_it_is_typed(
    failed: Callable[..., Run], requester: User, deployment: Deployment, login: Login
) -> None:
    run, client = failed(), login(requester)
    Policy.objects.create(name="typed", environment=deployment.environment, needs_confirmation=True)
    assert attributes(send(client, "rerun_selected", run).content.decode(), "data-error") == ["confirmation.mismatch"]
    assert requests_made() == 0
    answer = send(client, "rerun_selected", run, **{"confirmation-dev": "dev"})
    assert outcomes(client.get(answer.url)) == ["requested"]


def test_who_may_not_rerun_is_told_so_for_each(failed: Callable[..., Run], login: Login) -> None:
    run = failed()
    other = person("other", "Viewer")
    elsewhere = Environment.objects.create(slug="else", server=run.environment.server, is_active=False)
    grants.grant(by=Actor.system(), person=other, verbs=["rerun"], environment=elsewhere)
    client = login(other)
    assert attributes(ask(client, "rerun_selected", run).content.decode(), "data-why") == ["access.no_grant"]
    assert outcomes(client.get(send(client, "rerun_selected", run).url)) == ["access.no_grant"]
    assert requests_made() == 0
    entry = AuditEntry.objects.order_by("-sequence")[0]
    assert (entry.verb, entry.outcome) == ("request.submit", "refused")


def test_one_that_deletes_data_is_run_again_from_its_own_page(
    failed: Callable[..., Run], requester: User, deployment: Deployment, login: Login
) -> None:
    run, client = failed(), login(requester)
    Deployment.objects.filter(pk=deployment.pk).update(tags=["crm", "destructive"])
    asked = ask(client, "rerun_selected", run).content.decode()
    assert attributes(asked, "data-why") == ["destructive.unconfirmed"]
    assert outcomes(client.get(send(client, "rerun_selected", run).url)) == ["destructive.unconfirmed"]


# Results


def test_the_results_survive_a_reload_and_follow_what_happens(
    failed: Callable[..., Run], requester: User, login: Login
) -> None:
    run, client = failed(), login(requester)
    address = send(client, "retry_selected", run).url
    first = client.get(address)
    assert outcomes(first) == outcomes(client.get(address)) == ["requested"]
    assert Action.objects.count() == 1
    dispatch.carry_out(Action.objects.get())
    assert first.context["lines"][0].now == "Queued"
    assert client.get(address).context["lines"][0].now == "Done"


def test_one_that_is_refused_does_not_stop_the_others(
    failed: Callable[..., Run], a_run: Callable[..., Run], requester: User, login: Login
) -> None:
    ended, running, client = a_run("COMPLETED"), a_run("RUNNING"), login(requester)
    answer = ask(client, "cancel_selected", ended, running, reason="Wrong month")
    assert sorted(outcomes(client.get(answer.url))) == ["requested", "run.finished"]
    assert Action.objects.get().run == running


def test_what_is_not_reached_in_time_is_left_alone_and_says_so(
    a_run: Callable[..., Run], requester: User, login: Login, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, client = [a_run("RUNNING") for _ in range(3)], login(requester)
    # The clock: ten seconds for each run.
    ticks = iter(range(0, 1000, 10))
    monkeypatch.setattr(selected, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    answer = ask(client, "cancel_selected", *runs, reason="Wrong month")
    assert sorted(outcomes(client.get(answer.url))) == ["not reached", "requested", "requested"]
    assert Action.objects.count() == 2


def test_results_are_of_one_session_and_of_what_one_still_sees(
    failed: Callable[..., Run], requester: User, admin_user: User, login: Login
) -> None:
    run, client = failed(), login(requester)
    address = send(client, "retry_selected", run).url
    assert login(admin_user).get(address).status_code == 404
    requester.groups.clear()
    page = client.get(address)
    assert outcomes(page) == []
    assert str(run) not in page.content.decode()


def test_only_the_last_results_are_kept(failed: Callable[..., Run], requester: User, login: Login) -> None:
    run, client = failed(), login(requester)
    addresses = [send(client, "retry_selected", run).url for _ in range(4)]
    assert [client.get(address).status_code for address in addresses] == [404, 200, 200, 200]


def test_a_missing_reason_is_asked_for_and_nothing_happens(
    a_run: Callable[..., Run], requester: User, deployment: Deployment, login: Login
) -> None:
    run, client = a_run("RUNNING"), login(requester)
    Environment.objects.update(needs_reason=True)
    answer = ask(client, "cancel_selected", run, reason=" ")
    assert attributes(answer.content.decode(), "data-error") == ["reason.required"]
    long = ask(client, "cancel_selected", run, reason="r" * 1001)
    assert attributes(long.content.decode(), "data-error") == ["reason.too_long"]
    assert not Action.objects.exists()


@pytest.mark.parametrize("action", ["retry_selected", "rerun_selected", "cancel_selected"])
def test_the_preview_and_the_results_take_as_many_queries_for_ten_as_for_two(
    action: str, failed: Callable[..., Run], requester: User, login: Login
) -> None:
    runs, client = [failed() for _ in range(10)], login(requester)
    counts = []
    for some in (runs[:2], runs):
        with CaptureQueriesContext(connection) as asked:
            ask(client, action, *some)
        before = len(asked)
        address = send(client, action, *some).url
        with CaptureQueriesContext(connection) as shown:
            client.get(address)
        counts.append((before, len(shown)))
        Action.objects.all().delete()
    assert counts[0] == counts[1]
    assert max(counts[1]) <= 20


# Comparing


def test_two_selected_runs_are_compared(a_run: Callable[..., Run], viewer: User, login: Login) -> None:
    older, newer, third = a_run("COMPLETED"), a_run("FAILED"), a_run("FAILED")
    client = login(viewer)
    answer = ask(client, "compare_selected", newer, older)
    assert answer.url == f"{reverse('admin:runs_run_compare')}?a={older.pk}&b={newer.pk}"
    for some in ([older], [older, newer, third]):
        refused = client.post(
            LIST, {"action": "compare_selected", "_selected_action": [run.pk for run in some]}, follow=True
        )
        assert message_codes(refused) == ["compare.two"]
