"""What the database itself refuses, for every writer: own approvals, and launches with too few."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, models, transaction
from django.utils import timezone

from flows.models import Deployment
from runs import changes, digests, dispatch, requests
from runs.actors import Actor
from runs.audit import partitions, signatures
from runs.governance import grants, policies
from runs.models import (
    Approval,
    AuditEntry,
    BreakGlass,
    ChangeRequest,
    Comment,
    Policy,
    RowVersion,
    RunRequest,
    RunSpec,
    change_request,
    request,
    run_spec,
)
from runs.models.request import CLOSED, State
from tests import refusals, tampering
from tests.cast import ANSWERS, by, person
from tests.fakes.prefect import FakePrefect
from tests.tampering import forge_entry

pytestmark = pytest.mark.django_db

AREA = "requests and what was said of them"
AFTER_APPROVAL = [
    State.APPROVED,
    State.LAUNCHING,
    State.LAUNCHED,
    State.COMPLETED,
    State.FAILED,
    State.CANCELLED,
    State.LOST,
]
FROZEN = [
    *[(ChangeRequest, name) for name in change_request.FROZEN],
    *[(RunSpec, name) for name in run_spec.FROZEN],
    *[(RunRequest, name) for name in request.FROZEN],
]
ChangeState = ChangeRequest.State


@pytest.fixture
def waiting(prod_deployment: Deployment, requester: User) -> RunRequest:
    return requests.submit(prod_deployment, {"month": "2026-10", "token": "s"}, by=by(requester), reason="month end")


@pytest.fixture
def superuser(requester: User) -> User:
    """The requester, made an administrator."""
    User.objects.filter(pk=requester.pk).update(is_superuser=True)
    requester.refresh_from_db()
    return requester


def sql(text: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text, values)


def refused(name: str, write: Callable[[], object], why: str | None = None) -> None:
    tampering.refused(AREA, name, write, why)


def at_launch(name: str) -> bool:
    return tampering.outcome_of(AREA, name) == "refused at launch"


def approval(run_request: RunRequest, user: User, *, is_signed: bool = False, **columns: Any) -> Approval:
    plain = {"approved": True, "by_name": user.username, "digest": run_request.change.digest}
    row = Approval(change=run_request.change, by=user, **plain | columns)
    row.signature = signatures.sign(row) if is_signed else ""
    row.save(force_insert=True)
    return row


@pytest.mark.parametrize("to", AFTER_APPROVAL)
def test_no_update_moves_a_request_on_without_its_approvals(waiting: RunRequest, to: State) -> None:
    refused(
        "move a request on without its approvals",
        lambda: RunRequest.objects.filter(pk=waiting.pk).update(state=to),
        "not approved by enough people",
    )
    refused(
        "move a request on without its approvals, by SQL",
        lambda: sql("UPDATE runs_runrequest SET state = %s WHERE id = %s", to, waiting.pk),
        "enough people",
    )


@pytest.mark.parametrize("to", [ChangeState.APPROVED, ChangeState.CLOSED])
def test_nor_its_change_request(waiting: RunRequest, to: ChangeRequest.State) -> None:
    refused(
        "move a request on without its approvals",
        lambda: ChangeRequest.objects.filter(pk=waiting.change_id).update(state=to),
        "not approved by enough people",
    )
    refused(
        "move a request on without its approvals, by SQL",
        lambda: sql("UPDATE runs_changerequest SET state = %s WHERE id = %s", to, waiting.change_id),
        "enough people",
    )


@pytest.mark.parametrize("through", ChangeRequest.OVER)
def test_no_change_request_that_has_ended_goes_on(
    waiting: RunRequest, approver: User, through: ChangeRequest.State
) -> None:
    approval(waiting, approver)
    rows = ChangeRequest.objects.filter(pk=waiting.change_id)
    rows.update(state=through)
    for to in (ChangeState.APPROVED, ChangeState.WAITING):
        refused("move a closed request on", partial(rows.update, state=to))


@pytest.mark.parametrize("state", [*ChangeRequest.OVER, ChangeState.WAITING])
def test_no_run_is_released_unless_its_change_request_is_approved(
    waiting: RunRequest, approver: User, state: ChangeRequest.State
) -> None:
    approval(waiting, approver)
    ChangeRequest.objects.filter(pk=waiting.change_id).update(state=state)
    refused(
        "move a request on without its approvals",
        lambda: RunRequest.objects.filter(pk=waiting.pk).update(state=State.APPROVED),
        "not approved by enough people",
    )


def test_no_run_is_added_to_another_spec_or_past_its_number(
    waiting: RunRequest, prod_deployment: Deployment, approver: User, requester: User
) -> None:
    changes.approve(waiting.change, by=by(approver))
    columns = {"change": waiting.change, "environment": waiting.environment, "deployment": waiting.deployment}
    more = RunRequest(**columns, spec=waiting.spec, occurrence="2", state=State.APPROVED)
    refused("insert a request beyond its approvals", more.save, "no runs left")
    other = requests.submit(prod_deployment, {"month": "2026-09"}, by=by(requester), reason="other")
    stray = RunRequest(**columns, spec=other.spec, occurrence="2", state=State.HELD)
    refused("insert a request beyond its approvals", stray.save, "not a run of its change request")


@pytest.mark.parametrize("through", CLOSED)
def test_no_detour_through_another_state_helps(waiting: RunRequest, through: State) -> None:
    rows = RunRequest.objects.filter(pk=waiting.pk)
    rows.update(state=through)
    for to in (*AFTER_APPROVAL, State.HELD):
        refused("move a closed request on", partial(rows.update, state=to))


def test_a_state_that_is_not_known_leads_nowhere(waiting: RunRequest) -> None:
    rows: list[models.QuerySet[Any]] = [
        ChangeRequest.objects.filter(pk=waiting.change_id),
        RunRequest.objects.filter(pk=waiting.pk),
    ]
    for row in rows:
        row.update(state="nonsense")
        refused("move a request on from an unknown state", partial(row.update, state=State.APPROVED), "enough people")


def test_approvals_of_another_digest_or_by_one_person_twice_do_not_count(
    prod_deployment: Deployment, requester: User, approver: User, admin_user: User
) -> None:
    policies.save_policy(Policy(name="two", stages=[{"needed": 2, "group": ""}]), by=by(admin_user))
    waiting = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="r")
    second = person("second")

    def go() -> None:
        ChangeRequest.objects.filter(pk=waiting.change_id).update(state=ChangeState.APPROVED)
        RunRequest.objects.filter(pk=waiting.pk).update(state=State.APPROVED)

    approval(waiting, approver)
    approval(waiting, approver, stage=1)
    refused("count one person's approval twice", go)
    approval(waiting, second, digest="0" * 64)
    refused("count an approval of another digest", go)
    approval(waiting, second, approved=False)
    refused("count a rejection as an approval", go)
    approval(waiting, second)
    go()


def test_nobody_s_own_approval_is_written(waiting: RunRequest, superuser: User) -> None:
    refused(
        "approve one's own request", lambda: approval(waiting, superuser), "Requesters cannot approve their own request"
    )
    refused(
        "approve one's own request, in bulk",
        lambda: Approval.objects.bulk_create([Approval(change=waiting.change, approved=True, by=superuser)]),
    )
    refused(
        "approve one's own request, by SQL",
        lambda: sql(
            "INSERT INTO runs_approval (change_id, approved, stage, by_id, by_name, digest, reason) "
            "VALUES (%s, true, 0, %s, 'x', %s, '')",
            waiting.pk,
            superuser.pk,
            waiting.change.digest,
        ),
        "Requesters cannot approve their own request",
    )


def test_nor_is_one_of_whom_the_asker_acts_for(prod_deployment: Deployment, requester: User, approver: User) -> None:
    waiting = requests.submit(
        prod_deployment, {"month": "2026-10"}, by=by(requester), reason="r", on_behalf_of=approver
    )
    refused(
        "approve a request made on one's behalf",
        lambda: approval(waiting, approver),
        "Requesters cannot approve their own request",
    )


def test_an_approval_stays_as_it_was_given(waiting: RunRequest, approver: User, superuser: User) -> None:
    row = approval(waiting, approver, approved=False)
    refused("turn a rejection into an approval", lambda: Approval.objects.filter(pk=row.pk).update(approved=True))
    refused("change who approved", lambda: Approval.objects.filter(pk=row.pk).update(by=superuser))
    refused("delete an approval", lambda: Approval.objects.filter(pk=row.pk).delete())
    refused("delete every approval, by SQL", lambda: sql("DELETE FROM runs_approval"))


@pytest.mark.parametrize(
    "table",
    [
        *("runs_approval", "runs_breakglass"),
        *("runs_changerequest CASCADE", "runs_runspec CASCADE", "runs_runrequest CASCADE"),
    ],
)
def test_no_table_of_these_is_emptied(table: str) -> None:
    refused(
        "truncate a table of these",
        lambda: sql(f"TRUNCATE {table}"),
        "Requests, approvals and comments are append-only",
    )


def test_a_comment_stays_as_it_was_written(waiting: RunRequest, requester: User) -> None:
    changes.comment(waiting.change, "Looks odd.", by=by(requester))
    refused("edit a comment", lambda: Comment.objects.update(text="Looks fine."))
    refused("delete a comment", lambda: Comment.objects.all().delete())


@pytest.mark.parametrize(("model", "name"), FROZEN)
def test_nothing_that_was_asked_for_is_edited(
    waiting: RunRequest, approver: User, model: type[models.Model], name: str
) -> None:
    row = {ChangeRequest: waiting.change, RunSpec: waiting.spec}.get(model, waiting)
    field = model._meta.get_field(name)
    table: dict[type[models.Field[Any, Any]], object] = {
        models.UUIDField: uuid.uuid4(),
        models.DateTimeField: timezone.now() + timedelta(days=1),
        models.BooleanField: not getattr(row, name),
        models.PositiveSmallIntegerField: 7,
        models.PositiveIntegerField: 7,
        models.JSONField: {"month": "1999-01"},
    }
    value = table.get(type(field), ["other"] if name == "tags" else "other")
    if isinstance(field, models.ForeignKey):
        related = {"rerun_of": waiting.pk, "requested_by": approver.pk, "on_behalf_of": approver.pk}
        value = related.get(name, 0)
    refused(
        "edit what was requested",
        lambda: model._default_manager.filter(pk=row.pk).update(**{field.attname: value}),
        "Cannot update rows",
    )


def test_a_request_is_not_deleted(waiting: RunRequest) -> None:
    refused("delete a request", lambda: RunRequest.objects.filter(pk=waiting.pk).delete())
    for table in ("runs_runrequest", "runs_runspec", "runs_changerequest"):
        refused("delete every request, by SQL", partial(sql, f"DELETE FROM {table}"))


def copied(
    run_request: RunRequest,
    state: State = State.HELD,
    columns: dict[str, Any] | None = None,
    *,
    is_signed: bool = False,
) -> RunRequest:
    """Another request of the same content, written past the portal; `columns` are those of the change request."""
    change, spec = run_request.change, run_request.spec
    change.pk, change.submission_key, spec.pk, run_request.pk = None, uuid.uuid4(), None, None
    for name, value in (columns or {}).items():
        setattr(change, name, value)
    change.digest = digests.change_digest(change)
    change.signature = signatures.sign(change) if is_signed else change.signature
    change.save()
    spec.change = change
    spec.signature = signatures.sign(spec) if is_signed else spec.signature
    spec.save()
    run_request.pk, run_request.change, run_request.spec, run_request.state = change.pk, change, spec, state
    run_request.signature = signatures.sign(run_request) if is_signed else run_request.signature
    run_request.save(force_insert=True)
    return run_request


@pytest.mark.parametrize("state", AFTER_APPROVAL)
def test_no_request_begins_beyond_its_approvals(waiting: RunRequest, state: State) -> None:
    refused(
        "insert a request beyond its approvals",
        partial(copied, waiting, state=state),
        "not approved by enough people",
    )


@pytest.mark.parametrize("state", [ChangeState.APPROVED, ChangeState.CLOSED])
def test_nor_does_a_change_request(waiting: RunRequest, state: ChangeRequest.State) -> None:
    waiting.change.pk, waiting.change.submission_key, waiting.change.state = None, uuid.uuid4(), state
    refused("insert a request beyond its approvals", waiting.change.save, "not approved by enough people")


@pytest.mark.parametrize("policy", [{"stages": []}, {"stages": [{"needed": 1, "group": ""}]}, {}])
def test_a_request_written_as_if_it_needed_none_is_refused_at_launch(
    waiting: RunRequest, prod_fake: FakePrefect, policy: dict[str, Any]
) -> None:
    """Only who knows the portal's secret key can write one whose digest is right; the rules of today find it out."""
    columns = {"needs_approval": False, "approvals_needed": 0, "policy": policy, "state": ChangeState.APPROVED}
    forged = copied(waiting, State.APPROVED, columns)
    dispatch.launch(forged)
    assert forged.state == State.REFUSED
    assert at_launch("insert a request as if it needed no approvals")
    assert "create_flow_run" not in [call.method for call in prod_fake.calls]


