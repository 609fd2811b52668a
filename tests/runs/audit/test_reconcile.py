"""Requests, approvals and overrides agree with the audit trail, and every difference is named."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from flows.models import Deployment
from runs import audit, changes, dispatch, requests
from runs.actors import Actor
from runs.audit import partitions, retention, signatures
from runs.governance import freezes, grants
from runs.models import Approval, BreakGlass, ChangeRequest, RunRequest
from runs.models.request import State
from tests.cast import ANSWERS, by, person
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db


@pytest.fixture
def submit(prod_deployment: Deployment, requester: User) -> Callable[[], RunRequest]:
    def make() -> RunRequest:
        return requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="month end")

    return make


@pytest.fixture
def launched(submit: Callable[[], RunRequest], approver: User, prod_fake: FakePrefect) -> RunRequest:
    run_request = submit()
    changes.approve(run_request.change, by=by(approver))
    run_request.refresh_from_db()
    dispatch.launch(run_request)
    assert run_request.state == State.LAUNCHED
    return run_request


def as_database_superuser(table: str, statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(statement, values)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def test_whatever_comes_of_requests_agrees_with_the_trail(
    launched: RunRequest, submit: Callable[[], RunRequest], requester: User, approver: User, prod_fake: FakePrefect
) -> None:
    changes.reject(submit().change, by=by(approver), reason="no")
    changes.withdraw(submit().change, by=by(requester))
    expired = submit()
    ChangeRequest.objects.filter(pk=expired.change_id).update(expires_at=timezone.now() - timedelta(minutes=1))
    changes.expire(expired.change)
    expired.refresh_from_db()
    # An override, and its review by somebody else.
    grants.grant(by=Actor.system(), person=approver, verbs=["break glass"], environment=launched.environment)
    bypass = changes.break_glass(submit().change, by=by(approver), reason="fire")
    reviewer = person("reviewer")
    grants.grant(by=Actor.system(), person=reviewer, verbs=ANSWERS, environment=launched.environment)
    changes.review(bypass, by=by(reviewer), was_right=False, text="It could have waited.")
    # A freeze that one request overrides, and an approval that no longer holds.
    grants.grant(by=Actor.system(), person=requester, verbs=["override freeze"], environment=launched.environment)
    frozen, refused = submit(), submit()
    grants.grant(by=Actor.system(), person=reviewer, verbs=["manage"], environment=launched.environment)
    freezes.freeze(launched.environment, by=by(reviewer), reason="inventory")
    changes.override(frozen, by=by(requester), reason="agreed")
    changes.approve(refused.change, by=by(approver))
    refused.refresh_from_db()
    User.objects.filter(pk=approver.pk).update(is_active=False)
    dispatch.launch(refused)
    states = RunRequest.objects.values_list("state", flat=True)
    assert set(states) == {"launched", "rejected", "withdrawn", "expired", "approved", "held", "refused"}
    assert audit.reconcile() == ""
    call_command("verify_audit")


def test_an_approval_without_an_entry_is_named(submit: Callable[[], RunRequest], approver: User) -> None:
    """What a person with the key and the database can write: without the key it is not signed either."""
    run_request = submit()
    row = Approval(
        change=run_request.change, approved=True, by=approver, by_name="approver", digest=run_request.change.digest
    )
    row.save()
    assert (
        audit.reconcile()
        == f"What approver decided on request {run_request.pk} is not signed with a key of the portal."
    )
    as_database_superuser(
        "runs_approval", "UPDATE runs_approval SET signature = %s WHERE id = %s", signatures.sign(row), row.pk
    )
    assert audit.reconcile() == f"Request {run_request.pk} has an approval by approver that no audit entry records."
    with pytest.raises(CommandError, match="no audit entry records") as caught:
        call_command("verify_audit")
    assert caught.value.returncode == 1


def test_an_override_without_an_entry_is_named(submit: Callable[[], RunRequest], approver: User) -> None:
    run_request = submit()
    until = timezone.now() + timedelta(minutes=5)
    row = BreakGlass(change=run_request.change, by=approver, by_name="approver", until=until, reason="fire")
    row.signature = signatures.sign(row)
    row.save()
    assert "an emergency override by approver that no audit entry records" in audit.reconcile()


def test_a_review_without_an_entry_is_named(submit: Callable[[], RunRequest], approver: User, admin_user: User) -> None:
    grants.grant(by=Actor.system(), person=approver, verbs=["break glass"], environment=submit().environment)
    row = changes.break_glass(submit().change, by=by(approver), reason="fire")
    BreakGlass.objects.filter(pk=row.pk).update(
        reviewed_by=admin_user, reviewed_by_name="administrator", reviewed_at=timezone.now(), was_right=True
    )
    assert "a review of the override by administrator that no audit entry records" in audit.reconcile()


def test_an_approval_that_was_removed_is_named(launched: RunRequest) -> None:
    as_database_superuser("runs_approval", "DELETE FROM runs_approval")
    assert (
        f"records an approval by approver on request {launched.pk}, and the request does not have it."
        in audit.reconcile()
    )


def test_an_end_of_the_trail_that_was_cut_off_is_noticed_by_its_requests(launched: RunRequest) -> None:
    """The chain that is left is sound, and no one needs to have noted a head."""
    as_database_superuser(
        "runs_auditentry", "DELETE FROM runs_auditentry WHERE verb IN ('request.approve', 'request.launch')"
    )
    assert audit.verify()
    assert audit.reconcile() == f"Request {launched.pk} has an approval by approver that no audit entry records."


def test_a_request_that_was_removed_is_named(submit: Callable[[], RunRequest]) -> None:
    run_request = submit()
    for table in ("runs_runrequest", "runs_runspec", "runs_changerequest"):
        as_database_superuser(table, f"DELETE FROM {table}")
    assert audit.reconcile().endswith(f"on request {run_request.pk}, and the request does not have it.")


def test_a_request_written_past_the_portal_is_named(launched: RunRequest) -> None:
    copy = ChangeRequest.objects.get(pk=launched.change_id)
    copy.pk, copy.submission_key, copy.state = None, uuid.uuid4(), ChangeRequest.State.WAITING
    copy.save()
    assert audit.reconcile() == f"Request {copy.pk} is not signed with a key of the portal."


def test_a_spec_or_a_run_written_past_the_portal_is_named(launched: RunRequest) -> None:
    run = RunRequest.objects.get(pk=launched.pk)
    run.pk, run.flow_run_id, run.state, run.occurrence = None, None, State.HELD, "2"
    run.save()
    assert audit.reconcile() == f"A run of request {launched.pk} is not signed with a key of the portal."
    spec = launched.spec
    spec.pk, spec.position = None, 1
    spec.save()
    assert audit.reconcile() == f"What request {launched.pk} would run is not signed with a key of the portal."


@pytest.mark.parametrize(
    ("table", "column", "value", "what"),
    [
        ("changerequest", "requested_by_id", "SELECT id FROM auth_user WHERE username = 'approver'", "Request {}"),
        ("runspec", "is_blind", "SELECT true", "What request {} would run"),
        ("runrequest", "scheduled_for", "SELECT now()", "A run of request {}"),
        ("runrequest", "mapped_values", """SELECT '{"month": "2026-11"}'::jsonb""", "A run of request {}"),
    ],
)
def test_a_request_whose_keys_were_changed_is_named(
    launched: RunRequest, table: str, column: str, value: str, what: str
) -> None:
    """Its digest covers names and values; the keys behind the names are signed."""
    as_database_superuser(f"runs_{table}", f"UPDATE runs_{table} SET {column} = ({value})")
    assert audit.reconcile() == f"{what.format(launched.pk)} is not signed with a key of the portal."


@pytest.mark.parametrize("state", [State.REJECTED, State.WITHDRAWN, State.EXPIRED])
def test_a_run_closed_past_the_portal_is_named(submit: Callable[[], RunRequest], state: State) -> None:
    run_request = submit()
    RunRequest.objects.filter(pk=run_request.pk).update(state=state)
    assert audit.reconcile() == (f"Request {run_request.pk} is “{state.label}”, and what it belongs to is not.")


@pytest.mark.parametrize("state", [State.REJECTED, State.WITHDRAWN, State.EXPIRED, State.REFUSED])
def test_a_request_closed_past_the_portal_is_named(submit: Callable[[], RunRequest], state: State) -> None:
    run_request = submit()
    if state == State.REFUSED:
        RunRequest.objects.filter(pk=run_request.pk).update(state=state)
    else:
        ChangeRequest.objects.filter(pk=run_request.change_id).update(state=state)
    assert audit.reconcile() == (
        f"Request {run_request.pk} is “{state.label}”, and no audit entry records how it became so."
    )


def test_a_launch_past_the_portal_is_named(
    submit: Callable[[], RunRequest], approver: User, prod_fake: FakePrefect
) -> None:
    run_request = submit()
    changes.approve(run_request.change, by=by(approver))
    run_request.refresh_from_db()
    RunRequest.objects.filter(pk=run_request.pk).update(state=State.COMPLETED)
    assert "“Completed”, and no audit entry" in audit.reconcile()
    RunRequest.objects.filter(pk=run_request.pk).update(state=State.LAUNCHED, flow_run_id=uuid.uuid4())
    assert audit.reconcile() == f"Request {run_request.pk} has the launch that no audit entry records."


def test_a_window_overridden_past_the_portal_is_named(submit: Callable[[], RunRequest]) -> None:
    run_request = submit()
    RunRequest.objects.filter(pk=run_request.pk).update(overridden_at=timezone.now(), overridden_by_name="anna")
    assert audit.reconcile() == (
        f"Request {run_request.pk} has an override of its change window by anna that no audit entry records."
    )


def test_only_the_newest_requests_may_be_compared(launched: RunRequest, submit: Callable[[], RunRequest]) -> None:
    submit()
    as_database_superuser("runs_approval", "DELETE FROM runs_approval")
    assert audit.reconcile(at_most=1) == ""
    assert audit.reconcile(at_most=2) == audit.reconcile() != ""


def test_a_run_that_ends_after_its_launch_was_retired_is_not_missed(launched: RunRequest) -> None:
    partitions.cut_here()
    for table, column in (("runs_runrequest", "requested_at"), ("runs_approval", "at")):
        as_database_superuser(table, f"UPDATE {table} SET {column} = {column} - interval '1 day'")
    RunRequest.objects.update(launched_at=timezone.now() - timedelta(days=1))
    retention.retire(partitions.parts()[0], by=Actor.system())
    changes.move(launched, to=State.COMPLETED)
    as_database_superuser("runs_runrequest", "UPDATE runs_runrequest SET changed_at = changed_at + interval '1 day'")
    assert audit.reconcile() == ""


def test_what_was_retired_is_not_missed(launched: RunRequest) -> None:
    partitions.cut_here()
    for table, column in (("runs_runrequest", "requested_at"), ("runs_approval", "at")):
        as_database_superuser(table, f"UPDATE {table} SET {column} = {column} - interval '1 day'")
    for column in ("changed_at", "launched_at"):
        RunRequest.objects.update(**{column: timezone.now() - timedelta(days=1)})
    retention.retire(partitions.parts()[0], by=Actor.system())
    assert audit.reconcile() == ""
