"""Parameters and logs of a run: each needs its own permission, at every address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import reverse

from flows.models import Deployment, Environment
from portal.auth import request_user
from runs import changes, mirror, requests
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.governance import grants
from runs.models import Run
from runs.requests import visibility
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
PARAMETER, LOG_LINE, STATE_MESSAGE = "2031-07", "a line of its log", "what its state says"


@pytest.fixture
def failed(deployment: Deployment, fake: FakePrefect) -> Run:
    """A run that failed, with parameters, a log, and messages of its states and tasks."""
    record = fake.add_run(deployment.prefect_id, state_type="RUNNING", parameters={"month": PARAMETER})
    fake.set_state(record.id, "FAILED", name="Failed", message=f"Flow run encountered an exception: {STATE_MESSAGE}")
    fake.add_task_run(record.id, name="load", state_type="FAILED", state_name="Failed", message=STATE_MESSAGE)
    fake.add_log(record.id, LOG_LINE, level=40)
    mirror.refresh(deployment.environment, [record.id])
    return Run.objects.get(prefect_id=record.id)


def user_with(*verbs: str) -> User:
    user = person("limited")
    grants.grant(by=Actor.system(), person=user, verbs=list(verbs))
    return user


def addresses(run: Run) -> list[str]:
    """Every address that shows a run, and those that search for it."""
    page = reverse("admin:runs_run_change", args=[run.pk])
    runs = reverse("admin:runs_run_changelist")
    searches = [f"{runs}?q={word}" for word in (PARAMETER, "line", "state")]
    return [
        *(
            page,
            f"{page}?level=40",
            *(reverse(f"admin:runs_run_{name}", args=[run.pk]) for name in ("log", "log_text")),
        ),
        *("/admin/", runs, *searches),
        *(
            f"/admin/search/?s={PARAMETER}",
            f"{runs}?parameters__month={PARAMETER}",
            f"{runs}?log_lines__message__contains=a",
        ),
    ]


def read(client: Client, run: Run) -> str:
    answers = [client.get(address, follow=True) for address in addresses(run)]
    answers.append(client.get(addresses(run)[0], headers={"X-Portal-Live": "1"}))
    return "".join(answer.content.decode() for answer in answers)


def test_viewing_a_run_shows_neither_its_parameters_nor_its_log(failed: Run, login: Login) -> None:
    text = read(login(user_with("see")), failed)
    assert {"see inputs", "see logs"} <= set(attributes(text, "data-needs"))
    for hidden in (LOG_LINE, STATE_MESSAGE):
        assert hidden not in text
    # The searches repeat what was searched for, so the value is looked for on the page of the run alone.
    page = login(User.objects.get(username="limited")).get(addresses(failed)[0]).content.decode()
    assert PARAMETER not in page


def test_inputs_and_logs_are_shown_apart(failed: Run, login: Login) -> None:
    page, _, log, log_text = addresses(failed)[:4]
    client = login(user_with("see", "see inputs"))
    assert PARAMETER in client.get(page).content.decode()
    assert LOG_LINE not in client.get(page).content.decode()
    assert [client.get(each).status_code for each in (log, log_text)] == [403, 403]
    other = person("other")
    grants.grant(by=Actor.system(), person=other, verbs=["see", "see logs"])
    client = login(other)
    assert PARAMETER not in client.get(page).content.decode()
    assert all(LOG_LINE in client.get(each).content.decode() for each in (page, log, log_text))
    assert STATE_MESSAGE in client.get(page).content.decode()


def test_a_filter_by_a_value_tells_nothing_even_to_those_who_see_it(failed: Run, login: Login) -> None:
    client = login(user_with("see", "see inputs", "see logs"))
    runs = reverse("admin:runs_run_changelist")
    for query in (f"parameters__month={PARAMETER}", "log_lines__message__contains=a", "run_request__reason=x"):
        assert failed.name not in client.get(f"{runs}?{query}").content.decode()


def test_the_overview_does_not_say_why_a_run_failed_to_those_who_may_not_read_it(failed: Run, login: Login) -> None:
    Run.objects.filter(pk=failed.pk).update(ended_at=failed.synced_at)
    assert visibility.HIDDEN in login(user_with("see")).get("/admin/").content.decode()
    failed.refresh_from_db()
    assert STATE_MESSAGE in failed.state_message


def test_denying_view_parameters_wins_over_a_role(failed: Run, viewer: User, login: Login) -> None:
    page = addresses(failed)[0]
    assert PARAMETER in login(viewer).get(page).content.decode()
    grants.grant(by=Actor.system(), person=viewer, verbs=["see inputs"], effect="deny", flow_name="monthly")
    assert PARAMETER not in login(viewer).get(page).content.decode()


def test_requesters_see_their_own_parameters_and_no_others(deployment: Deployment) -> None:
    requester, other = user_with("see", "trigger"), person("other")
    grants.grant(by=Actor.system(), person=other, verbs=["see", "trigger"])
    run_request = requests.submit(deployment, {"month": PARAMETER}, by=by(requester))
    assert visibility.can_view_parameters(Permissions.of_person(requester), run_request)
    assert not visibility.can_view_parameters(Permissions.of_person(other), run_request)
    assert not visibility.can_view_parameters(Permissions.of_person(requester), deployment)


def test_approvers_see_parameters_while_it_waits(
    prod: Environment, prod_deployment: Deployment, requester: User
) -> None:
    def approver_of(name: str, **columns: Any) -> User:
        user = person(name)
        grants.grant(by=Actor.system(), person=user, verbs=["see"], environment=prod)
        grants.grant(by=Actor.system(), person=user, verbs=["approve"], environment=prod, **columns)
        return user

    run_request = requests.submit(prod_deployment, {"month": PARAMETER}, by=by(requester), reason="r")
    fits = approver_of("fits", predicate={"properties": {"month": {"const": PARAMETER}}})
    does_not = approver_of("does_not", predicate={"properties": {"month": {"const": "1999-01"}}})
    assert visibility.can_view_parameters(Permissions.of_person(fits), run_request)
    assert not visibility.can_view_parameters(Permissions.of_person(does_not), run_request)
    assert not visibility.can_view_parameters(Permissions.of_person(fits), prod_deployment)
    changes.reject(run_request.change, by=by(fits), reason="not now")
    run_request.refresh_from_db()
    assert not visibility.can_view_parameters(Permissions.of_person(fits), run_request)


def test_pages_check_the_permissions_of_their_user(failed: Run) -> None:
    request = RequestFactory().get("/")
    request.user = user_with("see", "see inputs")
    assert request_user.can_view_parameters(request, failed)
    assert not request_user.can_view_logs(request, failed)
