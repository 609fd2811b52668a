"""What goes wrong between a user and Prefect: each time a clear message, and nothing is lost."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import health, sync
from flows.models import Deployment, Environment, Server
from flows.parameters import Invalid
from flows.prefect_api.records import Unauthorized
from runs import dispatch, mirror, tasks
from runs import requests as runs_requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, Run, RunRequest, Verb
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes, error_codes, form_errors, refusal_codes

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
SCHEMA: dict[str, Any] = {
    "title": "Parameters",
    "type": "object",
    "properties": {
        "text": {"title": "text", "type": "string", "position": 0, "default": ""},
        "day": {"title": "day", "type": "string", "format": "date", "position": 1, "default": "2026-01-31"},
        "options": {"title": "options", "type": "object", "additionalProperties": True, "position": 2, "default": {}},
    },
}
TEMPLATED = '{"a": {"b": [{"__prefect_kind": "jinja", "template": "{{ variables.secret }}"}]}}'


@pytest.fixture
def odd(dev: Environment, fake: FakePrefect) -> Deployment:
    """A deployment that takes any text, a date, and any object."""
    record = fake.add_deployment(flow_name="odd", name="odd", parameter_schema=SCHEMA)
    sync.sync(dev)
    return Deployment.objects.select_related("environment").get(prefect_id=record.id)


@pytest.fixture
def client(requester: User, login: Login) -> Client:
    return login(requester)


def form_of(deployment: Deployment) -> str:
    return reverse("admin:flows_deployment_run", args=[deployment.pk])


def typed(deployment: Deployment, **values: str) -> dict[str, str]:
    """The form as a browser sends it; parameters by their names, the rest by theirs."""
    own = {"start", "scheduled_for", "run_name", "tags", "reason"}
    named = {name if name in own else f"parameters-{name}": value for name, value in values.items()}
    hidden = {"submission_key": str(uuid.uuid4()), "form_fingerprint": deployment.schema_fingerprint}
    return {"start": "now", "parameters-text": "", **hidden, **named}


def send(client: Client, deployment: Deployment, **values: str) -> str:
    """The page that follows."""
    answer = client.post(form_of(deployment), typed(deployment, **values), follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def runs_in(fake: FakePrefect) -> int:
    return sum(1 for _ in fake.active_flow_runs())


def page_of(client: Client, row: Environment | RunRequest | Deployment) -> str:
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return client.get(reverse(name, args=[row.pk])).content.decode()


# A wrong address, a wrong secret


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/api", "http://no-such-host.invalid/api"])
def test_a_wrong_address_is_named_with_what_to_do(
    admin_user: User, login: Login, odd: Deployment, settings: Any, address: str
) -> None:
    settings.PREFECT_CLIENT = "flows.prefect_api.connect.for_server"
    environment = odd.environment
    Server.objects.filter(environments=environment).update(api_url=address)
    tasks.sync(environment.server_id)
    page = page_of(login(admin_user), environment)
    assert 'data-state="down"' in page
    assert address in page
    assert not Deployment.objects.filter(environment=environment).exclude(deleted_upstream_at=None).exists()


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("prefect:4200", "invalid"),
        ("ftp://prefect/api", "invalid"),
        ("javascript:alert(1)", "invalid"),
        ("http:///api", "invalid"),
        ("http://prefect:port/api", "invalid"),
        ("http://prefect:70000/api", "invalid"),
        ("http://pre fect/api", "invalid"),
        ("http://<b>/api", "invalid"),
        ("http://[::1/api", "invalid"),
        ("http://user:word@prefect/api", "userinfo"),
        ("http://prefect/api?x=1", "query"),
        ("http://prefect/\0api", "null_characters_not_allowed"),
    ],
)
def test_an_address_that_cannot_be_is_refused_in_the_form(
    admin_user: User, login: Login, address: str, code: str
) -> None:
    body = {"slug": "new", "api_url": address, "position": 0, "credential_kind": "none"}
    limits = ("approval_minutes", "pending_minutes", "late_minutes", "silent_minutes", "cancelling_minutes")
    body |= dict.fromkeys(limits, 480) | {"independence_hours": 24, "keep_runs_days": 0, "keep_events_days": 0}
    answer = login(admin_user).post(reverse("admin:flows_environment_add"), body)
    assert form_errors(answer) == {("api_url", code)}
    assert not Environment.objects.exists()


@pytest.mark.parametrize(
    "address",
    [
        *("http://prefect:4200/api", "http://prefect.intranet:4200/api", "https://localhost/api"),
        *("http://10.0.0.5:4200/api", "http://[::1]:4200/api", "https://api.prefect.cloud/api/accounts/a/workspaces/b"),
    ],
)
def test_an_address_as_people_have_it_is_saved(admin_user: User, login: Login, address: str) -> None:
    body = {"slug": "new", "api_url": address, "position": 0, "credential_kind": "none"}
    limits = ("approval_minutes", "pending_minutes", "late_minutes", "silent_minutes", "cancelling_minutes")
    body |= dict.fromkeys(limits, 480) | {"independence_hours": 24, "keep_runs_days": 0, "keep_events_days": 0}
    assert login(admin_user).post(reverse("admin:flows_environment_add"), body).status_code == 302
    assert Environment.objects.get().server.api_url == address


def test_a_wrong_secret_is_told_from_a_server_that_is_down(
    admin_user: User, login: Login, odd: Deployment, fake: FakePrefect
) -> None:
    environment = odd.environment
    environment.server.credential = "portal:a-wrong-secret"
    environment.server.save()
    fake.go_down(Unauthorized("http://dev.test/api does not accept the credential."))
    tasks.sync(environment.server_id)
    page = page_of(login(admin_user), environment)
    assert 'data-state="refused"' in page
    assert "a-wrong-secret" not in page
    assert page_of(login(admin_user), odd).count(">odd<") > 1


# Prefect goes away in between


def test_a_server_that_stops_between_submit_and_launch_gets_one_run_when_it_is_back(
    client: Client, odd: Deployment, fake: FakePrefect
) -> None:
    send(client, odd, text="kept")
    run_request = RunRequest.objects.get()
    fake.go_down()
    tasks.launch(run_request.pk)
    health.check(odd.environment.server)
    page = page_of(client, run_request)
    run_request.refresh_from_db()
    assert run_request.next_attempt_at is not None
    assert run_request.message in page
    assert "kept" in page

    fake.come_back()
    RunRequest.objects.update(next_attempt_at=timezone.now())
    for _ in range(2):
        tasks.launch(run_request.pk)
    tasks.follow_up(run_request.environment_id)
    assert runs_in(fake) == 1
    assert Run.objects.get().parameters["text"] == "kept"


def test_an_answer_that_is_lost_gives_one_run(client: Client, odd: Deployment, fake: FakePrefect) -> None:
    send(client, odd, text="kept")
    run_request = RunRequest.objects.get()
    fake.lose_answer_of_next_create()
    tasks.launch(run_request.pk)
    run_request.refresh_from_db()
    assert run_request.next_attempt_at is not None
    assert run_request.message
    assert run_request.message in page_of(client, run_request)
    RunRequest.objects.update(next_attempt_at=timezone.now())
    tasks.launch(run_request.pk)
    run_request.refresh_from_db()
    assert run_request.flow_run_id is not None
    assert runs_in(fake) == 1


def test_a_deployment_deleted_while_its_form_was_open_is_named_as_gone(
    client: Client, odd: Deployment, fake: FakePrefect
) -> None:
    fake.remove_deployment(odd.prefect_id)
    sync.sync(odd.environment)
    answer = client.post(form_of(odd), typed(odd, text="kept"), follow=True)
    assert refusal_codes(answer) == {"deployment.gone"}
    assert not RunRequest.objects.exists()


def test_a_deployment_deleted_before_the_launch_closes_the_request_and_keeps_it(
    client: Client, odd: Deployment, fake: FakePrefect
) -> None:
    send(client, odd, text="kept")
    fake.remove_deployment(odd.prefect_id)
    run_request = RunRequest.objects.get()
    dispatch.launch(run_request)
    page = page_of(client, run_request)
    run_request.refresh_from_db()
    assert run_request.state == RunRequest.State.REFUSED
    assert run_request.message in page
    assert "kept" in page


# Values that may not be sent


def test_five_megabytes_of_parameters_are_refused_with_the_limit(client: Client, odd: Deployment) -> None:
    assert 'data-code="parameter.too_large"' in send(client, odd, text="x" * 5_000_000)
    assert not RunRequest.objects.exists()


def test_more_than_a_page_takes_is_answered_with_a_sentence(client: Client, odd: Deployment) -> None:
    answer = client.post(form_of(odd), typed(odd, text="x" * 9_000_000))
    assert answer.status_code == 413
    assert 'data-status="413"' in answer.content.decode()
    assert "512 kB" in answer.content.decode()


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"tekst": "1"}, "parameter.unknown"),
        ({"options": {"a": {"b": [{"__prefect_kind": "jinja"}]}}}, "parameter.prefect_kind"),
        ({"day": "2026-02-30"}, "parameter.format"),
        ({"text": "x" * 600_000}, "parameter.too_large"),
        ({"text": "a\0b"}, "parameter.not_storable"),
    ],
)
def test_a_value_that_may_not_be_sent_is_refused_before_prefect_and_in_the_trail(
    requester: User, odd: Deployment, fake: FakePrefect, values: Mapping[str, Any], code: str
) -> None:
    with pytest.raises(Invalid) as caught:
        runs_requests.submit(odd, values, by=by(requester))
    assert [error.code for error in caught.value.errors] == [code]
    assert str(caught.value) in AuditEntry.objects.get(verb="request.submit", outcome="refused").message
    assert not any(call.method == "create_flow_run" for call in fake.calls)


def test_a_link_with_an_unknown_parameter_says_that_it_is_left_out(client: Client, odd: Deployment) -> None:
    page = client.get(f"{form_of(odd)}?p.tekst=1&p.text=kept").content.decode()
    assert re.search(r"data-notice[^>]*>“tekst”", page)
    assert "\nkept</textarea>" in page


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("day", "2026-02-30", "parameter.format"),
        ("options", TEMPLATED, "parameter.prefect_kind"),
        ("options", "{not json", "parameter.json"),
        ("text", "a\0b", "parameter.not_storable"),
        ("run_name", "a\0b", "null_characters_not_allowed"),
        ("tags", "a\0b", "null_characters_not_allowed"),
        ("reason", "a\0b", "null_characters_not_allowed"),
        ("scheduled_for", "2026-13-01T00:00", "time.format"),
        ("tags", "x" * 101, "tags.too_many"),
    ],
)
def test_what_is_wrong_is_said_in_the_form_and_the_rest_stays_typed(
    client: Client, odd: Deployment, name: str, value: str, code: str
) -> None:
    kept = {each: f"kept {each}" for each in ("text", "run_name") if each != name}
    start = "later" if name == "scheduled_for" else "now"
    answer = client.post(form_of(odd), typed(odd, start=start, **kept, **{name: value}))
    assert answer.status_code == 200
    page = answer.content.decode()
    codes = error_codes(answer.context["options"]).get(name, []) + attributes(page, "data-code")
    assert code in codes
    assert all(each in page for each in kept.values())
    assert not RunRequest.objects.exists()


@pytest.fixture
def keys(odd: Deployment, fake: FakePrefect, requester: User, admin_user: User) -> dict[str, int]:
    """One row for every door that asks for a reason, all open to the administrator."""
    Environment.objects.filter(pk=odd.environment_id).update(needs_approval=True)
    waiting = runs_requests.submit(odd, {}, by=by(requester))
    grant = grants.grant(by=Actor.system(), person=admin_user, verbs=list(Verb))
    mirror.refresh(odd.environment, [fake.add_run(odd.prefect_id, state_type="RUNNING").id])
    requests = {f"runs_runrequest_{door}": waiting.pk for door in ("approve", "reject", "withdraw")}
    others = {"runs_run_cancel": Run.objects.get().pk, "flows_deployment_pause": odd.pk, "runs_grant_revoke": grant.pk}
    return requests | others


@pytest.mark.parametrize(
    "door",
    [
        *("runs_runrequest_approve", "runs_runrequest_reject", "runs_runrequest_withdraw"),
        *("runs_run_cancel", "flows_deployment_pause", "runs_grant_revoke"),
    ],
)
@pytest.mark.parametrize("reason", ["month\0end", "x" * 5000, "<b>&\u202e"])
def test_an_odd_reason_is_kept_or_refused_but_no_error(
    keys: dict[str, int], admin_user: User, login: Login, door: str, reason: str
) -> None:
    before = AuditEntry.objects.count()
    answer = login(admin_user).post(reverse(f"admin:{door}", args=[keys[door]]), {"reason": reason}, follow=True)
    assert answer.status_code == 200
    codes = {each.extra_tags for each in answer.context["messages"]}
    assert AuditEntry.objects.count() == before + 1 or codes == {"reason.too_long"}