def test_secret_values_swapped_for_others_are_refused_at_launch(
    waiting: RunRequest, prod_deployment: Deployment, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    other = requests.submit(
        prod_deployment, {"month": "2026-10", "token": "mine"}, by=by(requester), reason="month end"
    )
    changes.approve(waiting.change, by=by(approver))
    waiting.refresh_from_db()
    RunSpec.objects.filter(pk=waiting.spec_id).update(sealed_parameters=other.spec.sealed_parameters)
    dispatch.launch(waiting)
    assert waiting.state == State.REFUSED
    assert at_launch("swap the secret values of a request")
    assert AuditEntry.objects.get(verb="request.launch").after["refused"]["code"] == "request.changed"
    assert "create_flow_run" not in [call.method for call in prod_fake.calls]


def glass(run_request: RunRequest, user: User, *, is_signed: bool = False, **columns: Any) -> BreakGlass:
    until = columns.pop("until", timezone.now() + timedelta(minutes=5))
    row = BreakGlass(change=run_request.change, by=user, by_name=user.username, until=until, reason="fire", **columns)
    row.signature = signatures.sign(row) if is_signed else ""
    row.save(force_insert=True)
    return row


def refused_at_launch(run_request: RunRequest, fake: FakePrefect, state: State) -> str:
    """Move a request on in the database, launch it, and return the code of the refusal."""
    ChangeRequest.objects.filter(pk=run_request.change_id).update(state=ChangeState.APPROVED)
    RunRequest.objects.filter(pk=run_request.pk).update(state=state)
    run_request.refresh_from_db()
    dispatch.launch(run_request)
    assert run_request.state == State.REFUSED
    assert "create_flow_run" not in [call.method for call in fake.calls]
    return str(AuditEntry.objects.get(verb="request.launch").after["refused"]["code"])


# The portal's role may insert an approval by anyone, move a request on, and add entries that continue the chain.
# Launching is a state that a request only reaches after the checks: it must not be the way around them.
WAITING_LONG = {"state": ChangeState.WAITING, "requested_at": datetime(2020, 1, 1, tzinfo=UTC)}
BEYOND = pytest.mark.parametrize("state", [State.APPROVED, State.LAUNCHING])


@BEYOND
@pytest.mark.parametrize("write", [approval, glass])
def test_an_approval_that_the_portal_did_not_sign_launches_nothing(
    waiting: RunRequest, approver: User, prod_fake: FakePrefect, write: Callable[..., object], state: State
) -> None:
    write(waiting, approver)
    forge_entry(waiting, approver, "request.approve" if write is approval else "request.break_glass")
    assert refused_at_launch(waiting, prod_fake, state) == "approval.unsigned"


@BEYOND
@pytest.mark.parametrize("write", [approval, glass])
def test_nor_does_one_without_an_entry(
    waiting: RunRequest, approver: User, prod_fake: FakePrefect, write: Callable[..., object], state: State
) -> None:
    write(waiting, approver, is_signed=True)
    assert refused_at_launch(waiting, prod_fake, state) == "approval.unrecorded"


def test_nor_does_one_whose_entry_is_not_signed(waiting: RunRequest, approver: User, prod_fake: FakePrefect) -> None:
    approval(waiting, approver, is_signed=True)
    forge_entry(waiting, approver, "request.approve")
    assert refused_at_launch(waiting, prod_fake, State.APPROVED) == "approval.unrecorded"


@pytest.mark.parametrize(
    "columns", [{"approved": False}, {"by_name": "other"}, {"digest": "0" * 64}, {"stage": 1}, {"reason": "other"}]
)
def test_a_signature_is_over_what_an_approval_says(
    waiting: RunRequest, approver: User, columns: dict[str, object]
) -> None:
    row = approval(waiting, approver, is_signed=True)
    assert signatures.is_signed(row)
    for name, value in columns.items():
        setattr(row, name, value)
    assert not signatures.is_signed(row)


def test_a_signature_of_another_row_or_request_does_not_fit(
    waiting: RunRequest, approver: User, admin_user: User, prod_deployment: Deployment, requester: User
) -> None:
    row = approval(waiting, approver, is_signed=True)
    other = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="another")
    for columns in ({"change": other.change}, {"by": admin_user}):
        copy = Approval.objects.get(pk=row.pk)
        for name, value in columns.items():
            setattr(copy, name, value)
        assert not signatures.is_signed(copy)
    bypass = glass(waiting, approver, is_signed=True)
    bypass.until += timedelta(hours=1)
    assert not signatures.is_signed(bypass)


