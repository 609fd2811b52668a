"""The story of one row on its own page: its audit entries and its versions, for readers of the audit trail only."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client, override_settings
from django.urls import reverse

from flows.models import Alias, Deployment, Environment
from portal.ui import versions as ui_versions
from runs import audit, dispatch, mirror, requests
from runs.governance import accounts, configuration, grants
from runs.models import AuditEntry, Grant, RowVersion, Run
from runs.models.audit_verbs import VERBS
from tests.cast import by
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
TRAIL, VERSIONS = 'data-panel="audit"', 'data-panel="versions"'
MD5 = override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"])


def page(client: Client, row: object, name: str) -> str:
    answer = client.get(reverse(f"admin:{name}_change", args=[row.pk]))  # type: ignore[attr-defined]  # any row
    assert answer.status_code == 200
    return answer.content.decode()


def raw(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


# The trail


@pytest.fixture
def launched(deployment: Deployment, fake: FakePrefect, requester: User, dev: Environment) -> Run:
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester), reason="month end")
    dispatch.launch(run_request)
    mirror.sync(dev)
    return Run.objects.get()


def test_a_run_and_its_request_tell_one_story(login: Login, admin_user: User, launched: Run) -> None:
    client = login(admin_user)
    for row, name in ((launched, "runs_run"), (launched.run_request, "runs_runrequest")):
        text = page(client, row, name)
        assert TRAIL in text
        for words in (VERBS["request.submit"], VERBS["request.launch"], "month end"):
            assert words in text.partition(TRAIL)[2]


def test_the_link_leads_to_all_of_it(login: Login, admin_user: User, launched: Run) -> None:
    client = login(admin_user)
    text = page(client, launched, "runs_run")
    address = f"/admin/runs/auditentry/?subject=run%3A{launched.pk}%2Crunrequest%3A{launched.run_request.pk}"
    assert f'href="{address}"' in text
    found = client.get(address).context["cl"].result_list
    assert [entry.verb for entry in found] == ["request.launch", "request.submit"]


def test_whoever_may_not_read_the_trail_sees_nothing_of_it(
    login: Login, requester: User, viewer: User, launched: Run, deployment: Deployment
) -> None:
    for person in (requester, viewer):
        for row, name in ((launched, "runs_run"), (deployment, "flows_deployment")):
            assert TRAIL not in page(login(person), row, name)


def test_a_person_shows_what_they_did_and_what_was_done_to_them(
    login: Login, admin_user: User, requester: User, launched: Run
) -> None:
    requester.first_name = "Anna"
    accounts.save_person(requester, groups=requester.groups.all(), by=by(admin_user))
    text = page(login(admin_user), requester, "auth_user").partition(TRAIL)[2]
    assert VERBS["request.submit"] in text
    assert VERBS["person.change"] in text


def test_ten_entries_are_shown_and_the_rest_is_a_link(login: Login, admin_user: User, deployment: Deployment) -> None:
    for number in range(12):
        with audit.act("deployment.pause", deployment, by=by(admin_user), reason=f"reason {number}."):
            pass
    text = page(login(admin_user), deployment, "flows_deployment")
    assert text.partition(TRAIL)[2].count(VERBS["deployment.pause"]) == 10
    assert "reason 11." in text
    assert "reason 1." not in text
    assert f"?subject=deployment%3A{deployment.pk}" in text


# Versions


def test_a_change_through_the_portal_says_what_and_who(login: Login, admin_user: User, dev: Environment) -> None:
    dev.needs_approval = True
    configuration.save_environment(dev, by=by(admin_user))
    newest = ui_versions.versions_of(dev)[0]
    assert (newest.title, newest.who, newest.how) == ("Changed", "administrator", VERBS["environment.change"])
    assert [(each.path, each.before, each.after) for each in newest.changes] == [("needs_approval", "false", "true")]
    text = page(login(admin_user), dev, "flows_environment")
    assert VERSIONS in text
    assert "needs_approval" in text


@pytest.mark.usefixtures("single_administrator")
def test_a_loosened_rule_is_named_once(admin_user: User, prod: Environment) -> None:
    prod.needs_reason = False
    configuration.save_environment(prod, by=by(admin_user), reason="a trial", confirm="prod")
    newest = ui_versions.versions_of(prod)[0]
    assert [each.path for each in newest.changes] == ["needs_reason"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE flows_environment SET is_protected = true",
        lambda: Environment.objects.update(is_protected=True),
        lambda: Environment.objects.bulk_update([changed(Environment.objects.get())], ["is_protected"]),
    ],
)
def test_a_change_past_the_portal_shows_too(dev: Environment, change: str | Callable[[], object]) -> None:
    raw(change) if isinstance(change, str) else change()
    newest = ui_versions.versions_of(dev)[0]
    assert (newest.title, newest.who, newest.is_outside) == ("Changed", ui_versions.OUTSIDE, True)
    assert [(each.path, each.after) for each in newest.changes] == [("is_protected", "true")]


def changed(environment: Environment) -> Environment:
    environment.is_protected = True
    return environment


def test_what_follows_an_act_in_one_transaction_is_not_signed_by_it(dev: Environment, admin_user: User) -> None:
    dev.needs_approval = True
    configuration.save_environment(dev, by=by(admin_user))
    raw("UPDATE flows_environment SET needs_reason = true")
    assert ui_versions.versions_of(dev)[0].is_outside


def test_a_deleted_row_leaves_its_last_version(dev: Environment, deployment: Deployment) -> None:
    alias = Alias.objects.create(environment=dev, name="month-end", full_name=deployment.full_name)
    pk = alias.pk
    Alias.objects.filter(pk=pk).delete()
    alias.pk = pk
    deleted, added = ui_versions.versions_of(alias)
    assert (deleted.title, added.title) == ("Deleted", "Added")
    assert ("name", "month-end", "") in [(each.path, each.before, each.after) for each in deleted.changes]


def test_a_grant_that_somebody_widened_by_hand_shows(login: Login, admin_user: User, requester: User) -> None:
    grant = Grant.objects.get(person=requester)
    raw(f"UPDATE runs_grant SET verbs = '{{see,approve}}' WHERE id = {grant.pk}")
    text = page(login(admin_user), grant, "runs_grant")
    assert ui_versions.OUTSIDE in text.partition(VERSIONS)[2]
    assert "approve" in text.partition(VERSIONS)[2]


def test_groups_that_come_and_go_are_versions_of_a_person_and_of_the_group(stranger: User, admin_user: User) -> None:
    group = Group.objects.get(name="Approver")
    accounts.save_person(stranger, groups=[group], by=by(admin_user))
    stranger.groups.clear()
    titles = [(each.title, each.who, [one.path for one in each.changes]) for each in ui_versions.versions_of(stranger)]
    assert titles[:2] == [("Removed", ui_versions.OUTSIDE, ["group"]), ("Added", "administrator", ["group"])]
    assert ui_versions.versions_of(group)[0].changes[0].before == "stranger"


@MD5
def test_of_a_password_only_that_it_changed_is_kept(login: Login, stranger: User) -> None:
    stranger.set_password("right-horse")
    stranger.save()
    newest = ui_versions.versions_of(stranger)[0]
    assert (newest.title, newest.changes) == ("Password changed", ())
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(v::text, '') FROM runs_rowversion v WHERE table_name = 'auth_user'")
        assert stranger.password not in cursor.fetchone()[0]


def test_of_a_credential_only_that_it_changed_is_kept(dev: Environment, admin_user: User) -> None:
    dev.server.credential = "portal:hunter22"
    configuration.save_environment(dev, by=by(admin_user))
    newest = ui_versions.versions_of(dev)[0]
    assert (newest.title, newest.who) == ("Credential changed", "administrator")
    versions = list(RowVersion.objects.filter(table_name__startswith="flows_"))
    assert not [version for version in versions if "sealed_credential" in version.data]
    assert dev.server.sealed_credential.hex() not in repr([version.data for version in versions])


def test_signing_in_is_no_version(stranger: User) -> None:
    before = len(ui_versions.versions_of(stranger))
    raw("UPDATE auth_user SET last_login = now()")
    assert len(ui_versions.versions_of(stranger)) == before


def test_versions_are_for_readers_of_the_trail(login: Login, viewer: User, dev: Environment) -> None:
    assert VERSIONS not in page(login(viewer), dev, "flows_environment")


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "{{ 7|add:7 }}"])
def test_a_version_is_shown_and_not_run(login: Login, admin_user: User, dev: Environment, text: str) -> None:
    Environment.objects.update(description=text)
    shown = page(login(admin_user), dev, "flows_environment")
    assert "<script>alert" not in shown


# One's own password


PASSWORD = reverse("admin:password_change")


@pytest.fixture
def otto(db: None) -> User:
    with MD5:
        return User.objects.create_user("otto", password="right-horse-battery", is_staff=True)


def change(client: Client, old: str, new: str, again: str | None = None) -> AuditEntry:
    client.post(PASSWORD, {"old_password": old, "new_password1": new, "new_password2": again or new})
    return AuditEntry.objects.latest("sequence")


@MD5
def test_changing_ones_own_password_is_audited(login: Login, otto: User) -> None:
    entry = change(login(otto), "right-horse-battery", "staple-correct-99")
    assert (entry.verb, entry.outcome, entry.actor_name) == ("person.own_password", "done", "otto")
    assert (entry.subject_kind, entry.subject_id) == ("person", str(otto.pk))
    newest = ui_versions.versions_of(otto)[0]
    assert (newest.title, newest.who, newest.how) == ("Password changed", "otto", VERBS["person.own_password"])
    assert "staple" not in repr(AuditEntry.objects.values())


@MD5
@pytest.mark.parametrize(
    ("old", "new", "again"), [("wrong", "staple-correct-99", None), ("right-horse-battery", "staple-correct-99", "x")]
)
def test_a_refused_change_of_ones_password_is_audited(
    login: Login, otto: User, old: str, new: str, again: str | None
) -> None:
    entry = change(login(otto), old, new, again)
    assert (entry.verb, entry.outcome) == ("person.own_password", "refused")
    assert entry.message
    otto.refresh_from_db()
    assert otto.check_password("right-horse-battery")


@MD5
def test_a_password_that_an_administrator_sets_is_signed(login: Login, admin_user: User, otto: User) -> None:
    url = reverse("admin:auth_user_password_change", args=[otto.pk])
    login(admin_user).post(url, {"password1": "staple-correct-99", "password2": "staple-correct-99"})
    assert AuditEntry.objects.latest("sequence").verb == "person.password"
    newest = ui_versions.versions_of(otto)[0]
    assert (newest.title, newest.who) == ("Password changed", "administrator")


def test_looking_at_the_form_is_no_entry(login: Login, otto: User) -> None:
    assert login(otto).get(PASSWORD).status_code == 200
    assert not AuditEntry.objects.exists()


def test_a_grant_is_signed_by_whoever_gave_it(admin_user: User, stranger: User, dev: Environment) -> None:
    grant = grants.grant(by=by(admin_user), person=stranger, verbs=["see"], environment=dev, reason="new here")
    (version,) = ui_versions.versions_of(grant)
    assert (version.who, version.how, version.reason) == ("administrator", VERBS["grant.give"], "new here")
    assert ("environment", "", "dev") in [(each.path, each.before, each.after) for each in version.changes]
