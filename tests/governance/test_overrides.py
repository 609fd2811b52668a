"""Emergency overrides and their review, overridden windows, freezes and forced cancellations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import changes, dispatch, notifications, requests, tasks
from runs.access.decisions import Forbidden, Target
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import freezes, grants, policies, windows
from runs.models import (
    Action,
    AuditEntry,
    BreakGlass,
    ChangeRequest,
    Policy,
    Run,
    RunRequest,
    Verb,
    Window,
)
from runs.models.notification import Topic
from runs.models.request import State
from tests.background import notices
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.refusals import forbidden, refused

pytestmark = pytest.mark.django_db


@contextmanager
def clock_at(moment: datetime) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timezone, "now", lambda: moment)
        yield


@pytest.fixture
def firefighter(prod: Environment) -> User:
    user = person("firefighter")
    grants.grant(by=Actor.system(), person=user, verbs=["see", "break glass", "override freeze"], environment=prod)
    return user


@pytest.fixture
def ask(prod_deployment: Deployment, requester: User) -> Callable[..., RunRequest]:
    def submit(**columns: Any) -> RunRequest:
        return requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="r", **columns)

    return submit


def sent(fake: FakePrefect) -> int:
    return [call.method for call in fake.calls].count("create_flow_run")


def launch(run_request: RunRequest) -> None:
    RunRequest.objects.filter(pk=run_request.pk).update(next_attempt_at=None)
    dispatch.launch(RunRequest.objects.get(pk=run_request.pk))
    run_request.refresh_from_db()


# Emergency overrides


def test_glass_is_broken_by_its_verb_alone(
    ask: Callable[..., RunRequest], requester: User, approver: User, admin_user: User, viewer: User
) -> None:
    run_request = ask()
    for unprivileged in (requester, approver, admin_user, viewer):
        with forbidden(Verb.BREAK_GLASS):
            changes.break_glass(run_request.change, by=by(unprivileged), reason="fire")
    assert run_request.state == State.HELD
    assert AuditEntry.objects.filter(verb="request.break_glass", outcome="refused").count() == 4


def test_a_request_behind_broken_glass_goes_once_and_is_marked(
    ask: Callable[..., RunRequest], firefighter: User, approver: User, prod: Environment, prod_fake: FakePrefect
) -> None:
    notifications.subscribe(approver, [(Topic.BREAK_GLASS, None)], by=by(approver))
    run_request = ask()
    row = changes.break_glass(run_request.change, by=by(firefighter), reason="payroll is due")
    run_request.refresh_from_db()
    assert run_request.state == State.APPROVED
    launch(run_request)
    assert run_request.state == State.LAUNCHED
    (record,) = prod_fake.flow_runs([run_request.flow_run_id])
    assert "break-glass" in record.tags
    assert [notice.person for notice in notices().filter(topic=Topic.BREAK_GLASS)] == [approver]
    assert row.reviewed_at is None
    entry = AuditEntry.objects.get(verb="request.break_glass")
    assert (entry.actor_name, entry.outcome, entry.reason) == ("firefighter", "done", "payroll is due")
    with refused("override.not_waiting"):
        changes.break_glass(run_request.change, by=by(firefighter), reason="again")


def test_broken_glass_is_over_after_its_minutes(
    ask: Callable[..., RunRequest], firefighter: User, prod_fake: FakePrefect
) -> None:
    run_request = ask()
    row = changes.break_glass(run_request.change, by=by(firefighter), reason="fire", minutes=5)
    with clock_at(row.until + timedelta(seconds=1)):
        launch(run_request)
    assert run_request.state == State.REFUSED
    assert AuditEntry.objects.get(verb="request.launch").after["refused"]["code"] == "override.expired"
    assert sent(prod_fake) == 0


@pytest.mark.parametrize(("reason", "minutes"), [("", 5), ("  ", 5), ("fire", 0), ("fire", 61), ("fire", -5)])
def test_glass_wants_a_reason_and_a_few_minutes(
    ask: Callable[..., RunRequest], firefighter: User, reason: str, minutes: int
) -> None:
    run_request = ask()
    with pytest.raises(Refused):
        changes.break_glass(run_request.change, by=by(firefighter), reason=reason, minutes=minutes)
    assert not BreakGlass.objects.exists()


def test_no_glass_is_left_to_break_for_what_expired(ask: Callable[..., RunRequest], firefighter: User) -> None:
    run_request = ask()
    ChangeRequest.objects.filter(pk=run_request.change_id).update(expires_at=timezone.now() - timedelta(seconds=1))
    with refused("request.expired"):
        changes.break_glass(run_request.change, by=by(firefighter), reason="fire")


@pytest.mark.parametrize("gate", ["grant", "frozen", "deployed"])
def test_broken_glass_opens_no_other_gate(
    ask: Callable[..., RunRequest],
    firefighter: User,
    admin_user: User,
    requester: User,
    prod: Environment,
    prod_fake: FakePrefect,
    gate: str,
) -> None:
    run_request = ask()
    changes.break_glass(run_request.change, by=by(firefighter), reason="fire")
    run_request.refresh_from_db()
    if gate == "grant":
        grants.grant(by=Actor.system(), person=requester, verbs=["trigger"], effect="deny")
    elif gate == "frozen":
        freezes.freeze(prod, by=by(admin_user), reason="year end")
    else:
        prod_fake.change_deployment(run_request.spec.deployment_prefect_id, version="2")
    launch(run_request)
    assert run_request.state == (State.APPROVED if gate == "frozen" else State.REFUSED)
    assert sent(prod_fake) == 0


def test_who_had_a_part_in_it_does_not_review_it(
    ask: Callable[..., RunRequest], firefighter: User, requester: User, approver: User, viewer: User, prod: Environment
) -> None:
    row = changes.break_glass(ask(on_behalf_of=viewer).change, by=by(firefighter), reason="fire")
    for part in (firefighter, requester, viewer):
        grants.grant(by=Actor.system(), person=part, verbs=["see", "approve"], environment=prod)
        with refused("review.own"):
            changes.review(row, by=by(part), was_right=True, text="fine")
    with refused("review.text_required"):
        changes.review(row, by=by(approver), was_right=True, text=" ")
    changes.review(row, by=by(approver), was_right=False, text="It could have waited.")
    row.refresh_from_db()
    assert (row.reviewed_by, row.was_right) == (approver, False)
    with refused("review.twice"):
        changes.review(row, by=by(approver), was_right=True, text="On second thought.")


def test_a_review_takes_the_right_to_approve(
    ask: Callable[..., RunRequest], firefighter: User, admin_user: User, auditor: User
) -> None:
    row = changes.break_glass(ask().change, by=by(firefighter), reason="fire")
    for unprivileged in (admin_user, auditor):
        with pytest.raises(Forbidden):
            changes.review(row, by=by(unprivileged), was_right=True, text="fine")


# Windows and freezes


@pytest.fixture
def closed(admin_user: User, dev: Environment) -> Window:
    """A window of one minute in dev that is not open for months."""
    far = timezone.now() + timedelta(days=120)
    window = Window(name="rare", environment=dev, cron=f"0 3 1 {far.month} *", minutes=1)
    policies.save_window(window, by=by(admin_user))
    return window


def test_outside_its_window_a_run_waits_and_says_until_when(
    deployment: Deployment, requester: User, closed: Window, fake: FakePrefect
) -> None:
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    launch(run_request)
    assert run_request.state == State.APPROVED
    standing = windows.standing(Target.of(deployment))
    assert standing.opens_at is not None
    assert run_request.message == standing.sentence
    assert sent(fake) == 0
    closed.delete()
    launch(run_request)
    assert run_request.state == State.LAUNCHED


def test_by_policy_it_is_refused_at_once(
    deployment: Deployment, requester: User, admin_user: User, closed: Window
) -> None:
    policies.save_policy(Policy(name="strict", outside_window="refuse"), by=by(admin_user))
    with refused("window.closed"):
        requests.submit(deployment, {"month": "2026-10"}, by=by(requester))


def test_a_window_that_closed_after_the_asking_refuses_at_launch(
    deployment: Deployment, requester: User, admin_user: User, fake: FakePrefect
) -> None:
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    policies.save_policy(Policy(name="strict", outside_window="refuse"), by=by(admin_user))
    policies.save_window(Window(name="never", effect="deny", cron="* * * * *", minutes=5), by=by(admin_user))
    launch(run_request)
    assert run_request.state == State.REFUSED
    assert sent(fake) == 0


def test_a_window_is_overridden_by_its_verb_with_a_reason_alone(
    deployment: Deployment, requester: User, closed: Window, fake: FakePrefect, admin_user: User
) -> None:
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    boss = person("boss")
    grants.grant(by=Actor.system(), person=boss, verbs=["see", "override freeze"])
    for unprivileged in (requester, admin_user):
        with forbidden(Verb.OVERRIDE_FREEZE):
            changes.override(run_request, by=by(unprivileged), reason="now")
    with refused("window.reason_required"):
        changes.override(run_request, by=by(boss), reason="")
    changes.override(run_request, by=by(boss), reason="the board waits")
    launch(run_request)
    assert run_request.state == State.LAUNCHED
    (record,) = fake.flow_runs([run_request.flow_run_id])
    assert "window-override" in record.tags


def test_asking_to_go_anyway_takes_the_verb_too(deployment: Deployment, requester: User, closed: Window) -> None:
    with forbidden(Verb.OVERRIDE_FREEZE):
        requests.submit(deployment, {"month": "2026-10"}, by=by(requester), reason="now", overrides_windows=True)
    grants.grant(by=Actor.system(), person=requester, verbs=["override freeze"])
    with refused("window.reason_required"):
        requests.submit(deployment, {"month": "2026-10"}, by=by(requester), overrides_windows=True)
    run_request = requests.submit(
        deployment, {"month": "2026-10"}, by=by(requester), reason="now", overrides_windows=True
    )
    assert run_request.overridden_by_name == "requester"


def test_a_freeze_holds_back_a_planned_run_until_it_is_lifted(
    deployment: Deployment, requester: User, admin_user: User, dev: Environment, fake: FakePrefect
) -> None:
    at = timezone.now() + timedelta(hours=1)
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester), scheduled_for=at)
    freezes.freeze(dev, by=by(admin_user), reason="year end")
    with clock_at(at):
        launch(run_request)
        assert run_request.state == State.APPROVED
        assert "dev is frozen by administrator: year end." in run_request.message
        assert sent(fake) == 0
        freezes.unfreeze(dev, by=by(admin_user))
        launch(run_request)
    assert run_request.state == State.LAUNCHED


def test_a_freeze_takes_manage_of_everything_there(
    requester: User, approver: User, prod: Environment, prod_deployment: Deployment
) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["manage"], environment=prod, tag="crm")
    for unprivileged in (requester, approver):
        with forbidden(Verb.MANAGE):
            freezes.freeze(prod, by=by(unprivileged), reason="mine")
    assert freezes.freeze_of(prod) is None


# Forced cancellations


def cancel(run: Run, user: User) -> Action:
    return requests.cancel(run, by=by(user), reason="stuck")


def test_a_cancel_is_forced_only_after_an_ordinary_one_had_its_time(
    a_run: Callable[..., Run], requester: User, fake: FakePrefect
) -> None:
    run = a_run("RUNNING")
    force = {"by": by(requester), "reason": "its machine is gone"}
    with forbidden(Verb.FORCE_CANCEL):
        requests.force_cancel(run, **force)
    grants.grant(by=Actor.system(), person=requester, verbs=["force cancel"])
    with refused("force.too_early"):
        requests.force_cancel(run, **force)
    earlier = cancel(run, requester)
    tasks.carry_out(earlier.pk)
    with refused("force.too_early"):
        requests.force_cancel(run, **force)
    Action.objects.filter(pk=earlier.pk).update(requested_at=timezone.now() - timedelta(minutes=3))
    with refused("force.reason_required"):
        requests.force_cancel(run, by=by(requester), reason=" ")
    forced = requests.force_cancel(run, **force)
    with pytest.raises(Refused):
        requests.force_cancel(run, **force)
    tasks.carry_out(forced.pk)
    run.refresh_from_db()
    assert run.state_type == "CANCELLED"
    assert [each.state for each in run.actions.order_by("pk")] == ["failed", "done"]


def test_a_run_that_ended_is_not_forced(a_run: Callable[..., Run], requester: User) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["force cancel"])
    with refused("run.finished"):
        requests.force_cancel(a_run("COMPLETED"), by=by(requester), reason="gone")


def test_a_prohibition_to_cancel_is_one_to_force(a_run: Callable[..., Run], requester: User) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["force cancel"])
    grants.grant(by=Actor.system(), person=requester, verbs=["cancel"], effect="deny")
    with forbidden(Verb.FORCE_CANCEL, "access.denied"):
        requests.force_cancel(a_run("RUNNING"), by=by(requester), reason="gone")