def test_a_replaced_key_still_verifies_until_it_is_removed(waiting: RunRequest, approver: User, settings: Any) -> None:
    row, old, new = approval(waiting, approver, is_signed=True), settings.AUDIT_KEYS[0], "the next audit key" * 3
    settings.AUDIT_KEYS = [new, old]
    assert signatures.is_signed(row)
    assert signatures.sign(row) != row.signature
    settings.AUDIT_KEYS = [new]
    assert not signatures.is_signed(row)


def test_a_request_copied_in_the_database_launches_nothing(
    waiting: RunRequest, prod_deployment: Deployment, approver: User, prod_fake: FakePrefect
) -> None:
    """Its digest fits, because it is that of the original, but it was never submitted, whenever it says it was."""
    changes.approve(waiting.change, by=by(approver))
    waiting.refresh_from_db()
    copy = copied(RunRequest.objects.get(pk=waiting.pk), State.HELD, WAITING_LONG)
    approval(copy, approver, is_signed=True)
    forge_entry(copy, approver, "request.approve")
    assert refused_at_launch(copy, prod_fake, State.LAUNCHING) == "request.changed"


def test_nor_does_a_signed_one_that_was_never_submitted(
    waiting: RunRequest, approver: User, prod_fake: FakePrefect
) -> None:
    copy = copied(RunRequest.objects.get(pk=waiting.pk), is_signed=True)
    approval(copy, approver, is_signed=True)
    assert refused_at_launch(copy, prod_fake, State.APPROVED) == "request.unrecorded"


