"""The portal's own database role can run the portal, but not rewrite the audit trail."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Model
from django.utils import timezone
from psycopg import errors, sql

from flows.catalog import sync
from flows.models import Deployment
from runs import audit, changes, dispatch, key_rotation, mirror, requests
from runs.actors import Actor
from runs.governance import freezes, grants
from runs.models import (
    Approval,
    BreakGlass,
    ChangeRequest,
    RunRequest,
    RunSpec,
    change_request,
    request,
    run_spec,
)
from runs.models.approval import REVIEWED
from runs.models.request import State
from tests.cast import ANSWERS, ASKS, FAKES, SCHEMA, by, make_environment, person
from tests.fakes.prefect import FakePrefect
from tests.tampering import REFUSED, forge_entry, outcome_of


@pytest.fixture
def role(own_database: str) -> Iterator[str]:
    """A role's name that only this test uses; roles belong to the server, not to a database."""
    name = f"app_{urlsplit(own_database).path.strip('/')}"[:60]
    yield name
    with psycopg.connect(own_database, autocommit=True) as session:
        session.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        session.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def session(own_database: str, role: str, tmp_path: Path) -> Iterator[psycopg.Connection]:
    """A connection as that role."""
    password = tmp_path / "password"
    password.write_text("it's a 'secret'\n")
    for _ in range(2):  # after every migrate it is run again
        call_command("secure_audit", role, password_file=password)
    with audit.act("grant.give", None, by=Actor.system("test")):
        pass
    with psycopg.connect(own_database, user=role, password="it's a 'secret'", autocommit=True) as found:
        yield found


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("update the entries", "UPDATE runs_auditentry SET reason = 'better'"),
        ("delete the entries", "DELETE FROM runs_auditentry"),
        ("truncate the trail", "TRUNCATE runs_auditentry"),
        ("disable the triggers of the trail", "ALTER TABLE runs_auditentry DISABLE TRIGGER USER"),
        ("drop the trail", "DROP TABLE runs_auditentry"),
        ("drop a part", "DROP TABLE runs_auditentry_from_1"),
        ("truncate a part", "TRUNCATE runs_auditentry_from_1"),
        ("delete from a part", "DELETE FROM runs_auditentry_from_1"),
        ("insert into a part", "INSERT INTO runs_auditentry_from_1 SELECT * FROM runs_auditentry"),
        ("detach a part", "ALTER TABLE runs_auditentry DETACH PARTITION runs_auditentry_from_1"),
        ("cut the last part at will", "SELECT audit_cut_here()"),
        (
            "replace the function that cuts",
            "CREATE OR REPLACE FUNCTION audit_cut() RETURNS text LANGUAGE sql AS 'SELECT 1::text'",
        ),
        ("forge a checkpoint", "INSERT INTO runs_auditcheckpoint (first, last) VALUES (1, 1)"),
        ("delete from the history of grants", "DELETE FROM runs_rowversion WHERE table_name = 'runs_grant'"),
        ("update the history of persons", "UPDATE runs_rowversion SET data = '{}' WHERE table_name = 'auth_user'"),
        (
            "write a version of a row",
            "INSERT INTO runs_rowversion (table_name, row_pk, label, data, transaction, created_at) "
            "VALUES ('auth_group', '1', 'update', '{}', 1, now())",
        ),
        (
            "hang the trigger for versions on a table of one's own",
            "CREATE TEMPORARY TABLE auth_group (id int, name text); CREATE TRIGGER forge "
            "AFTER INSERT ON auth_group FOR EACH ROW EXECUTE FUNCTION record_version('id name', '')",
        ),
        ("change an approval", "UPDATE runs_approval SET approved = true"),
        ("delete an approval", "DELETE FROM runs_approval"),
        ("delete an approval that is not there", "DELETE FROM runs_approval WHERE false"),
        ("delete a request", "DELETE FROM runs_runrequest"),
        ("edit a request", "UPDATE runs_changerequest SET reason = 'better'"),
        ("edit who requested", "UPDATE runs_changerequest SET state = 'approved', requested_by_id = 1"),
        ("edit a bypass", "UPDATE runs_breakglass SET until = now() + interval '1 day'"),
        ("delete a bypass", "DELETE FROM runs_breakglass"),
        ("delete a comment", "DELETE FROM runs_comment"),
        ("change a comment", "UPDATE runs_comment SET text = 'Looks fine.'"),
        ("drop the trigger for versions", "DROP TRIGGER record_version ON auth_user"),
        ("disable the trigger for versions", "ALTER TABLE auth_user DISABLE TRIGGER USER"),
        ("drop a trigger of the trail", "DROP TRIGGER append_only ON runs_auditentry"),
        ("switch triggers off for the session", "SET session_replication_role = replica"),
        ("create a table", "CREATE TABLE mine (id int)"),
        ("delete applied migrations", "DELETE FROM django_migrations"),
    ],
)
def test_the_role_cannot_change_the_trail(session: psycopg.Connection, name: str, statement: str) -> None:
    assert outcome_of("the portal's database role", name) == REFUSED
    with pytest.raises((errors.InsufficientPrivilege, errors.UndefinedObject)):
        session.execute(statement)


