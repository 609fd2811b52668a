"""The confirmation page: what it shows, what is typed, and the draft that travels through it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows import encryption
from flows.catalog import sync
from flows.models import Deployment, Environment
from runs.actors import Actor
from runs.governance import freezes, grants
from runs.models import AuditEntry, Freeze, Policy, RunRequest, Window
from tests.cast import SCHEMA, by, person
from tests.fakes.prefect import FakePrefect
from tests.portal.forms import confirm, fill_in, form_of, hidden
from tests.portal.many_rows import many_runs
from tests.portal.page_elements import attributes, error_codes

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
NAME = "monthly/monthly"


def shown(answer: Any) -> str:
    assert answer.status_code == 200
    return str(answer.content.decode())


def problems(answer: Any) -> list[str]:
    """The codes of what is wrong with the whole form."""
    return attributes(shown(answer), "data-error")


def field_errors(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 200
    return error_codes(answer.context["options"])


@pytest.fixture
def client(requester: User, login: Login) -> Client:
    return login(requester)


@pytest.fixture
def closed(prod: Environment) -> Environment:
    """Prod, frozen until tomorrow."""
    until = timezone.now() + timedelta(days=1)
    freezes.freeze(prod, by=by(person("boss", is_superuser=True)), reason="Year end", until=until)
    return prod


def policy(environment: Environment, **columns: Any) -> Policy:
    return Policy.objects.create(environment=environment, name=f"Policy {Policy.objects.count()}", **columns)


# What is shown


def test_the_page_shows_everything_that_would_run(client: Client, prod_deployment: Deployment) -> None:
    (last,) = many_runs(prod_deployment, 1, parameters={"month": "2025-12", "rows": 7}, ended_at=timezone.now())
    answer = fill_in(client, prod_deployment, reason="Closing", **{"parameters-rows": "9"})
    page = " ".join(shown(answer).split())
    for piece in ("monthly in prod", "Closing", "2026-01", "1 approval", 'name="confirmation"'):
        assert piece in page
    assert f'<a href="/admin/runs/run/{last.pk}/change/">Last successful run</a>' in page
    assert (
        '<tr class="is-different"> <td><span class="portal-code">rows</span></td> <td><span class="portal-code">9<'
        in page
    )
    row = page[page.index('<span class="portal-code">rows</span>') :].partition("</tr>")[0]
    assert row.count("data-differs") == 2, "from the default and from the last run"
    assert not RunRequest.objects.exists()


def test_no_secret_is_in_the_page_but_it_arrives(client: Client, prod_deployment: Deployment) -> None:
    answer = fill_in(client, prod_deployment, reason="Closing", **{"parameters-token": "opensesame"})
    page = shown(answer)
    assert "opensesame" not in page
    assert "secret, not compared" in page
    assert confirm(client, prod_deployment, page, NAME).status_code == 302
    run_request = RunRequest.objects.get()
    assert "opensesame" in encryption.unseal(run_request.spec.sealed_parameters)
    assert "opensesame" not in client.get(f"/admin/runs/runrequest/{run_request.pk}/change/").content.decode()


def test_everything_typed_before_arrives(client: Client, prod_deployment: Deployment, approver: User) -> None:
    later = timezone.localtime(timezone.now() + timedelta(days=2)).replace(second=0, microsecond=0)
    form = {
        "start": "later",
        "scheduled_for": f"{later:%Y-%m-%dT%H:%M}",
        "reason": "Closing",
        "ticket": "OPS-1",
        "run_name": "January",
        "tags": "a, b",
        "on_behalf_of": "approver",
    }
    page = shown(fill_in(client, prod_deployment, **form))
    confirm(client, prod_deployment, page, NAME)
    found = RunRequest.objects.get()
    assert (found.scheduled_for, found.change.reason, found.change.ticket, found.spec.run_name) == (
        later,
        "Closing",
        "OPS-1",
        "January",
    )
    assert (found.spec.tags, found.change.on_behalf_of) == (["a", "b"], approver)


# What is typed


@pytest.mark.parametrize("word", ["", "month", "prod", "MONTHLY/MONTHLY", "\0"])
def test_another_name_shows_the_page_again(word: str, client: Client, prod_deployment: Deployment) -> None:
    page = shown(fill_in(client, prod_deployment, reason="Closing"))
    answer = confirm(client, prod_deployment, page, word)
    assert problems(answer) == ["confirmation.mismatch"]
    again = shown(answer)
    assert not RunRequest.objects.exists()
    assert confirm(client, prod_deployment, again, f" {NAME} ").status_code == 302


def test_a_double_click_is_one_request(client: Client, prod_deployment: Deployment) -> None:
    page = shown(fill_in(client, prod_deployment, reason="Closing"))
    first, second = (confirm(client, prod_deployment, page, NAME) for _ in range(2))
    assert first.url == second.url
    assert RunRequest.objects.count() == 1


def test_changing_something_brings_the_form_back_with_its_secret_kept(
    client: Client, prod_deployment: Deployment
) -> None:
    secret = {"parameters-token": "opensesame", "parameters-rows": "9"}
    page = shown(fill_in(client, prod_deployment, reason="Closing", tags="a", **secret))
    form = shown(confirm(client, prod_deployment, page, "", change="1"))
    assert 'value="9"' in form
    assert "Closing" in form
    assert "opensesame" not in form
    body = {"start": "now", "reason": "Closing", "parameters-month": "2026-02", "parameters-rows": "9"}
    page = shown(client.post(form_of(prod_deployment), {**body, "parameters-token": "", **hidden(form)}))
    confirm(client, prod_deployment, page, NAME)
    found = RunRequest.objects.get()
    assert found.spec.parameters["month"] == "2026-02"
    assert "opensesame" in encryption.unseal(found.spec.sealed_parameters)


def test_an_open_environment_requires_no_name(client: Client, deployment: Deployment) -> None:
    assert fill_in(client, deployment).status_code == 302


def test_a_policy_can_require_a_name_too(client: Client, deployment: Deployment) -> None:
    policy(deployment.environment, needs_confirmation=True)
    page = shown(fill_in(client, deployment))
    assert confirm(client, deployment, page, NAME).status_code == 302


# What travels in between


def test_a_draft_is_valid_for_its_user_only(
    client: Client, requester: User, prod: Environment, prod_deployment: Deployment, login: Login
) -> None:
    page = shown(fill_in(client, prod_deployment, reason="Closing"))
    other = person("other", "Operator")
    grants.grant(by=Actor.system(), person=other, verbs=["see", "trigger"], environment=prod)
    assert problems(confirm(login(other), prod_deployment, page, NAME)) == ["form.expired"]
    assert not RunRequest.objects.exists()


@pytest.mark.parametrize("draft", ["", "nonsense", "x" * 5000])
def test_an_unreadable_draft_shows_the_form(draft: str, client: Client, prod_deployment: Deployment) -> None:
    body = {"draft": draft, "confirmation": NAME}
    assert problems(client.post(form_of(prod_deployment), body)) == ["form.expired"]


def test_other_encrypted_values_are_no_drafts(client: Client, prod_deployment: Deployment) -> None:
    for text in ('{"user": 1}', "[]", '"portal:password"', "portal:password"):
        body = {"draft": encryption.seal(text).decode(), "confirmation": NAME}
        assert problems(client.post(form_of(prod_deployment), body)) == ["form.expired"]


def test_a_draft_is_valid_for_half_an_hour(
    client: Client, prod_deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shown(fill_in(client, prod_deployment, reason="Closing"))
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(minutes=31))
    assert problems(confirm(client, prod_deployment, page, NAME)) == ["form.expired"]
    assert not RunRequest.objects.exists()


def test_parameters_that_changed_meanwhile_bring_the_form_back(
    client: Client, prod_deployment: Deployment, prod_fake: FakePrefect
) -> None:
    page = shown(fill_in(client, prod_deployment, reason="Closing"))
    schema = {**SCHEMA, "properties": {**SCHEMA["properties"], "dry_run": {"type": "boolean", "default": False}}}
    prod_fake.change_deployment(prod_deployment.prefect_id, parameter_schema=schema)
    sync.sync(prod_deployment.environment)
    answer = confirm(client, prod_deployment, page, NAME)
    assert problems(answer) == ["form.stale"]
    assert "dry_run" in shown(answer)
    assert not RunRequest.objects.exists()


# What will be refused needs no confirmation


def test_a_grant_for_other_values_is_explained_on_the_form_and_recorded(
    viewer: User, deployment: Deployment, dev: Environment, login: Login
) -> None:
    only = {"properties": {"rows": {"maximum": 10}}}
    grants.grant(by=Actor.system(), person=viewer, verbs=["trigger"], environment=dev, predicate=only)
    policy(dev, needs_confirmation=True)
    answer = fill_in(login(viewer), deployment, **{"parameters-rows": "50"})
    assert problems(answer) == ["access.values"]
    assert 'value="50"' in shown(answer)
    assert AuditEntry.objects.get(verb="request.submit").outcome == "refused"


# Tickets, windows and acting for others


def test_a_ticket_is_required_and_checked(client: Client, deployment: Deployment) -> None:
    policy(deployment.environment, needs_ticket=True, ticket_pattern="^OPS-[0-9]+$")
    answer = fill_in(client, deployment)
    assert field_errors(answer) == {"ticket": ["required"]}
    assert "for example OPS-123" in shown(answer)
    assert field_errors(fill_in(client, deployment, ticket="BUG 7")) == {"ticket": ["ticket.pattern"]}
    assert fill_in(client, deployment, ticket="OPS-7").status_code == 302
    assert RunRequest.objects.get().change.ticket == "OPS-7"


def test_a_ticket_is_a_link_on_the_page_that_is_confirmed(client: Client, prod_deployment: Deployment) -> None:
    policy(prod_deployment.environment, ticket_link="https://tickets.example/{ticket}")
    page = shown(fill_in(client, prod_deployment, reason="Closing", ticket="../x?y"))
    assert 'href="https://tickets.example/..%2Fx%3Fy"' in page


def test_people_without_an_account_cannot_be_acted_for(client: Client, deployment: Deployment) -> None:
    answer = fill_in(client, deployment, on_behalf_of="nobody-here")
    assert field_errors(answer) == {"on_behalf_of": ["user.unknown"]}
    assert '<details class="portal-more" open>' in shown(answer)


def test_a_freeze_is_shown_with_its_end_and_what_happens_meanwhile(
    client: Client, prod_deployment: Deployment, closed: Environment
) -> None:
    form = shown(client.get(form_of(prod_deployment)))
    freeze = Freeze.objects.get()
    assert freeze.until is not None
    banner = form[form.index("data-outside-window") :].partition("</div>")[0]
    for piece in ("boss", "Year end", f"{timezone.localtime(freeze.until).day}"):
        assert piece in banner
    assert attributes(form, "data-outside-window") == ["wait"]
    assert 'name="overrides"' not in form
    page = shown(fill_in(client, prod_deployment, reason="Closing"))
    assert "Year end" in page[page.index('data-key="closed"') :].partition("</div>")[0]


def test_an_override_requires_its_permission_and_a_reason(
    client: Client, requester: User, deployment: Deployment, dev: Environment
) -> None:
    Window.objects.create(environment=dev, name="Never", effect="deny", cron="* * * * *", minutes=5)
    grants.grant(by=Actor.system(), person=requester, verbs=["override freeze"], environment=dev)
    assert 'name="overrides"' in shown(client.get(form_of(deployment)))
    assert field_errors(fill_in(client, deployment, overrides="on")) == {"reason": ["window.reason_required"]}
    assert fill_in(client, deployment, overrides="on", reason="Fire").status_code == 302
    assert RunRequest.objects.get().overridden_by_name == "requester"


def test_an_override_without_permission_is_ignored(client: Client, deployment: Deployment, dev: Environment) -> None:
    Window.objects.create(environment=dev, name="Never", effect="deny", cron="* * * * *", minutes=5)
    assert fill_in(client, deployment, overrides="on", reason="Fire").status_code == 302
    assert RunRequest.objects.get().overridden_at is None


def test_where_a_policy_refuses_outside_the_form_says_so(
    client: Client, deployment: Deployment, dev: Environment
) -> None:
    Window.objects.create(environment=dev, name="Never", effect="deny", cron="* * * * *", minutes=5)
    policy(dev, outside_window="refuse", needs_confirmation=True)
    assert attributes(shown(client.get(form_of(deployment))), "data-outside-window") == ["refuse"]
    assert problems(fill_in(client, deployment)) == ["window.closed"]
    assert AuditEntry.objects.get(verb="request.submit").outcome == "refused"


def test_stages_are_named_in_their_order(client: Client, deployment: Deployment, dev: Environment) -> None:
    stages = [{"needed": 1, "group": "Approver"}, {"needed": 1, "group": "Release manager"}]
    policy(dev, stages=stages, risk="high")
    form = shown(client.get(form_of(deployment)))
    assert re.search("2 approvals.*Approver.*Release manager", form)
    assert "High risk" in form


def test_people_who_can_only_schedule_are_offered_later(
    viewer: User, deployment: Deployment, dev: Environment, login: Login
) -> None:
    grants.grant(by=Actor.system(), person=viewer, verbs=["trigger later"], environment=dev)
    client = login(viewer)
    form = shown(client.get(form_of(deployment)))
    assert 'value="later"' in form
    assert 'value="now"' not in form
    later = f"{timezone.localtime(timezone.now() + timedelta(days=1)):%Y-%m-%dT%H:%M}"
    assert fill_in(client, deployment, start="later", scheduled_for=later).status_code == 302


# Quick runs


@pytest.fixture
def plain(prod: Environment, prod_fake: FakePrefect) -> Deployment:
    """A deployment in prod that needs no parameter, where prod wants no reason."""
    Environment.objects.filter(pk=prod.pk).update(needs_reason=False)
    record = prod_fake.add_deployment(flow_name="plain", name="plain", parameter_schema={"type": "object"})
    sync.sync(prod)
    return Deployment.objects.select_related("environment").get(prefect_id=record.id)


def test_a_quick_run_is_confirmed_with_the_name_of_the_environment(client: Client, plain: Deployment) -> None:
    page = shown(client.post(f"/admin/flows/deployment/{plain.pk}/quick-run/"))
    assert '<span class="portal-code">prod</span>' in page
    assert not RunRequest.objects.exists()
    answer = confirm(client, plain, page, "plain/plain")
    assert problems(answer) == ["confirmation.mismatch"]
    again = shown(answer)
    assert confirm(client, plain, again, "prod").status_code == 302
    assert RunRequest.objects.count() == 1


def test_several_quick_runs_are_confirmed_together(client: Client, plain: Deployment) -> None:
    def post(**data: Any) -> str:
        body = {"action": "quick_run_selected", "_selected_action": [plain.pk], "index": "0", **data}
        return client.post("/admin/flows/deployment/", body, follow=True).content.decode()

    assert 'name="confirmation-prod"' in post()
    wrong = post(**{"reason": "Month end", "confirmation-prod": "dev"})
    assert attributes(wrong, "data-error") == ["confirmation.mismatch"]
    assert "Month end" in wrong
    assert not RunRequest.objects.exists()
    post(**{"reason": "", "confirmation-prod": "prod"})
    assert RunRequest.objects.count() == 1
