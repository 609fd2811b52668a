"""Rules and accounts that are changed past the portal raise an alarm. With real commits: each transaction counts."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Environment
from runs import audit, tasks
from runs.actors import Actor, Channel
from runs.governance import accounts, configuration, grants, outside_changes
from runs.models import AuditEntry, Grant, Policy, RowVersion
from runs.models.notification import Topic
from tests.background import notices
from tests.cast import make_environment, person

Login = Callable[[User], Client]
SYSTEM = Actor.system("test")


@pytest.fixture
def prod(own_database: str) -> Environment:
    """A protected environment, with what it needs; nothing of it is new."""
    with audit.act("environment.create", None, by=SYSTEM):
        make_environment("dev")
        make_environment("spare", is_active=False)
        prod = make_environment("prod", is_protected=True)
        person("ada", is_superuser=True)
        person("axel", "Auditor")
        person("vera", "Viewer")
        # The entry is written after all of it.
    with audit.act("environment.create", prod, by=SYSTEM):
        Environment.objects.filter(pk=prod.pk).update(description="Production")
    assert outside_changes.report() == 0
    return prod


def alarms() -> list[tuple[str, str]]:
    """Environment and subject of what was reported."""
    rows = AuditEntry.objects.filter(verb=outside_changes.VERB).order_by("sequence")
    return list(rows.values_list("environment", "subject_kind"))


def sql(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


CHANGES: dict[str, tuple[str, str]] = {
    "environment": ("environment", "UPDATE flows_environment SET needs_approval = true WHERE slug = 'prod'"),
    "protection": ("environment", "UPDATE flows_environment SET is_protected = false WHERE slug = 'prod'"),
    "address": (
        "environment",
        "UPDATE flows_server SET api_url = 'http://x/api' WHERE api_url = 'http://prod.test/api'",
    ),
    "credential": (
        "environment",
        "UPDATE flows_server SET sealed_credential = 'x' WHERE api_url = 'http://prod.test/api'",
    ),
    "other server": (
        "environment",
        "UPDATE flows_environment SET server_id = (SELECT server_id FROM flows_environment WHERE slug = 'spare') "
        "WHERE slug = 'prod'",
    ),
    "administrator": ("person", "UPDATE auth_user SET is_superuser = true WHERE username = 'vera'"),
    "disabled": ("person", "UPDATE auth_user SET is_active = false WHERE username = 'axel'"),
    "email address": ("person", "UPDATE auth_user SET email = 'eve@example.com' WHERE username = 'axel'"),
    "password": ("person", "UPDATE auth_user SET password = 'x' WHERE username = 'axel'"),
    "account": (
        "person",
        "INSERT INTO auth_user (username, password, is_superuser, first_name, last_name, email, is_staff, is_active, "
        "date_joined) VALUES ('ghost', '', false, '', '', '', true, true, now())",
    ),
    "membership": (
        "person",
        "INSERT INTO auth_user_groups (user_id, group_id) SELECT u.id, g.id FROM auth_user u, auth_group g "
        "WHERE u.username = 'vera' AND g.name = 'Approver'",
    ),
    "permission": (
        "group",
        "INSERT INTO auth_group_permissions (group_id, permission_id) SELECT g.id, min(p.id) FROM auth_group g, "
        "auth_permission p WHERE g.name = 'Viewer' GROUP BY g.id",
    ),
    "service account": (
        "person",
        "INSERT INTO runs_serviceaccount (user_id, owner_id, purpose, created_by_name) SELECT u.id, o.id, '', '' "
        "FROM auth_user u, auth_user o WHERE u.username = 'vera' AND o.username = 'axel'",
    ),
    "agent": (
        "agent",
        "INSERT INTO runs_agent (name, owner_id, purpose, requests_per_day, requests_at_once, stopped_by_name, "
        "stopped_why, stopped_by_administrator) SELECT 'a', id, '', 1, 1, '', '', false FROM auth_user "
        "WHERE username = 'vera'",
    ),
    "stop of all agents": (
        "stop of all agents",
        "INSERT INTO runs_agentstop (why, stopped_by_name, lifted_by_name, lifted_at) VALUES ('', '', '', now())",
    ),
    "group": ("group", "UPDATE auth_group SET name = 'Watcher' WHERE name = 'Viewer'"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_past_the_portal_is_reported_once(prod: Environment, name: str) -> None:
    kind, statement = CHANGES[name]
    sql(statement)
    for _ in range(2):
        tasks.report_outside_changes()
    assert alarms() == [("prod", kind)]
    entry = AuditEntry.objects.get(verb=outside_changes.VERB)
    assert entry.after["environments"] == ["prod"]
    assert entry.actor_kind == "system"
    told = notices().filter(topic=Topic.RULES).order_by("person__username")
    assert set(told.values_list("person__username", flat=True)) <= {"ada", "axel", "vera"}
    assert "ada" in told.values_list("person__username", flat=True)
    assert "outside the portal" in told[0].subject
    assert audit.verify()


def test_rules_of_any_environment_count_and_those_of_another_do_not(prod: Environment) -> None:
    for environment in (None, prod, Environment.objects.get(slug="dev")):
        Policy.objects.create(name=f"for {environment}", environment=environment)
    Grant.objects.create(person=User.objects.get(username="vera"), verbs=["see"], environment=prod)
    assert outside_changes.report() == 3
    assert alarms() == [("prod", "policy"), ("prod", "policy"), ("prod", "grant")]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE auth_user SET first_name = 'Vera', last_login = now()",
        "UPDATE flows_environment SET needs_reason = true WHERE slug = 'dev'",
        "UPDATE flows_server SET sealed_credential = 'x' WHERE api_url = 'http://dev.test/api'",
    ],
)
def test_what_opens_nothing_raises_no_alarm(prod: Environment, statement: str) -> None:
    sql(statement)
    assert outside_changes.report() == 0


def test_without_a_protected_environment_there_is_nothing_to_report(own_database: str) -> None:
    """The first administrator is made by createsuperuser."""
    call_command("createsuperuser", username="first", email="", interactive=False)
    assert outside_changes.report() == 0


def test_a_superuser_made_on_the_command_line_is_reported(prod: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct horse")
    call_command("createsuperuser", username="ghost", email="", interactive=False)
    assert outside_changes.report() == 1
    assert AuditEntry.objects.latest("sequence").subject_name == "person ghost (insert)"


def test_an_administrator_made_by_our_command_is_not_and_neither_is_their_password(prod: Environment) -> None:
    call_command("new_administrator", "ghost", "--reason=ada left", stdout=io.StringIO())
    ghost = User.objects.get(username="ghost")
    accounts.reset_password(ghost, "new-horse-battery", by=Actor.person(ghost, channel=Channel.ADMIN))
    assert outside_changes.report() == 0


def test_a_change_through_the_portal_is_not_reported(prod: Environment) -> None:
    prod.needs_approval = True
    configuration.save_environment(prod, by=SYSTEM)
    grants.grant(by=SYSTEM, group=Group.objects.get(name="Viewer"), verbs=["see"], environment=prod)
    assert outside_changes.report() == 0


@pytest.mark.usefixtures("own_database")
def test_what_the_demo_sets_up_is_not_reported(capsys: pytest.CaptureFixture[str]) -> None:
    for port in (4200, 4201, 4201):
        call_command(
            "demo_cast", environment=[f"dev=http://127.0.0.1:{port}/api", f"prod=http://127.0.0.1:{port}0/api"]
        )
        assert outside_changes.report() == 0
    verbs = AuditEntry.objects.exclude(actor_name="portal").values_list("verb", flat=True)
    assert [verb for verb in verbs.order_by("sequence") if verb.startswith("environment")] == [
        *["environment.create"] * 2,
        *["environment.change"] * 2,
    ]


def test_what_follows_the_entry_in_its_transaction_is_reported(prod: Environment) -> None:
    with transaction.atomic():
        grants.grant(by=SYSTEM, group=Group.objects.get(name="Viewer"), verbs=["see"], environment=prod)
        sql(CHANGES["administrator"][1])
    assert outside_changes.report() == 1


@pytest.mark.parametrize("verb", ["person.change", outside_changes.VERB])
def test_an_entry_that_the_portal_did_not_sign_hides_nothing(prod: Environment, settings: Any, verb: str) -> None:
    ours = settings.AUDIT_KEYS
    with transaction.atomic():
        sql(CHANGES["administrator"][1])
        settings.AUDIT_KEYS = ["somebody else's key, of 48 random characters"]
        with audit.act(verb, None, by=Actor.system("ada")) as act:
            act.after = {"transaction": RowVersion.objects.latest("pk").transaction}
    settings.AUDIT_KEYS = ours
    assert outside_changes.report() == 1


def test_a_long_transaction_is_reported_when_it_commits(prod: Environment, own_database: str) -> None:
    """Its versions have lower keys, and an earlier time, than those of changes that were reported before."""
    with psycopg.connect(own_database) as other:
        other.execute(CHANGES["administrator"][1])
        sql(CHANGES["environment"][1])
        assert outside_changes.report() == 1
        other.commit()
    assert outside_changes.report() == 1
    assert alarms() == [("prod", "environment"), ("prod", "person")]


def test_what_is_older_than_a_week_is_not_compared(prod: Environment) -> None:
    sql("ALTER TABLE runs_rowversion DISABLE TRIGGER USER")
    sql(CHANGES["administrator"][1])
    sql("UPDATE runs_rowversion SET created_at = %s", timezone.now() - timedelta(days=8))
    assert outside_changes.report() == 0


def test_administrators_and_auditors_see_it_on_the_overview(prod: Environment, login: Login) -> None:
    sql(CHANGES["environment"][1])
    outside_changes.report()
    sequence = AuditEntry.objects.latest("sequence").pk
    grants.grant(by=SYSTEM, group=Group.objects.get(name="Viewer"), verbs=["see"], environment=prod)
    for name, is_shown in (("ada", True), ("axel", True), ("vera", False)):
        text = login(User.objects.get(username=name)).get(reverse("admin:index")).content.decode()
        assert (f'data-key="outside-{sequence}"' in text) is is_shown, name