NEXT = {
    "sequence": "sequence + 1",
    "previous_digest": "digest",
    "at": "clock_timestamp()",
    "transaction": "pg_current_xact_id()::text::bigint",
}


def add_entry(session: psycopg.Connection, **columns: str) -> None:
    """Add an entry that says anna approved, as the role may, with these SQL expressions in it."""
    session.execute("SET timezone = 'UTC'")
    written = {**NEXT, "actor_name": "'anna'", "verb": "'request.approve'", **columns}
    names = [name for (name,) in session.execute(COLUMNS_OF_ENTRIES).fetchall()]
    values = ", ".join(written.get(name, name) for name in names)
    session.execute(
        f"INSERT INTO runs_auditentry ({', '.join(names)}) SELECT {values} FROM runs_auditentry "
        "ORDER BY sequence DESC LIMIT 1".encode()
    )


COLUMNS_OF_ENTRIES = "SELECT attname FROM pg_attribute WHERE attrelid = 'runs_auditentry'::regclass AND attnum > 0"


@pytest.mark.parametrize(
    "columns",
    [
        {"at": "'2020-01-01T12:00:00Z'"},
        {"at": "'2099-01-01T12:00:00Z'"},
        {"at": "clock_timestamp() - interval '1 minute'"},
        {"sequence": "9223372036854775807"},
        {"sequence": "sequence + 2"},
        {"sequence": "0"},
        {"previous_digest": "repeat('0', 64)"},
        {"previous_digest": "'x'"},
        {"transaction": "1"},
    ],
)
def test_the_role_adds_no_entry_of_another_time_place_or_transaction(
    session: psycopg.Connection, columns: dict[str, str]
) -> None:
    with pytest.raises(errors.CheckViolation):
        add_entry(session, **columns)
    # The portal goes on.
    with audit.act("grant.give", None, by=Actor.system("test")):
        pass
    assert audit.verify().entries == 2


def test_entries_of_one_statement_follow_each_other(own_database: str) -> None:
    audit.record_many([audit.Act("run.appeared", None, Actor.system(), subject_name=str(n)) for n in range(600)])
    assert audit.verify().entries == 600


def test_the_role_can_do_what_the_portal_does(session: psycopg.Connection) -> None:
    assert session.execute("SELECT count(*) FROM runs_auditentry").fetchone() == (1,)
    session.execute("INSERT INTO auth_group (name) VALUES ('new')")
    session.execute("UPDATE auth_group SET name = 'newer' WHERE name = 'new'")
    session.execute("DELETE FROM auth_group WHERE name = 'newer'")
    session.execute("LISTEN portal_live")
    session.execute("SELECT pg_notify('portal_live', '{}'), pg_advisory_lock(1)")