@BEYOND
def test_a_change_window_overridden_past_the_portal_launches_nothing(
    waiting: RunRequest, approver: User, prod_fake: FakePrefect, state: State
) -> None:
    changes.approve(waiting.change, by=by(approver))
    waiting.refresh_from_db()
    RunRequest.objects.filter(pk=waiting.pk).update(overridden_at=timezone.now(), overridden_by_name="approver")
    assert refused_at_launch(waiting, prod_fake, state) == "approval.unrecorded"


def test_broken_glass_that_is_over_lets_nothing_go(waiting: RunRequest, approver: User) -> None:
    glass(waiting, approver, until=timezone.now() - timedelta(hours=1))
    refused(
        "move a request on with a bypass that is over",
        lambda: ChangeRequest.objects.filter(pk=waiting.change_id).update(state=ChangeState.APPROVED),
        "enough people",
    )


def test_broken_glass_stays_as_it_was_broken(waiting: RunRequest, approver: User, requester: User) -> None:
    rows = BreakGlass.objects.filter(pk=glass(waiting, approver).pk)
    for columns in ({"until": timezone.now() + timedelta(days=9)}, {"by": requester}, {"reason": "other"}):
        refused("edit a bypass", partial(rows.update, **columns), "Cannot update rows")
    refused("delete a bypass", rows.delete)


