"""Approvals by several people, from named groups, in stages; and what makes them void."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from flows import catalogue
from flows.access import Forbidden, Refused
from flows.models import Deployment, Environment, Grant
from runs import dispatch, granting, lifecycle, policies
from runs.actors import Actor
from runs.models import AuditEntry, Policy, RunRequest
from runs.models.request import State
from tests.cast import ANSWERS, SCHEMA, by, person
from tests.prefect import FakePrefect

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
        granting.grant(by=Actor.system(), person=each, verbs=ANSWERS, environment=prod)
    return people


def policy(admin: User, *stages: dict[str, Any], **columns: Any) -> Policy:
    row = Policy(name="rules", stages=list(stages), **columns)
    policies.save_policy(row, by=by(admin))
    return row


@pytest.fixture
def ask(prod_deployment: Deployment, asker: User) -> Callable[..., RunRequest]:
    def submit(**columns: Any) -> RunRequest:
        return lifecycle.submit(prod_deployment, {"month": "2026-10"}, by=by(asker), reason="month end", **columns)

    return submit


def sent(fake: FakePrefect) -> int:
    return [call.method for call in fake.calls].count("create_flow_run")


def test_two_of_three_of_a_group_then_anybody(
    ask: Callable[..., RunRequest], signers: dict[str, User], admin_user: User, prod_fake: FakePrefect
) -> None:
    policy(admin_user, DBA, ANYBODY)
    wish = ask()
    assert (wish.approvals_needed, wish.state) == (3, State.WAITING)
    with pytest.raises(Refused, match="waits for 2 of the group Approver"):
        lifecycle.approve(wish, by=by(signers["dora"]))
    lifecycle.approve(wish, by=by(signers["ann"]))
    with pytest.raises(Refused, match="approved it already"):
        lifecycle.approve(wish, by=by(signers["ann"]))
    with pytest.raises(Refused, match="waits for 1 of the group Approver"):
        lifecycle.approve(wish, by=by(signers["dora"]))
    lifecycle.approve(wish, by=by(signers["ben"]))
    assert wish.state == State.WAITING
    with pytest.raises(Refused, match="approved it already"):
        lifecycle.approve(wish, by=by(signers["ben"]))
    lifecycle.approve(wish, by=by(signers["emil"]))
    assert wish.state == State.APPROVED
    assert [step.given for step in lifecycle.steps(wish)] == [("ann", "ben"), ("emil",)]
    with pytest.raises(Refused, match="cannot become"):
        lifecycle.approve(wish, by=by(signers["cleo"]))
    dispatch.launch(wish)
    assert wish.state == State.LAUNCHED
    assert sent(prod_fake) == 1
    entries = AuditEntry.objects.filter(verb="request.approve").order_by("sequence")
    assert [entry.outcome for entry in entries if entry.outcome == "done"] == ["done"] * 3
    assert entries.filter(outcome="refused").count() == 5


def test_one_rejection_ends_it_whatever_was_signed_before(
    ask: Callable[..., RunRequest], signers: dict[str, User], admin_user: User
) -> None:
    policy(admin_user, DBA)
    wish = ask()
    lifecycle.approve(wish, by=by(signers["ann"]))
    lifecycle.reject(wish, by=by(signers["ann"]), reason="I changed my mind")
    assert wish.state == State.REJECTED
    with pytest.raises(Refused):
        lifecycle.approve(wish, by=by(signers["ben"]))
    assert [each.approved for each in wish.approvals.all()] == [True, False]


def test_policies_about_one_deployment_all_count(
    ask: Callable[..., RunRequest], admin_user: User, prod: Environment
) -> None:
    policy(admin_user, ANYBODY, environment=prod)
    policies.save_policy(Policy(name="crm", tag="crm", stages=[DBA]), by=by(admin_user))
    policies.save_policy(Policy(name="other", tag="other", stages=[{"needed": 9, "group": ""}]), by=by(admin_user))
    assert ask().approvals_needed == 3


def test_whom_the_asker_acts_for_never_approves_and_nobody_approves_for_somebody_else(
    ask: Callable[..., RunRequest], signers: dict[str, User]
) -> None:
    wish = ask(asked_for=signers["ann"])
    with pytest.raises(Refused, match="your own request"):
        lifecycle.approve(wish, by=by(signers["ann"]))
    with pytest.raises(Refused, match="on behalf of"):
        lifecycle.approve(wish, by=replace(by(signers["ben"]), on_behalf_of="ann"))
    with pytest.raises(Refused, match="on behalf of"):
        lifecycle.reject(wish, by=replace(by(signers["ben"]), on_behalf_of="ann"), reason="no")
    assert wish.state == State.WAITING
    entry = AuditEntry.objects.get(verb="request.submit", subject_id=str(wish.pk))
    assert (entry.actor_name, entry.on_behalf_of) == ("asker", "ann")


def test_an_approval_is_of_what_was_looked_at(ask: Callable[..., RunRequest], signers: dict[str, User]) -> None:
    wish = ask()
    with pytest.raises(Refused, match="not what was looked at"):
        lifecycle.approve(wish, by=by(signers["ann"]), seen_digest="0" * 64)
    lifecycle.approve(wish, by=by(signers["ann"]), seen_digest=wish.digest)
    assert wish.state == State.APPROVED


def test_a_prohibition_on_values_keeps_an_approver_from_these_values_only(
    ask: Callable[..., RunRequest], signers: dict[str, User], prod: Environment
) -> None:
    granting.grant(
        by=Actor.system(),
        person=signers["ann"],
        verbs=["approve"],
        effect="deny",
        predicate={"properties": {"rows": {"minimum": 100}}},
    )
    with pytest.raises(Forbidden, match="rows is at least 100"):
        lifecycle.approve(ask(), by=by(signers["ann"]))


def leave_group(wish: RunRequest, ann: User, fake: FakePrefect) -> None:
    ann.groups.remove(Group.objects.get(name="Approver"))


def stricter(wish: RunRequest, ann: User, fake: FakePrefect) -> None:
    Policy.objects.update(stages=[DBA, ANYBODY])


def one_more_policy(wish: RunRequest, ann: User, fake: FakePrefect) -> None:
    Policy.objects.create(name="new", flow_name="monthly", stages=[ANYBODY])


def new_version(wish: RunRequest, ann: User, fake: FakePrefect) -> None:
    fake.change_deployment(wish.deployment_prefect_id, version="2")
    catalogue.sync(wish.environment)


def new_schema(wish: RunRequest, ann: User, fake: FakePrefect) -> None:
    fake.change_deployment(wish.deployment_prefect_id, parameter_schema={**SCHEMA, "title": "Other"})
    catalogue.sync(wish.environment)


def revoke(who: str) -> Voids:
    return lambda wish, ann, fake: Grant.objects.filter(person__username=who).update(revoked_at=wish.asked_at)


def inactive(wish: RunRequest, ann: User, fake: FakePrefect) -> None:
    User.objects.filter(pk=ann.pk).update(is_active=False)


def prohibited(wish: RunRequest, ann: User, fake: FakePrefect) -> None:
    granting.grant(by=Actor.system(), person=ann, verbs=["approve"], effect="deny")


def swapped_secret(wish: RunRequest, ann: User, fake: FakePrefect) -> None:
    RunRequest.objects.filter(pk=wish.pk).update(sealed_parameters=b"")


@pytest.mark.parametrize(
    ("voids", "why"),
    [
        (leave_group, "not in the group Approver any more"),
        (stricter, "was changed meanwhile"),
        (one_more_policy, "was changed meanwhile"),
        (new_version, "deployed anew"),
        (new_schema, "parameters of monthly/monthly changed"),
        (revoke("ann"), "ann, who approved it, may not any more"),
        (revoke("asker"), "asker has no grant"),
        (inactive, "ann, who approved it, may not any more"),
        (prohibited, "ann, who approved it, may not any more"),
        (swapped_secret, "not what was asked for"),
    ],
)
def test_what_changes_after_the_approval_voids_it(
    prod_deployment: Deployment,
    asker: User,
    signers: dict[str, User],
    admin_user: User,
    prod_fake: FakePrefect,
    voids: Voids,
    why: str,
) -> None:
    policy(admin_user, DBA)
    wish = lifecycle.submit(prod_deployment, {"month": "2026-10", "token": "s"}, by=by(asker), reason="r")
    for name in ("ann", "ben"):
        lifecycle.approve(wish, by=by(signers[name]))
    assert wish.state == State.APPROVED
    voids(wish, signers["ann"], prod_fake)
    dispatch.launch(RunRequest.objects.get(pk=wish.pk))
    wish.refresh_from_db()
    assert wish.state == State.REFUSED
    assert why in wish.message
    assert sent(prod_fake) == 0
    entry = AuditEntry.objects.get(verb="request.launch")
    assert (entry.outcome, entry.message) == ("refused", wish.message)


def test_rules_that_became_looser_leave_an_approval_as_it_is(
    ask: Callable[..., RunRequest], signers: dict[str, User], admin_user: User, prod: Environment
) -> None:
    policy(admin_user, DBA)
    wish = ask()
    for name in ("ann", "ben"):
        lifecycle.approve(wish, by=by(signers[name]))
    Policy.objects.all().delete()
    Environment.objects.filter(pk=prod.pk).update(needs_approval=False)
    dispatch.launch(RunRequest.objects.get(pk=wish.pk))
    wish.refresh_from_db()
    assert wish.state == State.LAUNCHED
