"""The pages of environments: who may read and change them, and that a credential never comes back."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.catalog import health
from flows.models import Deployment, Environment, Health, WorkPool
from portal.ui.environment_status import LABELS, NEVER_READ, NO_CREDENTIAL, UNREACHABLE_SINCE, status_of
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.governance import configuration, grants
from runs.models import AuditEntry, QueuedTask
from tests.background import DELIVERS
from tests.cast import by
from tests.portal.page_elements import form_errors, message_codes, refusal_codes
from tests.refusals import refused

pytestmark = pytest.mark.django_db

LIST = reverse("admin:flows_environment_changelist")
ADD = reverse("admin:flows_environment_add")
SECRET = "robot:opensesame"
Login = Callable[[User], Client]
TYPED: dict[str, Any] = {
    "slug": "staging",
    "description": "",
    "position": 3,
    "is_active": "on",
    "api_url": "http://staging.test:4200/api",
    "ui_url": "",
    "credential_kind": "none",
    "new_credential": "",
    "approval_minutes": 60,
    "independence_hours": 24,
    "pending_minutes": 5,
    "late_minutes": 15,
    "silent_minutes": 60,
    "cancelling_minutes": 0,
    "keep_runs_days": 0,
    "keep_events_days": 0,
}


def queued() -> list[tuple[Any, ...]]:
    """What was asked of the background, as task and arguments."""
    return [(row.task, *json.loads(row.args)) for row in QueuedTask.objects.exclude(task=DELIVERS).order_by("pk")]


def page_of(environment: Environment) -> str:
    return reverse("admin:flows_environment_change", args=[environment.pk])


def delete_of(environment: Environment) -> str:
    return reverse("admin:flows_environment_delete", args=[environment.pk])


def keep_secret(environment: Environment) -> Environment:
    environment.server.credential_kind, environment.server.credential = "basic", SECRET
    environment.server.save()
    return environment


def last_entry() -> AuditEntry:
    return AuditEntry.objects.latest("sequence")


# Who may read


def test_a_viewer_sees_the_environments_of_their_grants_and_no_other(
    viewer: User, dev: Environment, prod: Environment, login: Login
) -> None:
    client = login(viewer)
    page = client.get(LIST).content.decode()
    assert ">dev<" in page
    assert "prod" not in page
    assert client.get(page_of(dev)).status_code == 200
    assert client.get(page_of(prod)).status_code == 404


def test_a_stranger_sees_none(stranger: User, dev: Environment, login: Login) -> None:
    client = login(stranger)
    assert client.get(LIST).status_code == 403
    assert client.get(page_of(dev)).status_code == 404


def test_whoever_is_only_kept_from_an_environment_does_not_see_it(
    viewer: User, dev: Environment, prod: Environment
) -> None:
    grants.grant(by=Actor.system(), person=viewer, verbs=["see"], effect="deny", environment=prod)
    assert list(Permissions.of_person(viewer).environments()) == [dev]
    grants.grant(by=Actor.system(), person=viewer, verbs=["see"], effect="deny", environment=dev)
    assert not Permissions.of_person(viewer).environments()


def test_a_deny_of_one_flow_hides_the_flow_and_not_the_environment(viewer: User, dev: Environment) -> None:
    grants.grant(by=Actor.system(), person=viewer, verbs=["see"], effect="deny", environment=dev, flow_name="monthly")
    assert list(Permissions.of_person(viewer).environments()) == [dev]


# The credential


@pytest.mark.parametrize("reader", ["viewer", "admin_user"])
def test_the_credential_is_on_no_page(
    request: pytest.FixtureRequest, dev: Environment, login: Login, reader: str
) -> None:
    keep_secret(dev)
    client = login(request.getfixturevalue(reader))
    for url in (LIST, page_of(dev), reverse("admin:index")):
        page = client.get(url).content.decode()
        assert "opensesame" not in page
        assert bytes(dev.server.sealed_credential).decode() not in page


def test_a_new_credential_is_stored_sealed_and_told_only_as_changed(
    admin_user: User, dev: Environment, login: Login
) -> None:
    typed = {
        **TYPED,
        "slug": "dev",
        "api_url": dev.server.api_url,
        "credential_kind": "basic",
        "new_credential": SECRET,
    }
    answer = login(admin_user).post(page_of(dev), typed)
    assert answer.status_code == 302
    dev.refresh_from_db()
    assert dev.server.credential == SECRET
    assert SECRET.encode() not in bytes(dev.server.sealed_credential)
    entry = last_entry()
    assert (entry.verb, entry.actor_name) == ("environment.change", "administrator")
    assert entry.after["credential"] == "changed"
    assert "opensesame" not in f"{entry.before}{entry.after}"


def test_left_empty_the_stored_credential_stays(admin_user: User, dev: Environment, login: Login) -> None:
    keep_secret(dev)
    typed = {**TYPED, "slug": "dev", "api_url": dev.server.api_url, "credential_kind": "basic"}
    assert login(admin_user).post(page_of(dev), typed).status_code == 302
    dev.refresh_from_db()
    assert dev.server.credential == SECRET
    assert "credential" not in last_entry().after


@pytest.mark.parametrize(
    "address",
    [
        *("http://elsewhere.test/api", "https://dev.test/api", "http://dev.test:4200/api"),
        # In Prefect Cloud all workspaces are on one host.
        *("http://dev.test/accounts/1/workspaces/2/api", "http://dev.test/api/other", "http://dev.test"),
    ],
)
def test_the_stored_credential_is_not_sent_to_another_address(
    admin_user: User, dev: Environment, login: Login, address: str
) -> None:
    keep_secret(dev)
    typed = {**TYPED, "slug": "dev", "api_url": address, "credential_kind": "basic"}
    answer = login(admin_user).post(page_of(dev), typed)
    assert form_errors(answer) == {("new_credential", "credential.reenter")}
    dev.refresh_from_db()
    assert dev.server.api_url == "http://dev.test/api"
    # The service refuses it too: the form is not its only caller.
    dev.server.api_url = address
    with refused("credential.reenter"):
        configuration.save_environment(dev, by=by(admin_user))


def test_a_trailing_slash_is_no_other_address(admin_user: User, dev: Environment, login: Login) -> None:
    keep_secret(dev)
    typed = {**TYPED, "slug": "dev", "api_url": f"{dev.server.api_url}/", "credential_kind": "basic"}
    assert login(admin_user).post(page_of(dev), typed).status_code == 302


def test_no_credential_any_more_means_that_it_is_forgotten(admin_user: User, dev: Environment, login: Login) -> None:
    keep_secret(dev)
    assert (
        login(admin_user).post(page_of(dev), {**TYPED, "slug": "dev", "api_url": dev.server.api_url}).status_code == 302
    )
    dev.refresh_from_db()
    assert bytes(dev.server.sealed_credential) == b""


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"credential_kind": "basic"}, ("new_credential", "missing")),
        ({"credential_kind": "basic", "new_credential": "nocolon"}, ("new_credential", "format")),
        ({"new_credential": SECRET}, ("credential_kind", "kind")),
        ({"api_url": "ftp://x/api"}, ("api_url", "invalid")),
        ({"ui_url": "javascript:alert(1)"}, ("ui_url", "invalid")),
        ({"api_url": "http://me:pw@x.test/api"}, ("api_url", "userinfo")),
        ({"api_url": "http://x.test/api?token=1"}, ("api_url", "query")),
        ({"slug": "with space"}, ("slug", "invalid")),
        ({"slug": "nul\0"}, ("slug", "null_characters_not_allowed")),
    ],
)
def test_an_invalid_value_is_shown_at_its_field(
    changed: dict[str, str], error: tuple[str, str], admin_user: User, login: Login
) -> None:
    answer = login(admin_user).post(ADD, TYPED | changed)
    assert answer.status_code == 200
    assert form_errors(answer) == {error}
    (message,) = answer.context["adminform"].form.errors[error[0]]
    assert html.escape(message) in answer.content.decode()
    assert b"opensesame" not in answer.content
    assert not Environment.objects.filter(slug="staging").exists()


def test_whoever_may_only_look_reads_the_rules_in_words(requester: User, prod: Environment, login: Login) -> None:
    answer = login(requester).get(page_of(prod))
    page = answer.content.decode()
    assert len(answer.context["rules"]) == sum([prod.is_protected, prod.needs_approval, prod.needs_reason, True])
    assert [rule for rule in answer.context["rules"] if html.escape(rule) not in page] == []
    assert "8 h" in page, "the approval timeout"
    assert "credential_kind" not in page


# Changing


def test_a_new_environment_is_audited_and_looked_at_at_once(admin_user: User, login: Login) -> None:
    answer = login(admin_user).post(ADD, TYPED)
    environment = Environment.objects.get(slug="staging")
    assert answer.url == page_of(environment)  # type: ignore[attr-defined]  # a redirect
    assert queued() == [("runs.tasks.sync", environment.server_id)]
    entry = last_entry()
    assert (entry.verb, entry.subject_name, entry.environment) == ("environment.create", "staging", "staging")


def test_the_form_begins_with_what_is_stored_and_saves_both_rows(
    admin_user: User, dev: Environment, login: Login
) -> None:
    keep_secret(dev)
    client = login(admin_user)
    form = client.get(page_of(dev)).context["adminform"].form
    assert (form["api_url"].value(), form["credential_kind"].value()) == ("http://dev.test/api", "basic")
    assert form["new_credential"].value() is None
    typed = {**TYPED, "slug": "test", "api_url": dev.server.api_url, "ui_url": "http://ui.test"}
    client.post(page_of(dev), typed | {"credential_kind": "basic"})
    dev.refresh_from_db()
    assert (dev.slug, dev.server.ui_url, dev.server.credential) == ("test", "http://ui.test", SECRET)
    assert last_entry().after.items() >= {"slug": "test", "ui_url": "http://ui.test"}.items()


def test_the_audit_trail_tells_what_was_and_what_is(admin_user: User, dev: Environment, login: Login) -> None:
    login(admin_user).post(
        page_of(dev), {**TYPED, "slug": "dev", "api_url": dev.server.api_url, "needs_approval": "on"}
    )
    entry = last_entry()
    assert entry.before["needs_approval"] is False
    assert entry.after["needs_approval"] is True
    assert "api_url" not in entry.after, "what did not change is not told"


@pytest.mark.parametrize("reader", ["viewer", "requester", "approver", "auditor"])
def test_nobody_else_changes_one(request: pytest.FixtureRequest, dev: Environment, login: Login, reader: str) -> None:
    client = login(request.getfixturevalue(reader))
    assert client.post(page_of(dev), {**TYPED, "slug": "mine"}).status_code == 403
    assert client.get(ADD).status_code == 403
    assert client.post(delete_of(dev), {"post": "yes"}).status_code == 403
    assert "new_credential" not in client.get(page_of(dev)).content.decode()
    assert Environment.objects.get(pk=dev.pk).slug == "dev"


def test_one_with_a_history_is_switched_off_not_deleted(admin_user: User, deployment: Deployment, login: Login) -> None:
    answer = login(admin_user).post(delete_of(deployment.environment), {"post": "yes"}, follow=True)
    assert refusal_codes(answer) == {"environment.in_use"}
    assert Environment.objects.filter(slug="dev").exists()
    assert (last_entry().verb, last_entry().outcome) == ("environment.delete", "refused")


def test_who_wants_to_delete_one_with_a_history_is_told_before_being_asked(
    admin_user: User, deployment: Deployment, login: Login
) -> None:
    answer = login(admin_user).get(delete_of(deployment.environment), follow=True)
    assert answer.redirect_chain[0][0] == page_of(deployment.environment)
    assert refusal_codes(answer) == {"environment.in_use"}
    assert Environment.objects.filter(pk=deployment.environment_id).exists()


def test_one_that_grants_name_is_not_deleted(
    admin_user: User, requester: User, prod: Environment, login: Login
) -> None:
    answer = login(admin_user).post(delete_of(prod), {"post": "yes"}, follow=True)
    assert refusal_codes(answer) == {"environment.in_use"}
    assert Environment.objects.filter(pk=prod.pk).exists()


def test_one_that_was_never_used_can_be_deleted(admin_user: User, dev: Environment, login: Login) -> None:
    health.health_of(dev.server)
    assert login(admin_user).post(delete_of(dev), {"post": "yes"}).status_code == 302
    assert not Environment.objects.exists()
    assert (last_entry().verb, last_entry().outcome) == ("environment.delete", "done")


def test_a_look_at_the_page_to_delete_deletes_nothing(admin_user: User, dev: Environment, login: Login) -> None:
    assert login(admin_user).get(delete_of(dev)).status_code == 200
    assert Environment.objects.exists()


# Health


@pytest.mark.parametrize(
    ("action", "task", "verb"),
    [
        ("check_connection", "runs.tasks.check", "environment.check"),
        ("read_now", "runs.tasks.sync", "environment.sync"),
    ],
)
def test_the_buttons_ask_the_background(
    action: str, task: str, verb: str, admin_user: User, dev: Environment, login: Login
) -> None:
    client = login(admin_user)
    client.post(page_of(dev), {"CHANGE_FORM-action": action, "_selected_action": dev.pk})
    assert queued() == [(task, dev.server_id)]
    QueuedTask.objects.all().delete()
    client.post(LIST, {"action": action, "_selected_action": dev.pk})
    assert queued() == [(task, dev.server_id)]
    assert AuditEntry.objects.filter(verb=verb, environment="dev").count() == 2


def test_a_disabled_environment_is_not_synced(admin_user: User, dev: Environment, login: Login) -> None:
    Environment.objects.update(is_active=False)
    answer = login(admin_user).post(LIST, {"action": "read_now", "_selected_action": dev.pk}, follow=True)
    assert message_codes(answer) == ["environment.inactive"]
    assert queued() == []


def test_who_sees_an_environment_finds_the_pages_that_only_prefect_has(
    viewer: User, stranger: User, dev: Environment, login: Login
) -> None:
    page = login(viewer).get(page_of(dev)).content.decode()
    for name in ("automations", "variables", "blocks", "concurrency-limits"):
        assert f'href="http://dev.test/{name}" target="_blank" rel="noopener noreferrer"' in page
    assert login(stranger).get(page_of(dev)).status_code == 404


def test_a_viewer_has_no_such_buttons(viewer: User, dev: Environment, login: Login) -> None:
    client = login(viewer)
    assert b'value="check_connection"' not in client.get(page_of(dev)).content
    forged = {"CHANGE_FORM-action": "check_connection", "_selected_action": dev.pk}
    assert client.post(page_of(dev), forged).status_code == 403
    assert client.post(LIST, {"action": "check_connection", "_selected_action": dev.pk}).status_code == 403
    assert queued() == []
    assert AuditEntry.objects.filter(verb="portal.refuse", actor_name="viewer").count() == 2


def test_down_is_said_with_its_message_and_what_to_do(viewer: User, dev: Environment, login: Login) -> None:
    health.record(dev.server, Health.State.DOWN, "No answer.")
    page = login(viewer).get(page_of(dev)).content.decode()
    assert 'data-state="down"' in page
    assert "No answer." in page
    assert "http://dev.test/api" in page


def test_a_wrong_credential_is_another_trouble_than_down(viewer: User, dev: Environment, login: Login) -> None:
    health.record(keep_secret(dev).server, Health.State.REFUSED, "401")
    page = login(viewer).get(LIST).content.decode()
    assert 'data-state="refused"' in page
    assert html.escape(LABELS["refused"][2]) in page
    # Without a credential that is what to do, not to correct one.
    dev.server.credential_kind, dev.server.credential = "none", ""
    dev.server.save()
    page = login(viewer).get(LIST).content.decode()
    assert 'data-state="refused"' in page
    assert all(html.escape(text) in page for text in NO_CREDENTIAL)
    assert html.escape(LABELS["refused"][2]) not in page


def test_an_outage_is_said_once_and_claims_no_data_that_was_never_read(dev: Environment) -> None:
    message = "Connection refused: could not get the server version at http://dev.test/api. Check the URL."
    health.record(dev.server, Health.State.DOWN, message)
    dev.server.refresh_from_db()
    assert status_of(dev).fix == NEVER_READ
    Health.objects.update(synced_at=timezone.now(), synced_for=[dev.pk])
    assert status_of(Environment.objects.get()).fix == UNREACHABLE_SINCE


# The name


def test_any_display_name_is_accepted_and_makes_the_name(admin_user: User, login: Login) -> None:
    client = login(admin_user)
    assert client.post(ADD, TYPED | {"slug": "", "display_name": "UX Staging: Wien"}).status_code == 302
    made = Environment.objects.get()
    assert (made.slug, made.display_name, str(made)) == ("ux-staging-wien", "UX Staging: Wien", "ux-staging-wien")
    assert "UX Staging: Wien" in client.get(LIST).content.decode()
    assert form_errors(client.post(ADD, TYPED | {"slug": "", "display_name": "環境"})) == {("slug", "required")}


@pytest.mark.parametrize("name", ["Prod", "P R O D", "prod\u200b", "\u0440rod", "\uff50\uff52\uff4f\uff44"])
def test_a_display_name_is_not_that_of_another(
    name: str, admin_user: User, prod: Environment, dev: Environment, login: Login
) -> None:
    answer = login(admin_user).post(ADD, TYPED | {"display_name": name})
    assert form_errors(answer) == {("display_name", "environment.display_name")}
    dev.display_name = name
    with refused("environment.display_name"):
        configuration.save_environment(dev, by=by(admin_user))
    # Nor is a new name the display name of another one.
    Environment.objects.filter(pk=dev.pk).update(display_name="Staging")
    assert form_errors(login(admin_user).post(ADD, TYPED)) == {("display_name", "environment.display_name")}


def test_health_that_nobody_looked_at_for_long_is_not_called_up(viewer: User, dev: Environment, login: Login) -> None:
    health.record(dev.server, Health.State.UP, "")
    Health.objects.update(checked_at=timezone.now() - timedelta(minutes=9))
    page = login(viewer).get(LIST).content.decode()
    assert 'data-state="overdue"' in page
    assert 'data-state="up"' not in page
    assert "9 minutes" in page


def test_what_the_server_says_is_only_text(viewer: User, dev: Environment, login: Login) -> None:
    health.record(dev.server, Health.State.DOWN, "<script>alert(1)</script>", version="<b>3</b>")
    WorkPool.objects.create(
        environment=dev,
        prefect_id=uuid4(),
        name="<img src=x>",
        type="<i>",
        status="READY",
        synced_at=timezone.now(),
    )
    client = login(viewer)
    for url in (LIST, page_of(dev), reverse("admin:index")):
        page = client.get(url).content.decode()
        assert "<script>alert" not in page
        assert "<img src=x>" not in page
        assert "<b>3</b>" not in page


def test_the_page_and_the_overview_say_how_far_a_first_reading_is(dev: Environment, viewer: User, login: Login) -> None:
    now = timezone.now()
    began = {"history_begun_at": now, "history_position": now - timedelta(days=6), "history_runs": 420_000}
    Health.objects.create(server=dev.server, synced_for=[dev.pk], synced_at=now, checked_at=now, state="up", **began)
    for address in (page_of(dev), reverse("admin:index")):
        page = html.unescape(login(viewer).get(address).content.decode())
        assert "20% of the last 30 days, 420,000 runs" in page


def test_a_scope_is_set_on_the_form(dev: Environment, admin_user: User, login: Login) -> None:
    scope = {"scope_kind": "tags", "scope_values": " one \n\n two\n"}
    typed = {**TYPED, "slug": "dev", "api_url": dev.server.api_url, **scope}
    address = reverse("admin:flows_environment_change", args=[dev.pk])
    login(admin_user).post(address, typed)
    dev.refresh_from_db()
    assert (dev.scope_kind, dev.scope_values) == ("tags", ["one", "two"])
    page = login(admin_user).get(address).content.decode()
    assert "one\ntwo" in page
    answer = login(admin_user).post(address, {**typed, "scope_values": ""})
    assert ("scope_values", "scope.values") in form_errors(answer)
    # A form without the fields keeps the scope.
    login(admin_user).post(address, {name: value for name, value in typed.items() if not name.startswith("scope")})
    dev.refresh_from_db()
    assert dev.scope_values == ["one", "two"]