def test_only_somebody_else_s_review_is_written_and_only_once(
    waiting: RunRequest, approver: User, superuser: User, admin_user: User
) -> None:
    refused(
        "insert a bypass reviewed by the requester",
        lambda: glass(waiting, approver, reviewed_by=superuser),
        "Requesters cannot review their own request",
    )
    refused(
        "insert a bypass reviewed by who made it",
        lambda: glass(waiting, approver, reviewed_by=approver),
        "reviewed_by_someone_else",
    )
    rows = BreakGlass.objects.filter(pk=glass(waiting, approver).pk)
    refused(
        "review a bypass of one's own request",
        lambda: rows.update(reviewed_by=superuser, reviewed_at=timezone.now()),
        "Requesters cannot review",
    )
    refused(
        "review one's own bypass",
        lambda: rows.update(reviewed_by=approver, reviewed_at=timezone.now()),
        "reviewed_by_someone_else",
    )
    rows.update(reviewed_by=admin_user, reviewed_at=timezone.now(), was_right=False)
    refused("review a bypass a second time", lambda: rows.update(was_right=True))


def test_the_doors_say_it_before_the_database_does(waiting: RunRequest, superuser: User) -> None:
    for verbs in (ANSWERS, ["break glass"]):
        grants.grant(by=Actor.system(), person=superuser, verbs=verbs, environment=waiting.environment)
    with refusals.refused("approval.own"):
        changes.approve(waiting.change, by=by(superuser))
    row = changes.break_glass(waiting.change, by=by(superuser), reason="fire")
    with refusals.refused("review.own"):
        changes.review(row, by=by(superuser), was_right=True, text="fine")


