"""The run form: what it shows, what it accepts, and how it reports mistakes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import health, sync
from flows.models import Deployment, Environment, Health
from runs.access.decisions import decide
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, RunRequest, Verb
from tests.cast import SCHEMA, by, person
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes, error_codes, message_codes
from tests.portal.query_counts import count, must_be_agreed

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]


def form_of(deployment: Deployment) -> str:
    return reverse("admin:flows_deployment_run", args=[deployment.pk])


def hidden(page: str) -> dict[str, str]:
    """What the form brings along by itself."""
    names = ("submission_key", "form_fingerprint")
    return {name: re.findall(f'name="{name}" value="([^"]*)"', page)[0] for name in names}


def typed(**values: str) -> dict[str, str]:
    """What a person types, by the names of the inputs."""
    return {"start": "now", "parameters-month": "2026-01", "parameters-rows": "100", "parameters-token": "", **values}


def send(client: Client, deployment: Deployment, **values: str) -> Any:
    """Open the form and send it."""
    page = client.get(form_of(deployment)).content.decode()
    return client.post(form_of(deployment), hidden(page) | typed(**values))


def problems(answer: Any) -> list[str]:
    """The codes of what is wrong with the whole form; nothing was requested."""
    assert answer.status_code == 200
    assert not RunRequest.objects.exists()
    return attributes(answer.content.decode(), "data-error")


# Requesting


def test_what_was_typed_is_requested_and_leads_to_the_request(
    requester: User, deployment: Deployment, login: Login
) -> None:
    answer = send(
        login(requester),
        deployment,
        **{"parameters-rows": "7", "tags": "month-end, retry", "run_name": "January", "reason": "Closing"},
    )
    run_request = RunRequest.objects.get()
    # Which leads on to the run.
    assert answer.url == reverse("admin:runs_runrequest_change", args=[run_request.pk]) + "?follow=1"
    assert run_request.spec.parameters == {"month": "2026-01", "rows": 7}
    assert run_request.spec.tags == ["month-end", "retry"]
    assert (run_request.spec.run_name, run_request.change.reason) == ("January", "Closing")
    assert run_request.change.requested_by == requester
    assert run_request.scheduled_for is None


def test_a_double_click_is_one_request(requester: User, deployment: Deployment, login: Login) -> None:
    client = login(requester)
    body = hidden(client.get(form_of(deployment)).content.decode()) | typed()
    first, second = client.post(form_of(deployment), body), client.post(form_of(deployment), body)
    assert first.url == second.url  # type: ignore[attr-defined]  # redirects
    assert RunRequest.objects.count() == 1


def test_the_same_page_with_other_values_is_refused_once_and_then_a_request_of_its_own(
    requester: User, deployment: Deployment, login: Login
) -> None:
    client = login(requester)
    body = hidden(client.get(form_of(deployment)).content.decode()) | typed()
    client.post(form_of(deployment), body)
    page = client.post(form_of(deployment), body | {"parameters-rows": "9"}).content.decode()
    assert attributes(page, "data-error") == ["submission.reused"]
    assert RunRequest.objects.count() == 1
    client.post(form_of(deployment), body | {"parameters-rows": "9"} | hidden(page))
    assert RunRequest.objects.count() == 2


def test_without_a_key_it_is_a_request_all_the_same(requester: User, deployment: Deployment, login: Login) -> None:
    client = login(requester)
    body = hidden(client.get(form_of(deployment)).content.decode()) | typed()
    client.post(form_of(deployment), {**body, "submission_key": "nonsense"})
    assert RunRequest.objects.count() == 1


def test_the_same_again_a_moment_later_is_requested_with_a_hint(
    requester: User, deployment: Deployment, login: Login
) -> None:
    client = login(requester)
    secret = {"parameters-token": "opensesame"}
    send(client, deployment, **secret)
    first = RunRequest.objects.get()
    for other in ({"parameters-rows": "9"}, {"parameters-token": "other"}):
        answer = client.get(send(client, deployment, **{**secret, **other}).url)
        assert message_codes(answer) == []
    answer = client.get(send(client, deployment, **secret).url)
    assert message_codes(answer) == ["request.repeated"]
    (link,) = [str(each) for each in answer.context["messages"]]
    assert reverse("admin:runs_runrequest_change", args=[first.pk]) in link
    assert RunRequest.objects.count() == 4


def test_the_same_by_someone_else_or_run_again_on_purpose_is_no_repetition(
    requester: User, deployment: Deployment, login: Login
) -> None:
    send(login(person("colleague", "Operator")), deployment)
    client = login(requester)
    assert message_codes(client.get(send(client, deployment).url)) == []
    again = f"?again={RunRequest.objects.latest('pk').pk}"
    body = hidden(client.get(form_of(deployment) + again).content.decode()) | typed()
    assert message_codes(client.post(form_of(deployment) + again, body, follow=True)) == []
    assert RunRequest.objects.count() == 3


def test_later_is_a_moment_in_the_portals_time_zone(
    requester: User, deployment: Deployment, login: Login, settings: Any
) -> None:
    settings.TIME_ZONE = "Europe/Vienna"
    client = login(requester)
    assert "Europe/Vienna" in client.get(form_of(deployment)).content.decode()
    year = timezone.now().year + 1
    form = {"start": "later", "scheduled_for": f"{year}-01-31T14:30"}
    if datetime(year, 1, 31, tzinfo=UTC) > timezone.now() + timedelta(days=300):
        form["scheduled_for"] = (timezone.now() + timedelta(days=30)).strftime("%Y-%m-%dT14:30")
    send(client, deployment, **form)
    scheduled_for = RunRequest.objects.get().scheduled_for
    assert scheduled_for is not None
    assert timezone.localtime(scheduled_for).strftime("%Y-%m-%dT%H:%M") == form["scheduled_for"]


def test_a_moment_left_over_means_nothing_when_it_starts_now(
    requester: User, deployment: Deployment, login: Login
) -> None:
    send(login(requester), deployment, start="now", scheduled_for="1999-01-01T00:00")
    assert RunRequest.objects.get().scheduled_for is None


# Mistakes


def test_every_mistake_is_shown_at_once_beside_its_field_and_what_was_typed_stays(
    requester: User, prod_deployment: Deployment, login: Login
) -> None:
    answer = send(
        login(requester),
        prod_deployment,
        **{"parameters-month": "January", "parameters-rows": "5000", "start": "later", "run_name": "my run"},
    )
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Must be at most 1000" in page or "1000" in page[page.index("parameters-rows") :]
    assert 'value="January"' in page
    assert 'value="5000"' in page
    assert 'value="my run"' in page
    assert error_codes(answer.context["options"]) == {"scheduled_for": ["required"], "reason": ["required"]}
    assert len(re.findall(r'id="[^"]*_errors"', page)) == 2
    assert not RunRequest.objects.exists()


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ({"reason": "nul\0"}, {"reason": ["null_characters_not_allowed"]}),
        ({"run_name": "nul\0"}, {"run_name": ["null_characters_not_allowed"]}),
        ({"run_name": "x" * 201}, {"run_name": ["max_length"]}),
        ({"reason": "x" * 1001}, {"reason": ["max_length"]}),
        ({"tags": "x" * 101}, {"tags": ["tags.too_many"]}),
        ({"tags": ",".join(map(str, range(21)))}, {"tags": ["tags.too_many"]}),
        ({"start": "tomorrow"}, {"start": ["invalid_choice"]}),
        ({"start": "later", "scheduled_for": "soon"}, {"scheduled_for": ["time.format"]}),
        ({"start": "later", "scheduled_for": "2026-02-31T10:00"}, {"scheduled_for": ["time.format"]}),
        ({"start": "later", "scheduled_for": "0001-01-01T00:00"}, {"scheduled_for": ["start.past"]}),
        ({"start": "later", "scheduled_for": "1999-01-01T00:00"}, {"scheduled_for": ["start.past"]}),
        ({"start": "later", "scheduled_for": "nul\0"}, {"scheduled_for": ["time.format"]}),
    ],
)
def test_a_wrong_option_is_an_error_of_its_field(
    values: dict[str, str], codes: dict[str, list[str]], requester: User, deployment: Deployment, login: Login
) -> None:
    answer = send(login(requester), deployment, **values)
    assert problems(answer) == []
    assert error_codes(answer.context["options"]) == codes


@pytest.mark.parametrize("month", ["", "2026-01\0"])
def test_a_wrong_parameter_is_an_error_of_its_field(
    month: str, requester: User, deployment: Deployment, login: Login
) -> None:
    answer = send(login(requester), deployment, **{"parameters-month": month})
    assert problems(answer) == []
    assert re.findall(r'id="([^"]*)_errors"', answer.content.decode()) == ["id_parameters-month"]


def test_a_start_in_many_years_is_refused(requester: User, deployment: Deployment, login: Login) -> None:
    answer = send(login(requester), deployment, start="later", scheduled_for="9999-12-31T23:59")
    assert problems(answer) == ["start.too_far"]


def test_five_megabytes_are_refused(requester: User, deployment: Deployment, fake: FakePrefect, login: Login) -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    fake.change_deployment(deployment.prefect_id, parameter_schema=schema)
    sync.sync(deployment.environment)
    answer = send(login(requester), deployment, **{"parameters-text": "x" * 5_000_000})
    assert problems(answer) == []
    assert "parameter.too_large" in answer.content.decode()


def test_nine_megabytes_are_refused_before_they_are_read(requester: User, deployment: Deployment, login: Login) -> None:
    answer = send(login(requester), deployment, **{"parameters-month": "x" * 9_000_000})
    assert answer.status_code == 413
    assert b'data-status="413"' in answer.content
    assert not RunRequest.objects.exists()


def test_a_parameter_that_the_form_does_not_have_is_not_smuggled_in(
    requester: User, deployment: Deployment, login: Login
) -> None:
    send(login(requester), deployment, **{"parameters-extra": "1", "parameters-__prefect_kind": "jinja"})
    assert set(RunRequest.objects.get().spec.parameters) <= {"month", "rows", "token"}


def test_a_secret_is_not_shown_again(requester: User, deployment: Deployment, login: Login) -> None:
    answer = send(login(requester), deployment, **{"parameters-token": "opensesame", "parameters-month": "wrong"})
    assert answer.status_code == 200
    assert b"opensesame" not in answer.content


def test_a_row_is_added_and_nothing_is_judged_or_requested(
    requester: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    item = {"type": "object", "title": "Item", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": item}}, "required": ["items"]}
    fake.change_deployment(deployment.prefect_id, parameter_schema=schema)
    sync.sync(deployment.environment)
    client = login(requester)
    body = hidden(client.get(form_of(deployment)).content.decode()) | {"start": "later", "reason": "kept"}
    answer = client.post(form_of(deployment), {**body, "parameters-items-rows": "", "parameters-items-add": "true"})
    assert problems(answer) == []
    page = answer.content.decode()
    assert attributes(page, "data-row") == ["Item 1"]
    assert "kept</textarea>" in page
    assert not re.findall(r'id="[^"]*_errors"|errorlist', page)
    rows = {"parameters-items-rows": ["", "0"], "parameters-items.0.name": "a"}
    client.post(form_of(deployment), {**body, **rows, "start": "now"})
    assert RunRequest.objects.get().spec.parameters == {"items": [{"name": "a"}]}


# When something changed meanwhile


def test_parameters_that_changed_meanwhile_bring_the_new_form_with_what_was_typed(
    requester: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    client = login(requester)
    body = hidden(client.get(form_of(deployment)).content.decode()) | typed(**{"parameters-rows": "7"})
    schema = {**SCHEMA, "properties": {**SCHEMA["properties"], "dry_run": {"type": "boolean", "default": False}}}
    fake.change_deployment(deployment.prefect_id, parameter_schema=schema)
    sync.sync(deployment.environment)
    answer = client.post(form_of(deployment), body)
    assert problems(answer) == ["form.stale"]
    page = answer.content.decode()
    assert "dry_run" in page
    assert 'value="7"' in page
    client.post(form_of(deployment), body | hidden(page))
    assert RunRequest.objects.get().spec.parameters["rows"] == 7


def test_a_form_that_says_nothing_of_what_it_showed_is_shown_again(
    requester: User, deployment: Deployment, login: Login
) -> None:
    answer = login(requester).post(form_of(deployment), typed(submission_key=str(uuid.uuid4())))
    assert problems(answer) == ["form.stale"]


def test_one_that_is_gone_meanwhile_leads_to_its_page(
    requester: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    client = login(requester)
    body = hidden(client.get(form_of(deployment)).content.decode()) | typed()
    fake.remove_deployment(deployment.prefect_id)
    sync.sync(deployment.environment)
    answer = client.post(form_of(deployment), body, follow=True)
    assert answer.redirect_chain[0][0] == reverse("admin:flows_deployment_change", args=[deployment.pk])
    assert message_codes(answer) == ["deployment.gone"]
    assert not RunRequest.objects.exists()


def test_a_grant_that_ended_meanwhile_is_a_refusal(requester: User, deployment: Deployment, login: Login) -> None:
    client = login(requester)
    body = hidden(client.get(form_of(deployment)).content.decode()) | typed()
    requester.groups.clear()
    grants.grant(by=Actor.system(), person=requester, verbs=["see"])
    assert client.post(form_of(deployment), body).status_code == 403
    assert not RunRequest.objects.exists()


def test_a_server_that_is_down_is_shown_and_the_request_is_accepted(
    requester: User, deployment: Deployment, fake: FakePrefect, login: Login
) -> None:
    health.record(deployment.environment.server, Health.State.DOWN, "No answer.")
    fake.go_down()
    client = login(requester)
    page = client.get(form_of(deployment)).content.decode()
    assert f"trouble-{deployment.environment.pk}" in attributes(page, "data-key")
    assert "No answer." in page
    assert send(client, deployment).status_code == 302
    assert RunRequest.objects.count() == 1


# Links and protected environments


def test_a_link_fills_in_and_never_sends(requester: User, deployment: Deployment, login: Login) -> None:
    query = "?p.month=2026-03&p.rows=12&p.token=opensesame&p.nothing=1&tags=from-a-link&reason=mine"
    page = login(requester).get(form_of(deployment) + query).content.decode()
    assert 'value="2026-03"' in page
    assert 'value="12"' in page
    assert 'value="from-a-link"' in page
    assert "opensesame" not in page
    assert re.search(r"data-notice[^>]*>“nothing”", page)
    assert not RunRequest.objects.exists()


@pytest.mark.parametrize(
    "query", ["?p.month=%00", "?p.rows=%3Cscript%3Ealert(1)%3C/script%3E", "?p.=1", "?run_name=%00"]
)
def test_a_hostile_link_is_only_text(query: str, requester: User, deployment: Deployment, login: Login) -> None:
    answer = login(requester).get(form_of(deployment) + query)
    assert answer.status_code == 200
    assert b"<script>alert" not in answer.content


def test_a_protected_environment_is_announced_with_its_requirements(
    requester: User, prod_deployment: Deployment, login: Login
) -> None:
    page = login(requester).get(form_of(prod_deployment)).content.decode()
    banner = page[page.index('portal-banner" data-tone="amber"') :].partition("</div>")[0]
    assert "prod" in banner
    assert "1 approval" in banner


def test_what_needs_an_approval_waits(requester: User, deployment: Deployment, dev: Environment, login: Login) -> None:
    Environment.objects.update(needs_approval=True)
    client = login(requester)
    send(client, deployment, reason="Closing")
    assert RunRequest.objects.get().state == RunRequest.State.HELD


# Who may


def test_a_viewer_is_refused_with_the_reason(viewer: User, deployment: Deployment, login: Login) -> None:
    client = login(viewer)
    for answer in (client.get(form_of(deployment)), client.post(form_of(deployment), typed())):
        assert answer.status_code == 403
        assert decide(by(viewer), Verb.TRIGGER, deployment).sentence in answer.content.decode()
    assert not RunRequest.objects.exists()


def test_an_administrator_starts_nothing_without_a_grant(
    admin_user: User, deployment: Deployment, login: Login
) -> None:
    assert login(admin_user).get(form_of(deployment)).status_code == 403


def test_people_who_cannot_see_it_learn_nothing(stranger: User, deployment: Deployment, login: Login) -> None:
    answer = login(stranger).get(form_of(deployment))
    assert answer.status_code == 404
    assert b"monthly" not in answer.content


def test_without_the_forms_own_token_nothing_is_done(requester: User, deployment: Deployment) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(requester)
    answer = client.post(form_of(deployment), typed())
    assert answer.status_code == 403
    assert b'data-status="403"' in answer.content
    assert not RunRequest.objects.exists()


def test_a_request_is_in_the_audit_trail_with_its_grants(requester: User, deployment: Deployment, login: Login) -> None:
    send(login(requester), deployment)
    entry = AuditEntry.objects.get(verb="request.submit")
    assert (entry.actor_name, entry.channel, entry.outcome) == ("requester", "admin", "done")
    assert entry.after["grants"]


def test_the_cost_of_the_form(requester: User, deployment: Deployment, login: Login) -> None:
    must_be_agreed("run form", count(login(requester), form_of(deployment)))