def test_the_role_can_give_the_last_part_an_end_when_it_is_time(session: psycopg.Connection) -> None:
    assert session.execute("SELECT audit_cut()").fetchone() == ("",)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE runs_auditentry DISABLE TRIGGER USER")
        cursor.execute("UPDATE runs_auditentry SET at = at - interval '40 days'")
        cursor.execute("ALTER TABLE runs_auditentry ENABLE TRIGGER USER")
    # The function does not operate on another role's table of the same name.
    session.execute("CREATE TEMPORARY TABLE runs_auditentry (sequence bigint, at timestamptz)")
    assert session.execute("SELECT audit_cut()").fetchone() == ("runs_auditentry_from_1",)
    for statement in ("UPDATE runs_auditentry_from_2 SET reason = ''", "SELECT * FROM runs_auditentry_from_2"):
        with pytest.raises(errors.InsufficientPrivilege):
            session.execute(statement)


def test_what_the_role_changes_has_a_history(session: psycopg.Connection) -> None:
    session.execute("INSERT INTO auth_group (name) VALUES ('new')")
    query = "SELECT label, transaction FROM runs_rowversion WHERE data ->> 'name' = 'new'"
    label, transaction = session.execute(query).fetchone() or ("", 0)
    assert label == "insert"
    entries = "SELECT count(*) FROM runs_auditentry WHERE transaction = %s"
    assert session.execute(entries, [transaction]).fetchone() == (0,)