# No SET lets any of it through


@pytest.fixture
def everything(waiting: RunRequest, approver: User, requester: User) -> RunRequest:
    """A row in every table that triggers protect."""
    approval(waiting, approver, approved=False)
    glass(waiting, approver, until=timezone.now() - timedelta(hours=1))
    changes.comment(waiting.change, "Looks odd.", by=by(requester))
    sql("SET CONSTRAINTS ALL IMMEDIATE")  # no TRUNCATE begins while checks of foreign keys are due
    sql(TRY_ALL)
    return waiting


FORBIDDEN = [
    "UPDATE runs_changerequest SET state = 'approved'",
    "UPDATE runs_changerequest SET reason = 'other'",
    "DELETE FROM runs_changerequest",
    "UPDATE runs_runspec SET parameters = '{}'",
    "DELETE FROM runs_runspec",
    "UPDATE runs_runrequest SET state = 'approved'",
    "UPDATE runs_runrequest SET scheduled_for = now()",
    "DELETE FROM runs_runrequest",
    "INSERT INTO runs_approval (change_id, approved, stage, by_id, by_name, digest, reason) "
    "SELECT id, true, 0, requested_by_id, 'x', digest, '' FROM runs_changerequest",
    "UPDATE runs_approval SET approved = true",
    "DELETE FROM runs_approval",
    "UPDATE runs_comment SET text = 'Looks fine.'",
    "DELETE FROM runs_comment",
    "UPDATE runs_breakglass SET until = now() + interval '1 day'",
    "UPDATE runs_breakglass SET reviewed_by_id = requested_by_id FROM runs_changerequest",
    "DELETE FROM runs_breakglass",
    "UPDATE runs_auditentry SET reason = 'better'",
    "DELETE FROM runs_auditentry",
    "INSERT INTO runs_auditentry SELECT * FROM (SELECT (entry).* FROM (SELECT jsonb_populate_record(e, "
    """'{"sequence": 999, "transaction": 1}') AS entry FROM runs_auditentry e LIMIT 1) AS forged) AS rows""",
    "UPDATE runs_rowversion SET data = '{}'",
    "DELETE FROM runs_rowversion",
    *[
        f"TRUNCATE {table} CASCADE"
        for table in (
            *("runs_changerequest", "runs_runspec", "runs_runrequest"),
            *("runs_approval", "runs_comment", "runs_breakglass", "runs_auditentry"),
        )
    ],
    *[f"TRUNCATE {table}" for table in ("runs_auditentry_from_1", "runs_auditcheckpoint", "runs_rowversion")],
]
# Runs each statement and rolls it back. Triggers raise raise_exception and check_violation; a session that made itself
# unable to write (25006) gets nothing through either.
TRY_ALL = """
    CREATE FUNCTION pg_temp.got_through(statements text[]) RETURNS text[] LANGUAGE plpgsql AS $body$
    DECLARE
        statement text;
        found text[] := '{}';
    BEGIN
        FOREACH statement IN ARRAY statements LOOP
            BEGIN
                EXECUTE statement;
                RAISE EXCEPTION 'no trigger' USING ERRCODE = 'ZZZZZ';
            EXCEPTION WHEN OTHERS THEN
                IF SQLSTATE NOT IN ('P0001', '23514', '25006') THEN
                    found := found || (statement || ': ' || SQLERRM);
                END IF;
            END;
        END LOOP;
        RETURN found;
    END $body$
"""
SETTINGS = [
    (
        "pgtrigger.ignore",
        "{runs_changerequest,runs_runrequest,runs_approval,runs_auditentry,flows_environment,auth_user}",
    ),
    ("pgtrigger.ignore", "{all}"),
    ("pghistory.context_metadata", '{"actor": "anna", "verb": "request.approve"}'),
    ("session_replication_role", "replica"),
    ("session_replication_role", "local"),
    ("search_path", "pg_temp, public"),
    ("timezone", "Pacific/Kiritimati"),
]


