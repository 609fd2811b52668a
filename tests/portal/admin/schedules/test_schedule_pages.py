"""The pages of schedules: the form and its review, the page of one, the calendar, and where they are named."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment
from runs import changes, requests
from runs.actors import Actor
from runs.automation import schedule_clock
from runs.governance import grants
from runs.models import Action, ChangeRequest, Policy, Schedule
from tests.cast import by, person
from tests.made_schedules import let_schedule, schedule_of
from tests.portal.page_elements import attributes, has_button, message_codes
from tests.portal.query_counts import count

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
TYPED = {
    "name": "nightly",
    "rule_type": "cron",
    "rule": "0 6 * * 1-5",
    "time_zone": "Europe/Vienna",
    "catch_up": "last",
    "reason": "every day",
    "parameters-month": "2026-10",
    "parameters-rows": "100",
    "parameters-token": "hunter22",
}


@pytest.fixture
def owner(requester: User, prod_deployment: Deployment) -> User:
    let_schedule(requester, prod_deployment)
    return requester


@pytest.fixture
def client(owner: User, login: Login) -> Client:
    return login(owner)


@pytest.fixture
def active(prod_deployment: Deployment, owner: User, approver: User) -> Schedule:
    secret = {"month": "2026-10", "token": "hunter22"}
    schedule = schedule_of(prod_deployment, owner, parameters=secret)
    changes.approve(schedule.change, by=by(approver))
    schedule_clock.tick()
    schedule.refresh_from_db()
    return schedule


def form_of(deployment: Deployment, replaces: Schedule | None = None) -> str:
    url = reverse("admin:flows_deployment_schedule", args=[deployment.pk])
    return f"{url}?replaces={replaces.pk}" if replaces else url


def page_of(schedule: Schedule) -> str:
    return reverse("admin:runs_schedule_change", args=[schedule.pk])


def hidden(page: str) -> dict[str, str]:
    names = ("submission_key", "edited_draft", "draft")
    return {name: found[0] for name in names if (found := re.findall(f'name="{name}" value="([^"]*)"', page))}


def refusals(answer: Any) -> list[str]:
    return attributes(answer.content.decode(), "data-error")


def ends() -> str:
    return f"{timezone.now() + timedelta(days=20):%Y-%m-%dT%H:%M}"


def review(client: Client, address: str, **typed: str) -> str:
    page = client.get(address).content.decode()
    answer = client.post(address, {**TYPED, "valid_until": ends(), **hidden(page), **typed})
    assert answer.status_code == 200
    return str(answer.content.decode())


def starts(page: str) -> list[str]:
    listed = page.partition('data-key="starts"')[2].partition("</ol>")[0]
    return re.findall(r'<time datetime="([^"]+)"', listed)


def test_the_next_starts_are_shown_before_it_is_requested(client: Client, prod_deployment: Deployment) -> None:
    page = review(client, form_of(prod_deployment))
    assert len(starts(page)) == 10
    assert "hunter22" not in page
    assert not Schedule.objects.exists()
    mismatch = client.post(form_of(prod_deployment), {**hidden(page), "confirmation": "other"})
    assert refusals(mismatch) == ["confirmation.mismatch"]
    sent = {**hidden(page), "confirmation": prod_deployment.full_name}
    answer = client.post(form_of(prod_deployment), sent)
    schedule = Schedule.objects.get()
    assert answer.headers["Location"] == page_of(schedule)
    # A double click is one.
    client.post(form_of(prod_deployment), sent)
    assert Schedule.objects.count() == 1
    assert (schedule.rule, schedule.time_zone, schedule.catch_up) == ("0 6 * * 1-5", "Europe/Vienna", "last")
    assert (schedule.state, schedule.change.state) == ("waiting", "waiting")


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"rule": "0 6 * *"}, "rule"),
        ({"rule_type": "interval", "rule": "36h"}, "rule"),
        ({"time_zone": "Vienna"}, "time_zone"),
        ({"valid_until": "2020-01-01T10:00"}, "valid_until"),
        ({"name": ""}, "name"),
        ({"reason": ""}, "reason"),
        ({"parameters-month": "October"}, "parameters-month"),
    ],
)
def test_what_is_wrong_is_shown_at_its_field(
    client: Client, prod_deployment: Deployment, typed: dict[str, str], field: str
) -> None:
    page = review(client, form_of(prod_deployment), **typed)
    assert 'name="draft"' not in page
    # The list of errors stands beside the field.
    assert re.search('errorlist|data-code="', page.partition(f'name="{field}"')[2].partition('class="portal-field')[0])


def test_a_rule_is_read_back_while_it_is_typed(client: Client, prod_deployment: Deployment) -> None:
    reading = reverse("admin:runs_schedule_reading")
    for typed, words in (
        ({"rule_type": "cron", "rule": "0 6 * * 1-5"}, "At 06:00, Monday to Friday (Europe/Vienna)."),
        ({"rule_type": "interval", "rule": "6h", "anchor": "soon"}, "Every 6 hours (Europe/Vienna)."),
        ({"rule_type": "rrule", "rule": "FREQ=WEEKLY;BYDAY=MO;BYHOUR=6"}, "Every week on Monday at 06:00"),
    ):
        page = client.get(reading, {"time_zone": "Europe/Vienna", **typed}).content.decode()
        assert words in page
        assert page.count("<time ") == 5
    page = client.get(reading, {"rule_type": "cron", "rule": "x", "time_zone": "nowhere"}).content.decode()
    assert page.count('data-key="problem"') == 2
    assert client.get(reading, {"rule_type": "cron"}).content.decode().strip() == ""
    # Only the rule is sent while it is typed, never the parameters.
    form = html.unescape(client.get(form_of(prod_deployment)).content.decode())
    assert attributes(form, "hx-include") == ["[name='rule_type'], [name='rule'], [name='time_zone'], [name='anchor']"]


def test_a_wrong_rule_and_a_wrong_time_zone_are_shown_together(client: Client, prod_deployment: Deployment) -> None:
    page = review(client, form_of(prod_deployment), rule="0 6 * *", time_zone="Vienna")
    for field in ("rule", "time_zone"):
        assert "errorlist" in page.partition(f'name="{field}"')[2].partition('class="portal-field')[0]


def test_what_was_filled_in_comes_back_with_the_secret_unseen(client: Client, prod_deployment: Deployment) -> None:
    address = form_of(prod_deployment)
    first = review(client, address)
    form = client.post(address, {**hidden(first), "change": "1"}).content.decode()
    assert 'value="0 6 * * 1-5"' in form
    assert "hunter22" not in form
    again = {**TYPED, "valid_until": ends(), "parameters-token": "", **hidden(form), "rule": "0 7 * * *"}
    page = client.post(address, again).content.decode()
    client.post(address, {**hidden(page), "confirmation": prod_deployment.full_name})
    assert bytes(Schedule.objects.get().spec.sealed_parameters)


def test_an_edit_is_prefilled_and_replaces_it(client: Client, active: Schedule, prod_deployment: Deployment) -> None:
    address = form_of(prod_deployment, active)
    form = client.get(address).content.decode()
    assert f'data-replaces="{active.pk}"' in form
    assert 'value="1h"' in form
    assert "hunter22" not in form
    page = review(client, address, **{"parameters-token": ""})
    client.post(address, {**hidden(page), "confirmation": prod_deployment.full_name})
    edited = Schedule.objects.get(replaces=active)
    assert bytes(edited.spec.sealed_parameters)
    assert f'"{page_of(edited)}"' in client.get(page_of(active)).content.decode()


def test_a_draft_is_for_its_user_deployment_and_schedule(
    client: Client, active: Schedule, prod_deployment: Deployment, login: Login
) -> None:
    draft = hidden(review(client, form_of(prod_deployment)))
    sent = {**draft, "confirmation": prod_deployment.full_name}
    other = person("other")
    let_schedule(other, prod_deployment)
    assert refusals(login(other).post(form_of(prod_deployment), sent)) == ["form.expired"]
    assert refusals(client.post(form_of(prod_deployment, active), sent)) == ["form.expired"]
    assert Schedule.objects.count() == 1


def test_who_cannot_request_one_gets_no_form(
    deployment: Deployment, requester: User, stranger: User, login: Login
) -> None:
    url = reverse("admin:flows_deployment_change", args=[deployment.pk])
    assert form_of(deployment) not in login(requester).get(url).content.decode()
    assert login(requester).get(form_of(deployment)).status_code == 403
    assert login(stranger).get(form_of(deployment)).status_code == 404


def test_another_schedule_than_of_this_deployment_is_not_found(
    client: Client, active: Schedule, deployment: Deployment, owner: User
) -> None:
    let_schedule(owner, deployment)
    assert client.get(form_of(deployment, active)).status_code == 404


def test_its_page_shows_starts_owner_and_buttons(client: Client, active: Schedule, login: Login) -> None:
    page = client.get(page_of(active)).content.decode()
    assert len(starts(page)) == 10
    assert {key for key in ("pause", "resume", "end") if f'data-key="{key}"' in page} == {"pause", "end"}
    assert "hunter22" not in page
    looker = person("looker")
    let_see(looker, active)
    page = login(looker).get(page_of(active)).content.decode()
    assert not [key for key in ("pause", "resume", "end") if f'data-key="{key}"' in page]
    assert "2026-10" not in page
    assert login(person("nobody")).get(page_of(active)).status_code == 404


def let_see(user: User, schedule: Schedule) -> None:
    grants.grant(by=Actor.system(), person=user, verbs=["see"], environment=schedule.environment)


def test_its_buttons_pause_resume_and_end_it(client: Client, active: Schedule) -> None:
    for act, state in (("pause", "paused"), ("resume", "active"), ("end", "ended")):
        client.post(reverse(f"admin:runs_schedule_{act}", args=[active.pk]), {"reason": "r"})
        active.refresh_from_db()
        assert active.state == state
    answer = client.post(reverse("admin:runs_schedule_end", args=[active.pk]), {"reason": "r"}, follow=True)
    assert message_codes(answer)[-1] == "schedule.ended"


def test_a_run_of_it_has_a_page_without_buttons_about_all_of_them(client: Client, active: Schedule) -> None:
    due = active.next_due
    assert due
    run_request = requests.add_occurrence(active.spec, due.isoformat(), scheduled_for=due)
    changes.advance(active.change)
    url = reverse("admin:runs_runrequest_change", args=[run_request.pk])
    page = client.get(url).content.decode()
    assert not any(has_button(page, key) for key in ("withdraw", "approve", "reject"))
    assert reverse("admin:runs_changerequest_change", args=[active.change_id]) in page
    assert url in client.get(page_of(active)).content.decode()
    # It is one of those that are filtered and listed like any other.
    assert url in client.get(reverse("admin:runs_runrequest_changelist")).content.decode()


def test_an_approver_sees_what_would_start_when(
    prod_deployment: Deployment, owner: User, approver: User, login: Login
) -> None:
    schedule = schedule_of(prod_deployment, owner)
    page_url = reverse("admin:runs_changerequest_change", args=[schedule.change_id])
    page = login(approver).get(page_url).content.decode()
    assert len(starts(page)) == 10
    assert "2026-10" in page
    assert page_url in login(approver).get(reverse("admin:index")).content.decode()
    digest = ChangeRequest.objects.get().digest
    login(approver).post(
        reverse("admin:runs_changerequest_approve", args=[schedule.change_id]), {"displayed_digest": digest}
    )
    schedule_clock.tick()
    schedule.refresh_from_db()
    assert schedule.state == "active"


def test_it_is_named_where_it_concerns(client: Client, active: Schedule, owner: User, login: Login) -> None:
    url = reverse("admin:flows_deployment_change", args=[active.deployment_id])
    assert f'data-schedule="{active.pk}"' in client.get(url).content.decode()
    assert 'data-key="paused-schedules"' not in client.get(reverse("admin:index")).content.decode()
    User.objects.filter(pk=owner.pk).update(is_active=False)
    schedule_clock.inspect()
    looker = person("looker")
    let_see(looker, active)
    assert 'data-code="owner.inactive"' in login(looker).get(reverse("admin:index")).content.decode()


def test_the_calendar_has_each_start_of_the_month(
    client: Client, prod_deployment: Deployment, active: Schedule
) -> None:
    user = active.change.requested_by
    assert user
    weekly = schedule_of(prod_deployment, user, name="weekly", rule_type="cron", rule="0 6 * * 1", time_zone="UTC")
    changes.approve(weekly.change, by=by(User.objects.get(username="approver")))
    schedule_clock.tick()
    weekly.refresh_from_db()
    assert weekly.next_due
    url = reverse("admin:runs_schedule_calendar")
    page = client.get(f"{url}?month={weekly.next_due:%Y-%m}").content.decode()
    day = page.partition(f'data-day="{timezone.localtime(weekly.next_due):%Y-%m-%d}"')[2].partition("data-day=")[0]
    assert page_of(weekly) in day
    assert client.get(f"{url}?month=nonsense").status_code == 200
    later = f"{weekly.valid_until + timedelta(days=62):%Y-%m}"
    assert page_of(weekly) not in client.get(f"{url}?month={later}").content.decode()


def test_the_list_makes_as_many_queries_for_many(client: Client, active: Schedule, prod_deployment: Deployment) -> None:
    url = reverse("admin:runs_schedule_changelist")
    before = count(client, url)
    user = active.change.requested_by
    assert user
    for number in range(12):
        schedule_of(prod_deployment, user, name=f"more {number}")
    assert count(client, url) == before
    calendar = reverse("admin:runs_schedule_calendar")
    with CaptureQueriesContext(connection) as found:
        client.get(calendar)
    assert len(found) <= 20
    assert count(client, page_of(active)) <= 20


@pytest.fixture
def native(prod_deployment: Deployment, owner: User, approver: User) -> Schedule:
    """One that Prefect is to keep, and of which it has another rule and another month."""
    Policy.objects.create(name="native", environment=prod_deployment.environment, native_schedules="allow")
    schedule = schedule_of(prod_deployment, owner, is_native=True)
    changes.approve(schedule.change, by=by(approver))
    schedule_clock.tick()
    Action.objects.update(state="done")
    copy = {"slug": schedule.native["slug"], "is_active": True, "description": "cron"}
    there = {"rule": {"cron": "5 5 * * *", "timezone": "UTC"}, "parameters": {"month": "2020-01", "rows": 100}}
    Deployment.objects.filter(pk=prod_deployment.pk).update(schedules=[{**copy, **there}])
    schedule.refresh_from_db()
    return schedule


def test_what_prefect_has_otherwise_is_shown_and_offered(
    native: Schedule, client: Client, viewer: User, login: Login
) -> None:
    page = client.get(page_of(native)).content.decode()
    assert attributes(page, "data-what") == ["rule", "parameters"]
    assert "2020-01" in page
    assert has_button(page, "put_back")
    offered = client.get(f"{form_of(native.deployment, native)}&from=prefect").content.decode()
    assert 'value="5 5 * * *"' in offered
    assert 'value="2020-01"' in offered
    answer = client.post(reverse("admin:runs_schedule_put_back", args=[native.pk]), {"reason": "r"})
    assert answer.status_code == 302
    assert Action.objects.filter(schedule=native, state="wanted").count() == 1
    seen = login(viewer).get(page_of(native)).content.decode()
    assert "2020-01" not in seen
    assert not has_button(seen, "put_back")


def test_its_page_says_that_a_paused_deployment_starts_nothing(native: Schedule, client: Client) -> None:
    assert 'data-key="deployment-paused"' not in client.get(page_of(native)).content.decode()
    Deployment.objects.update(is_paused=True)
    assert 'data-key="deployment-paused"' in client.get(page_of(native)).content.decode()


def test_the_form_offers_it_only_where_the_rules_allow_it(client: Client, prod_deployment: Deployment) -> None:
    address = form_of(prod_deployment)
    assert 'name="is_native"' not in client.get(address).content.decode()
    Policy.objects.create(name="native", environment=prod_deployment.environment, native_schedules="allow")
    assert 'name="is_native"' in client.get(address).content.decode()
