"""Approvals by several people, from named groups, in stages; and what invalidates them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from flows.catalog import sync
from flows.models import Deployment, Environment
from runs import changes, dispatch, requests
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import grants, policies
from runs.models import AuditEntry, Grant, Policy, RunRequest, RunSpec, Verb
from runs.models.request import State
from tests.cast import ANSWERS, SCHEMA, by, person
from tests.fakes.prefect import FakePrefect
from tests.refusals import forbidden, refused

pytestmark = pytest.mark.django_db

DBA = {"needed": 2, "group": "Approver"}
ANYBODY = {"needed": 1, "group": ""}
Voids = Callable[[RunRequest, User, FakePrefect], object]


@pytest.fixture
def signers(prod: Environment) -> dict[str, User]:
    """Three of the group Approver, and two who may approve but are in no group; all in prod."""
    people = {name: person(name, "Approver") for name in ("ann", "ben", "cleo")}
    people |= {name: person(name) for name in ("dora", "emil")}
    for each in people.values():
        grants.grant(by=Actor.system(), person=each, verbs=ANSWERS, environment=prod)
    return people


def policy(admin: User, *stages: dict[str, Any], **columns: Any) -> Policy:
    row = Policy(name="rules", stages=list(stages), **columns)
    policies.save_policy(row, by=by(admin))
    return row


@pytest.fixture
def ask(prod_deployment: Deployment, requester: User) -> Callable[..., RunRequest]:
    def submit(**columns: Any) -> RunRequest:
        return requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="month end", **columns)

    return submit


def sent(fake: FakePrefect) -> int:
    return [call.method for call in fake.calls].count("create_flow_run")


def test_two_of_three_of_a_group_then_anybody(
    ask: Callable[..., RunRequest], signers: dict[str, User], admin_user: User, prod_fake: FakePrefect
) -> None:
    policy(admin_user, DBA, ANYBODY)
    run_request = ask()
    assert (run_request.change.approvals_needed, run_request.state) == (3, State.HELD)
    with refused("approval.group"):
        changes.approve(run_request.change, by=by(signers["dora"]))
    changes.approve(run_request.change, by=by(signers["ann"]))
    run_request.refresh_from_db()
    with refused("approval.twice"):
        changes.approve(run_request.change, by=by(signers["ann"]))
    with refused("approval.group"):
        changes.approve(run_request.change, by=by(signers["dora"]))
    changes.approve(run_request.change, by=by(signers["ben"]))
    run_request.refresh_from_db()
    assert run_request.state == State.HELD
    with refused("approval.twice"):
        changes.approve(run_request.change, by=by(signers["ben"]))
    changes.approve(run_request.change, by=by(signers["emil"]))
    run_request.refresh_from_db()
    assert run_request.state == State.APPROVED
    assert [step.given for step in changes.steps(run_request.change)] == [("ann", "ben"), ("emil",)]
    with refused("state.illegal"):
        changes.approve(run_request.change, by=by(signers["cleo"]))
    dispatch.launch(run_request)
    assert run_request.state == State.LAUNCHED
    assert sent(prod_fake) == 1
    entries = AuditEntry.objects.filter(verb="request.approve").order_by("sequence")
    assert [entry.outcome for entry in entries if entry.outcome == "done"] == ["done"] * 3
    assert entries.filter(outcome="refused").count() == 5


def test_one_rejection_ends_it_whatever_was_signed_before(
    ask: Callable[..., RunRequest], signers: dict[str, User], admin_user: User
) -> None:
    policy(admin_user, DBA)
    run_request = ask()
    changes.approve(run_request.change, by=by(signers["ann"]))
    run_request.refresh_from_db()
    changes.reject(run_request.change, by=by(signers["ann"]), reason="I changed my mind")
    run_request.refresh_from_db()
    assert run_request.state == State.REJECTED
    with pytest.raises(Refused):
        changes.approve(run_request.change, by=by(signers["ben"]))
    assert [each.approved for each in run_request.change.approvals.all()] == [True, False]


def test_policies_about_one_deployment_all_count(
    ask: Callable[..., RunRequest], admin_user: User, prod: Environment
) -> None:
    policy(admin_user, ANYBODY, environment=prod)
    policies.save_policy(Policy(name="crm", tag="crm", stages=[DBA]), by=by(admin_user))
    policies.save_policy(Policy(name="other", tag="other", stages=[{"needed": 9, "group": ""}]), by=by(admin_user))
    assert ask().change.approvals_needed == 3


def test_whom_the_asker_acts_for_never_approves_and_nobody_approves_for_somebody_else(
    ask: Callable[..., RunRequest], signers: dict[str, User]
) -> None:
    run_request = ask(on_behalf_of=signers["ann"])
    with refused("approval.own"):
        changes.approve(run_request.change, by=by(signers["ann"]))
    with refused("approval.on_behalf"):
        changes.approve(run_request.change, by=replace(by(signers["ben"]), on_behalf_of="ann"))
    with refused("approval.on_behalf"):
        changes.reject(run_request.change, by=replace(by(signers["ben"]), on_behalf_of="ann"), reason="no")
    assert run_request.state == State.HELD
    entry = AuditEntry.objects.get(verb="request.submit", subject_id=str(run_request.pk))
    assert (entry.actor_name, entry.on_behalf_of) == ("requester", "ann")


def test_being_named_by_a_requester_keeps_nobody_from_rejecting(
    ask: Callable[..., RunRequest], signers: dict[str, User]
) -> None:
    run_request = ask(on_behalf_of=signers["ann"])
    changes.reject(run_request.change, by=by(signers["ann"]), reason="I asked for nothing")
    run_request.refresh_from_db()
    assert run_request.state == State.REJECTED
    own = ask()
    with refused("approval.own"):
        changes.reject(own.change, by=by(own.change.requested_by), reason="my own")


def test_an_approval_is_of_what_was_looked_at(ask: Callable[..., RunRequest], signers: dict[str, User]) -> None:
    run_request = ask()
    with refused("approval.stale"):
        changes.approve(run_request.change, by=by(signers["ann"]), displayed_digest="0" * 64)
    changes.approve(run_request.change, by=by(signers["ann"]), displayed_digest=run_request.change.digest)
    run_request.refresh_from_db()
    assert run_request.state == State.APPROVED


def test_a_prohibition_on_values_keeps_an_approver_from_these_values_only(
    ask: Callable[..., RunRequest], signers: dict[str, User], prod: Environment
) -> None:
    grants.grant(
        by=Actor.system(),
        person=signers["ann"],
        verbs=["approve"],
        effect="deny",
        predicate={"properties": {"rows": {"minimum": 100}}},
    )
    with forbidden(Verb.APPROVE, "access.denied"):
        changes.approve(ask().change, by=by(signers["ann"]))


def leave_group(run_request: RunRequest, ann: User, fake: FakePrefect) -> None:
    ann.groups.remove(Group.objects.get(name="Approver"))


def stricter(run_request: RunRequest, ann: User, fake: FakePrefect) -> None:
    Policy.objects.update(stages=[DBA, ANYBODY])


def one_more_policy(run_request: RunRequest, ann: User, fake: FakePrefect) -> None:
    Policy.objects.create(name="new", flow_name="monthly", stages=[ANYBODY])


def new_version(run_request: RunRequest, ann: User, fake: FakePrefect) -> None:
    fake.change_deployment(run_request.spec.deployment_prefect_id, version="2")
    sync.sync(run_request.environment)


def new_schema(run_request: RunRequest, ann: User, fake: FakePrefect) -> None:
    fake.change_deployment(run_request.spec.deployment_prefect_id, parameter_schema={**SCHEMA, "title": "Other"})
    sync.sync(run_request.environment)


def revoke(who: str) -> Voids:
    return lambda run_request, ann, fake: Grant.objects.filter(person__username=who).update(
        revoked_at=run_request.requested_at
    )


def inactive(run_request: RunRequest, ann: User, fake: FakePrefect) -> None:
    User.objects.filter(pk=ann.pk).update(is_active=False)


def prohibited(run_request: RunRequest, ann: User, fake: FakePrefect) -> None:
    grants.grant(by=Actor.system(), person=ann, verbs=["approve"], effect="deny")


def swapped_secret(run_request: RunRequest, ann: User, fake: FakePrefect) -> None:
    RunSpec.objects.filter(pk=run_request.spec_id).update(sealed_parameters=b"")


@pytest.mark.parametrize(
    ("voids", "code"),
    [
        (leave_group, "approval.approver_left_group"),
        (stricter, "approval.requirements_changed"),
        (one_more_policy, "approval.requirements_changed"),
        (new_version, "definition.changed"),
        (new_schema, "schema.changed"),
        (revoke("ann"), "approval.approver_lost_permission"),
        (revoke("requester"), "access.no_grant"),
        (inactive, "approval.approver_lost_permission"),
        (prohibited, "approval.approver_lost_permission"),
        (swapped_secret, "request.changed"),
    ],
)
def test_what_changes_after_the_approval_voids_it(
    prod_deployment: Deployment,
    requester: User,
    signers: dict[str, User],
    admin_user: User,
    prod_fake: FakePrefect,
    voids: Voids,
    code: str,
) -> None:
    policy(admin_user, DBA)
    run_request = requests.submit(prod_deployment, {"month": "2026-10", "token": "s"}, by=by(requester), reason="r")
    for name in ("ann", "ben"):
        changes.approve(run_request.change, by=by(signers[name]))
        run_request.refresh_from_db()
    assert run_request.state == State.APPROVED
    voids(run_request, signers["ann"], prod_fake)
    dispatch.launch(RunRequest.objects.get(pk=run_request.pk))
    run_request.refresh_from_db()
    assert run_request.state == State.REFUSED
    assert sent(prod_fake) == 0
    entry = AuditEntry.objects.get(verb="request.launch")
    assert entry.after["refused"]["code"] == code
    assert (entry.outcome, entry.message) == ("refused", run_request.message)


def test_rules_that_became_looser_leave_an_approval_as_it_is(
    ask: Callable[..., RunRequest], signers: dict[str, User], admin_user: User, prod: Environment
) -> None:
    policy(admin_user, DBA)
    run_request = ask()
    for name in ("ann", "ben"):
        changes.approve(run_request.change, by=by(signers[name]))
        run_request.refresh_from_db()
    Policy.objects.all().delete()
    Environment.objects.filter(pk=prod.pk).update(needs_approval=False)
    dispatch.launch(RunRequest.objects.get(pk=run_request.pk))
    run_request.refresh_from_db()
    assert run_request.state == State.LAUNCHED
