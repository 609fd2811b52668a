"""What does not protect the audit trail is said by `manage.py check`, on the audit trail and on the overview."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import checks
from django.db import connection
from django.test import Client
from django.urls import reverse

from flows.models import Environment
from portal.ops import database_checks
from runs import audit
from runs.actors import Actor
from runs.audit import partitions, protection
from tests.portal.page_elements import attributes

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
OVERVIEW, TRAIL = reverse("admin:index"), reverse("admin:runs_auditentry_changelist")


@pytest.fixture
def production(settings: Any) -> None:
    """Production with a key of its own; the role of the tests still owns the tables."""
    settings.PRODUCTION, settings.AUDIT_KEYS = True, ["a key of its own, with 48 random characters"]


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def ids() -> list[str]:
    return [str(each.id) for each in checks.run_checks(databases=["default"], tags=[checks.Tags.database])]


def test_the_triggers_of_the_database_are_those_that_must_be_there() -> None:
    """Fails for a new one: name it in runs/audit/protection.py, or a portal without it would count as protected."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0 "
            "AND tgrelid NOT IN (SELECT inhrelid FROM pg_inherits)"
        )
        found = set(cursor.fetchall())
    assert found == {(table, name) for table, names in protection.TRIGGERS.items() for name in names}


def test_a_demo_gets_a_notice_and_no_warning() -> None:
    assert ids() == ["portal.I001", "portal.I003"]
    assert not checks.run_checks(), "without --database nothing is asked of it"


def test_nothing_is_said_before_the_first_migrate() -> None:
    sql("ALTER TABLE runs_auditentry RENAME TO not_yet")
    assert ids() == []


@pytest.mark.usefixtures("production")
def test_production_warns_of_a_role_that_owns_the_tables() -> None:
    (warning,) = database_checks.check_protection()
    assert (warning.id, warning.level) == ("portal.W001", checks.WARNING)
    assert "UPDATE runs_auditentry" in warning.msg
    assert "secure_audit" in str(warning.hint)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("DROP TRIGGER four_eyes ON runs_approval", "runs_approval.four_eyes"),
        ("ALTER TABLE auth_user DISABLE TRIGGER record_version", "auth_user.record_version"),
        ("ALTER TABLE runs_changerequest ENABLE TRIGGER approved_by_enough", "runs_changerequest.approved_by_enough"),
        ("ALTER TABLE runs_runrequest ENABLE TRIGGER released", "runs_runrequest.released"),
        ("ALTER TABLE runs_rowversion ENABLE REPLICA TRIGGER append_only", "runs_rowversion.append_only"),
        ("DROP TRIGGER no_truncate ON runs_auditentry_from_1", "runs_auditentry_from_1.no_truncate"),
        ("ALTER TABLE runs_auditentry_from_1 DISABLE TRIGGER append_only", "runs_auditentry_from_1.append_only"),
    ],
)
def test_a_trigger_that_is_missing_or_can_be_switched_off_is_a_warning_everywhere(statement: str, named: str) -> None:
    assert protection.broken_triggers() == []
    sql(statement)
    assert protection.broken_triggers() == [named]
    assert ids()[0] == "portal.W002"


def test_a_new_part_of_the_trail_has_its_triggers() -> None:
    with audit.act("grant.give", None, by=Actor.system("test")):
        pass
    partitions.cut_here()
    assert protection.broken_triggers() == []


def test_the_trail_says_it_with_the_fix(login: Login, auditor: User) -> None:
    codes = attributes(login(auditor).get(TRAIL).content.decode(), "data-code")
    assert {"portal.W001", "portal.W003"} <= set(codes)


@pytest.mark.usefixtures("production")
def test_the_overview_alarms_administrators_and_auditors(
    login: Login, dev: Environment, admin_user: User, auditor: User, viewer: User
) -> None:
    for user, is_told in ((admin_user, True), (auditor, True), (viewer, False)):
        answer = login(user).get(OVERVIEW, secure=True)
        assert ("portal.W001" in answer.content.decode()) is is_told, user
        assert answer.status_code == 200


def test_the_overview_of_a_demo_has_no_alarm(login: Login, dev: Environment, admin_user: User) -> None:
    assert "portal.W001" not in login(admin_user).get(OVERVIEW).content.decode()
