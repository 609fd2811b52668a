"""Row versions: the columns they record and the audit entry they belong to. With real commits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from flows.models import Environment
from portal.ui import versions as ui_versions
from runs import audit
from runs.actors import Actor
from runs.audit import partitions, retention
from runs.errors import Refused
from runs.governance import configuration
from runs.models import AuditEntry, RowVersion
from tests.cast import make_environment

ADA = Actor.system("ada")
# Columns that no version has: for secret ones only the change is recorded, for the others nothing.
SECRET = {
    "flows_server": {"sealed_credential"},
    "auth_user": {"password"},
    "runs_channel": {"sealed_address", "sealed_secret"},
}
IGNORED = {
    "auth_user": {"last_login"},
    "runs_serviceaccount": {"created_at", "created_by_name"},
    # The keyed hash moves to another pepper by itself, and the portal notes that it has notified the owner, and whether
    # they have permission.
    "runs_hook": {"created_at", "created_by_name", "pepper", "digest", "reminded_at", "obstacle"},
    "runs_eventrule": {"created_at", "match_key", "pepper", "digest", "reminded_at", "obstacle"},
    "runs_agent": {"created_at"},
    # What became of the last attempts.
    "runs_channel": {"created_at", "created_by_name", "failures", "next_attempt_at"},
}
# Tables that belong to a row of another table: memberships and permissions.
BELONGING = {link.through for links in ui_versions.LINKS.values() for link in links}


def query(statement: str, *values: object) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def allowed() -> dict[str, tuple[set[str], set[str]]]:
    """Table -> the columns that its trigger records, and the secret ones."""
    found = query(
        "SELECT tgrelid::regclass::text, encode(tgargs, 'escape') FROM pg_trigger "
        "WHERE tgfoid = 'record_version'::regproc AND NOT tgisinternal"
    )
    arguments = {table: text.split("\\000") for table, text in found}
    return {table: (set(recorded.split()), set(secret.split())) for table, (recorded, secret, _) in arguments.items()}


@pytest.mark.django_db
def test_every_column_is_recorded_or_named_as_not_to_be() -> None:
    """Fails for a new column: allow it in triggers.sql, or name it above."""
    models = {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}
    for table, (recorded, secret) in allowed().items():
        columns = {field.column for field in models[table]._meta.concrete_fields}
        assert secret == SECRET.get(table, set()), table
        assert recorded == columns - secret - IGNORED.get(table, set()), table


@pytest.mark.django_db
def test_the_tables_with_versions_are_the_ones_that_pages_show() -> None:
    assert set(allowed()) == {model._meta.db_table for model in ui_versions.VERSIONED | BELONGING}


@pytest.mark.django_db
def test_the_roles_of_the_installation_are_the_first_versions() -> None:
    first = ui_versions.versions_of(Group.objects.get(name="Operator"))[-1]
    assert (first.title, first.who, first.is_outside) == (ui_versions.LABELS["found"], "", False)
    assert [(each.path, each.after) for each in first.changes] == [("name", "Operator")]


@pytest.fixture
def dev(own_database: str) -> Environment:
    return make_environment("dev")


def change(environment: Environment, **columns: Any) -> None:
    for name, value in columns.items():
        setattr(environment, name, value)
    configuration.save_environment(environment, by=ADA)


def told(row: Any) -> list[tuple[str, str]]:
    return [(version.title, version.who) for version in ui_versions.versions_of(row)]


def created(who: str) -> list[tuple[str, str]]:
    """What is told of a new environment: its server has a version of its own."""
    return [("Added", who), ("Server added", who)]


def test_a_version_belongs_to_the_entry_of_its_transaction(dev: Environment) -> None:
    change(dev, needs_approval=True)
    Environment.objects.update(needs_reason=True)
    assert told(dev) == [("Changed", ui_versions.OUTSIDE), ("Changed", "ada"), *created(ui_versions.OUTSIDE)]
    newest = RowVersion.objects.filter(table_name="flows_environment", label="update").earliest("pk")
    assert newest.transaction == AuditEntry.objects.get(verb="environment.change").transaction


def test_what_follows_the_entry_in_its_transaction_does_not_belong_to_it(dev: Environment) -> None:
    with transaction.atomic():
        change(dev, needs_approval=True)
        Environment.objects.update(needs_reason=True)
    assert told(dev)[:2] == [("Changed", ui_versions.OUTSIDE), ("Changed", "ada")]


def test_two_acts_in_one_transaction_have_their_own_versions(dev: Environment) -> None:
    with transaction.atomic():
        change(dev, needs_approval=True)
        with audit.act("environment.freeze", dev, by=Actor.system("bob")):
            Environment.objects.update(needs_reason=True)
    assert told(dev)[:2] == [("Changed", "bob"), ("Changed", "ada")]


def test_a_refused_act_leaves_an_entry_and_no_version(dev: Environment) -> None:
    def refuse() -> None:
        with audit.act("environment.change", dev, by=ADA):
            Environment.objects.update(needs_reason=True)
            raise Refused("state.illegal", "Not today.")

    with pytest.raises(Refused):
        refuse()
    assert told(dev) == created(ui_versions.OUTSIDE)
    assert AuditEntry.objects.get().outcome == "refused"


def test_nobody_signs_a_version_by_a_setting(dev: Environment) -> None:
    signature = '{"actor": "anna", "verb": "environment.change", "reason": "agreed"}'
    query("SELECT set_config('pghistory.context_metadata', %s, false)", signature)
    Environment.objects.update(needs_approval=True)
    newest = ui_versions.versions_of(dev)[0]
    assert (newest.who, newest.how, newest.reason, newest.is_outside) == (ui_versions.OUTSIDE, "", "", True)


def test_an_entry_that_names_another_transaction_is_refused(dev: Environment) -> None:
    Environment.objects.update(needs_approval=True)
    version = RowVersion.objects.latest("pk")
    change(dev, needs_reason=True)
    entry = AuditEntry.objects.get()
    # In every other respect it is the next entry of the chain.
    entry.sequence, entry.previous_digest, entry.at = entry.sequence + 1, entry.digest, timezone.now()
    entry.transaction = version.transaction
    with pytest.raises(DatabaseError, match="must name the transaction that writes it"):
        entry.save(force_insert=True)
    assert told(dev)[1] == ("Changed", ui_versions.OUTSIDE)


def test_an_entry_of_a_later_time_with_the_same_number_is_not_meant(dev: Environment) -> None:
    """After a restore into a new server its transaction ids begin again."""
    change(dev, needs_approval=True)
    query("ALTER TABLE runs_rowversion DISABLE TRIGGER USER")
    RowVersion.objects.filter(label="update").update(created_at=datetime.now(UTC) - timedelta(days=90))
    assert ("Changed", ui_versions.OUTSIDE) in told(dev)


def test_a_version_whose_entry_was_retired_is_not_said_to_be_outside(dev: Environment) -> None:
    change(dev, needs_approval=True)
    partitions.cut_here()
    retention.retire(partitions.parts()[0], by=ADA)
    assert told(dev) == [("Changed", ui_versions.RETIRED), *created(ui_versions.RETIRED)]
    Environment.objects.update(needs_reason=True)
    assert told(dev)[0] == ("Changed", ui_versions.OUTSIDE)


def test_a_credential_and_another_column_in_one_update_are_two_versions(dev: Environment) -> None:
    dev.server.credential, dev.server.credential_kind = "portal:hunter22", "basic"
    change(dev)
    secret, plain = ui_versions.versions_of(dev)[:2]
    assert (secret.title, secret.changes) == ("Credential changed", ())
    assert [(each.path, each.before, each.after) for each in plain.changes] == [("credential_kind", "none", "basic")]


@pytest.mark.usefixtures("own_database")
def test_a_time_is_recorded_alike_in_every_time_zone() -> None:
    joined = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    person = User.objects.create_user("requester", date_joined=joined)
    query("SET timezone = 'America/New_York'")
    User.objects.update(first_name="Anna")
    versions = RowVersion.objects.filter(table_name="auth_user", row_pk=str(person.pk))
    assert {version.data["date_joined"] for version in versions} == {"2026-10-25T00:30:00+00:00"}


def test_many_sessions_change_rows_and_each_version_has_its_own_entry(dev: Environment, own_database: str) -> None:
    with psycopg.connect(own_database) as other:
        other.execute("UPDATE flows_environment SET description = 'by hand'")
        with audit.act("group.create", None, by=ADA):
            Group.objects.create(name="new")
        other.commit()
    assert told(dev)[0] == ("Changed", ui_versions.OUTSIDE)
    assert told(Group.objects.get(name="new")) == [("Added", "ada")]