def test_a_role_that_owns_the_table_is_refused(own_database: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        (owner,) = cursor.fetchone()
    with pytest.raises(CommandError, match="can still UPDATE runs_auditentry, DELETE runs_auditentry"):
        call_command("secure_audit", owner)


def test_so_is_one_that_may_become_the_owner(own_database: str, role: str) -> None:
    """Without inheritance it has no right of the owner's until it says SET ROLE."""
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE ROLE "{role}" LOGIN NOINHERIT')
        cursor.execute(
            f'GRANT CURRENT_USER TO "{role}"'.replace("CURRENT_USER", f'"{connection.settings_dict["USER"]}"')
        )
    with pytest.raises(CommandError, match="can still UPDATE runs_auditentry"):
        call_command("secure_audit", role)


@pytest.mark.parametrize(
    ("model", "locked", "changed"),
    [
        (ChangeRequest, change_request.FROZEN, change_request.CHANGED),
        (RunSpec, run_spec.FROZEN, run_spec.CHANGED),
        (RunRequest, request.FROZEN, request.CHANGED),
        (BreakGlass, ["change", "by", "by_name", "at", "until", "reason", "signature"], REVIEWED),
    ],
)
def test_every_column_is_locked_or_one_that_services_change(
    model: type[Model], locked: list[str], changed: list[str]
) -> None:
    # A generated column follows those that it is made of, and nothing writes it.
    columns = [field.name for field in model._meta.concrete_fields if not (field.primary_key or field.generated)]
    unplaced = set(columns) - {*locked, *changed}
    assert not unplaced, f"Name each in the list of locked columns or in that of changed ones: {unplaced}"
    assert sorted([*locked, *changed]) == sorted(columns)


# The portal as that role


@pytest.fixture
def world(own_database: str) -> RunRequest:
    """A request that waits in prod; requester, approver and reviewer with all that they need."""
    prod = make_environment("prod", needs_approval=True)
    fake = FAKES.setdefault(prod.server.api_url, FakePrefect())
    fake.add_deployment(flow_name="monthly", name="monthly", parameter_schema=SCHEMA)
    sync.sync(prod)
    for name, verbs in {
        "requester": [*ASKS, "override freeze"],
        "approver": [*ANSWERS, "break glass"],
        "reviewer": [*ANSWERS, "manage"],
    }.items():
        grants.grant(by=Actor.system(), person=person(name), verbs=verbs, environment=prod)
    return submit()


def submit() -> RunRequest:
    deployment = Deployment.objects.select_related("environment").get()
    values = {"month": "2026-10", "token": "s"}
    return requests.submit(deployment, values, by=user("requester"), reason="month end")


def user(name: str) -> Actor:
    return by(User.objects.get(username=name))


@pytest.fixture
def as_role(own_database: str, world: RunRequest, role: str, tmp_path: Path) -> Iterator[None]:
    """Django's own connection is that role's."""
    password = tmp_path / "password"
    password.write_text("secret")
    call_command("secure_audit", role, password_file=password)
    before = connection.settings_dict["USER"], connection.settings_dict["PASSWORD"]
    connection.close()
    connection.settings_dict |= {"USER": role, "PASSWORD": "secret"}
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user")
            assert cursor.fetchone() == (role,)
        yield
    finally:
        connection.close()
        connection.settings_dict["USER"], connection.settings_dict["PASSWORD"] = before


@pytest.mark.usefixtures("as_role")
def test_every_service_of_requests_works_as_the_role(world: RunRequest, settings: Any) -> None:
    # 1. Approved, launched, ended; repeated, commented on, rejected, withdrawn, expired.
    changes.comment(world.change, "Looks odd.", by=user("requester"))
    changes.approve(world.change, by=user("approver"))
    world.refresh_from_db()
    dispatch.launch(world)
    assert world.state == State.LAUNCHED
    assert world.flow_run_id
    FAKES["http://prod.test/api"].set_state(world.flow_run_id, "COMPLETED")
    mirror.refresh(world.environment, [world.flow_run_id])
    world.refresh_from_db()
    assert world.state == State.COMPLETED
    changes.reject(requests.rerun(world, by=user("requester"), reason="again").change, by=user("approver"), reason="no")
    changes.withdraw(submit().change, by=user("requester"))
    late = submit()
    ChangeRequest.objects.filter(pk=late.change_id).update(expires_at=timezone.now() - timedelta(minutes=1))
    changes.expire(late.change)
    late.refresh_from_db()
    # 2. Broken glass, its review, a freeze, its override, a refusal at launch.
    bypass = changes.break_glass(submit().change, by=user("approver"), reason="fire")
    changes.review(bypass, by=user("reviewer"), was_right=True, text="It could not wait.")
    held = submit()
    freezes.freeze(world.environment, by=user("reviewer"), reason="inventory")
    changes.approve(held.change, by=user("approver"))
    held.refresh_from_db()
    dispatch.launch(held)
    changes.override(held, by=user("requester"), reason="agreed")
    User.objects.filter(username="approver").update(is_active=False)
    dispatch.launch(held)
    assert held.state == State.REFUSED
    # 3. Keys, and the check of it all.
    settings.FIELD_KEYS = [Fernet.generate_key().decode(), *settings.FIELD_KEYS]
    assert key_rotation.rotate(by=Actor.system())["run specs"]
    call_command("verify_audit")


@pytest.mark.usefixtures("as_role")
def test_an_approval_and_an_entry_that_the_role_writes_launch_nothing_and_are_found(world: RunRequest) -> None:
    """All that the role may do by SQL: insert an approval, a chained entry that records it, and move the request on."""
    approver = User.objects.get(username="approver")
    Approval.objects.create(
        change=world.change, approved=True, by=approver, by_name="approver", digest=world.change.digest
    )
    forge_entry(world, approver, "request.approve")
    ChangeRequest.objects.filter(pk=world.change_id).update(state=ChangeRequest.State.APPROVED)
    RunRequest.objects.filter(pk=world.pk).update(state=State.LAUNCHING)
    dispatch.launch(world)
    world.refresh_from_db()
    assert world.state == State.REFUSED
    assert "create_flow_run" not in [call.method for call in FAKES["http://prod.test/api"].calls]
    assert "is not signed" in audit.verify().broken
    assert "is not signed" in audit.reconcile()


def test_a_password_file_that_cannot_be_read_is_a_sentence(own_database: str) -> None:
    with pytest.raises(CommandError, match="/no/such/file cannot be read"):
        call_command("secure_audit", "app_never_made", password_file=Path("/no/such/file"))


def test_a_database_for_prefect_is_made_once(own_database: str, tmp_path: Path) -> None:
    name = f"new_{urlsplit(own_database).path.strip('/')}"[:60]
    password = tmp_path / "password"
    password.write_text("secret")
    try:
        call_command("new_database", name, password_file=password)
        call_command("new_database", name, password_file=password)
        with psycopg.connect(own_database, dbname=name, user=name, password="secret", autocommit=True) as session:
            session.execute("CREATE TABLE mine (id int)")
            session.execute("CREATE EXTENSION pg_trgm")
    finally:
        with psycopg.connect(own_database, autocommit=True) as session:
            session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            session.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