def changes_nothing(name: str, value: str) -> None:
    """With this setting every forbidden statement is refused, and a change of a row still leaves its version."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, true)", [name, value])
        cursor.execute("DISCARD PLANS")
        cursor.execute("SELECT pg_temp.got_through(%s)", [FORBIDDEN])
        (got_through,) = cursor.fetchone()
        assert tampering.outcome_of(AREA, "switch the triggers off by a setting") == tampering.REFUSED
        assert not got_through, f"SET {name} = {value}"
        cursor.execute("SELECT current_setting('transaction_read_only')")
        if cursor.fetchone() == ("off",):
            before = RowVersion.objects.count()
            User.objects.filter(username="approver").update(is_superuser=True)
            assert RowVersion.objects.count() == before + 1, f"SET {name} = {value} hides a change"
        transaction.set_rollback(True)


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_no_known_way_switches_the_triggers_off(everything: RunRequest, name: str, value: str) -> None:
    changes_nothing(name, value)


def test_no_other_setting_of_a_session_switches_the_triggers_off(everything: RunRequest) -> None:
    """Every switch and every choice that a role may set for itself."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, unnest(CASE vartype WHEN 'bool' THEN ARRAY['on', 'off'] ELSE enumvals END) FROM pg_settings "
            "WHERE context = 'user' AND vartype IN ('bool', 'enum') "
            # The first two are for a transaction's first statement only; with the last one a refusal ends the session.
            "AND name NOT IN ('transaction_deferrable', 'transaction_isolation', 'exit_on_error')"
        )
        settings = cursor.fetchall()
    assert len(settings) > 100
    for name, value in settings:
        changes_nothing(name, value)


def test_a_temporary_table_does_not_stand_in_for_approvals(everything: RunRequest, approver: User) -> None:
    sql("SET LOCAL search_path = pg_temp, public")
    sql("CREATE TEMPORARY TABLE runs_approval AS SELECT * FROM public.runs_approval")
    sql("UPDATE runs_approval SET approved = true")
    sql("CREATE TEMPORARY TABLE runs_breakglass AS SELECT * FROM public.runs_breakglass")
    sql("UPDATE runs_breakglass SET until = now() + interval '1 day'")
    refused(
        "let a temporary table stand in for the approvals",
        lambda: sql("UPDATE runs_changerequest SET state = 'approved'"),
        "not approved by enough people",
    )


def test_every_trigger_fires_in_every_session() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass || '.' || tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'A'"
        )
        assert cursor.fetchall() == []
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'A'")
        assert cursor.fetchone()[0] >= 30


def test_a_new_part_of_the_trail_is_protected_in_every_session(everything: RunRequest, requester: User) -> None:
    before = partitions.parts()[-1].table
    partitions.cut_here()
    newest = partitions.parts()[-1].table
    assert newest != before
    changes.comment(everything.change, "One more.", by=by(requester))
    sql("SET LOCAL session_replication_role = replica")
    for statement in (f"UPDATE {newest} SET reason = ''", f"DELETE FROM {newest}", f"TRUNCATE {newest}"):
        tampering.refused("parts of the audit trail", "change a new part as a replica does", partial(sql, statement))
    tampering.refused("parts of the audit trail", "truncate a part", partial(sql, f"TRUNCATE {before}"), "append-only")


def test_no_function_of_a_trigger_depends_on_a_setting() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT proname, prosrc, proconfig::text FROM pg_proc WHERE oid IN "
            "(SELECT tgfoid FROM pg_trigger WHERE NOT tgisinternal)"
        )
        functions = cursor.fetchall()
    assert len(functions) == 9
    for name, source, config in functions:
        assert "current_setting" not in source, name
        assert "\\" not in source, f"{name}: standard_conforming_strings decides what a backslash means"
        assert "search_path=public, pg_temp" in config.replace('"', ""), name
