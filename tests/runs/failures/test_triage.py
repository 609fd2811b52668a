"""What people do with failures: who may, what it changes, and what the audit trail has of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment
from runs import failures
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.failures import group_retries
from runs.governance import grants
from runs.models import AuditEntry, FailureGroup, Run
from runs.models.failure import in_states
from tests.cast import by, person
from tests.failed_runs import a_failure
from tests.refusals import refused

pytestmark = pytest.mark.django_db
State = FailureGroup.State
SOON = timedelta(days=1)
ACTS: dict[str, Callable[[FailureGroup, Actor], FailureGroup]] = {
    "failure.own": lambda group, actor: failures.assign(group, None, by=actor),
    "failure.acknowledge": lambda group, actor: failures.acknowledge(group, by=actor),
    "failure.mute": lambda group, actor: failures.mute(group, timezone.now() + SOON, by=actor, reason="later"),
    "failure.resolve": lambda group, actor: failures.resolve(group, by=actor, reason="fixed"),
    "failure.note": lambda group, actor: failures.comment(group, "asked the supplier", by=actor),
}


@pytest.fixture
def group(deployment: Deployment) -> FailureGroup:
    return a_failure(deployment)


@pytest.fixture
def operator(db: None) -> User:
    return person("operator", "Operator")


def last_entry() -> tuple[str, str, str]:
    entry = AuditEntry.objects.order_by("-sequence").first()
    assert entry is not None
    return entry.verb, entry.outcome, entry.environment


@pytest.mark.parametrize("verb", ACTS)
def test_each_act_is_recorded_in_the_trail_and_in_the_history(group: FailureGroup, operator: User, verb: str) -> None:
    before = group.acts.count()
    ACTS[verb](group, by(operator))
    assert last_entry() == (verb, "done", "dev")
    assert group.acts.count() == before + 1
    assert group.acts.all()[0].by_name == "operator"


@pytest.mark.parametrize("verb", ACTS)
def test_without_the_permission_to_cancel_each_act_is_refused(group: FailureGroup, viewer: User, verb: str) -> None:
    before = FailureGroup.objects.values().get()
    with refused("access.no_grant"):
        ACTS[verb](group, by(viewer))
    assert last_entry() == (verb, "refused", "dev")
    assert FailureGroup.objects.values().get() == before


def test_an_owner_makes_it_known_and_must_be_able_to_see_it(
    group: FailureGroup, operator: User, viewer: User, stranger: User
) -> None:
    with refused("failure.owner"):
        failures.assign(group, stranger, by=by(operator))
    failures.assign(group, viewer, by=by(operator))
    group.refresh_from_db()
    assert (group.owner, group.state) == (viewer, State.KNOWN)
    failures.assign(group, None, by=by(operator))
    group.refresh_from_db()
    assert (group.owner, group.state) == (None, State.KNOWN)


def test_a_mute_ends_by_itself_and_needs_an_end(
    group: FailureGroup, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in (timedelta(0), -SOON, timedelta(days=400)):
        with refused("failure.until"):
            failures.mute(group, timezone.now() + wrong, by=by(operator))
    failures.mute(group, timezone.now() + SOON, by=by(operator))
    group.refresh_from_db()
    assert group.shown_state == State.MUTED
    now = timezone.now()
    assert [FailureGroup.objects.filter(in_states([each], now)).exists() for each in ("muted", "known", "open")] == [
        *(True, False, False)
    ]
    later = now + 2 * SOON
    assert [FailureGroup.objects.filter(in_states([each], later)).exists() for each in ("muted", "known", "open")] == [
        *(False, True, True)
    ]
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert group.shown_state == State.KNOWN


def test_it_is_resolved_with_a_reason_and_reopened(group: FailureGroup, operator: User) -> None:
    with refused("failure.reason_required"):
        failures.resolve(group, by=by(operator), reason=" ")
    failures.resolve(group, by=by(operator), reason="fixed in 1.4")
    group.refresh_from_db()
    assert (group.state, group.reason, group.state_by_name) == (State.RESOLVED, "fixed in 1.4", "operator")
    with refused("failure.state"):
        failures.resolve(group, by=by(operator), reason="again")
    with refused("failure.state"):
        failures.mute(group, timezone.now() + SOON, by=by(operator))
    failures.acknowledge(group, by=by(operator))
    group.refresh_from_db()
    assert (group.state, group.reason) == (State.KNOWN, "")
    with refused("failure.state"):
        failures.acknowledge(group, by=by(operator))


def test_texts_have_a_limit_and_a_note_is_not_empty(group: FailureGroup, operator: User) -> None:
    with refused("failure.text_required"):
        failures.comment(group, " ", by=by(operator))
    with refused("failure.too_long"):
        failures.comment(group, "x" * 1001, by=by(operator))
    failures.comment(group, "x" * 1000, by=by(operator))


def test_the_list_has_the_groups_of_visible_deployments_and_searches_only_readable_messages(
    group: FailureGroup, prod_deployment: Deployment, requester: User, viewer: User, stranger: User
) -> None:
    hidden = a_failure(prod_deployment, "KeyError: secret sauce")
    blind = person("blind")
    for place in (group.environment, hidden.environment):
        grants.grant(by=Actor.system(), person=blind, verbs=["see"], environment=place)
    rows = {
        user.username: set(failures.FAILURES.rows(by(user)).values_list("pk", flat=True))
        for user in (requester, viewer, stranger, blind)
    }
    both = {group.pk, hidden.pk}
    assert rows == {"requester": both, "viewer": {group.pk}, "stranger": set(), "blind": both}
    found = {
        user.username: failures.FAILURES.rows(by(user), {"search": "sauce"}).count() for user in (requester, blind)
    }
    assert found == {"requester": 1, "blind": 0}


def test_a_denial_of_one_deployment_hides_its_failures(group: FailureGroup, viewer: User) -> None:
    assert failures.FAILURES.rows(by(viewer)).exists()
    place = {"environment": group.environment, "full_name": group.what, "effect": "deny"}
    grants.grant(by=Actor.system(), person=viewer, verbs=["see"], **place)
    assert not failures.FAILURES.rows(by(viewer)).exists()


def test_the_runs_of_a_group_are_retried_one_by_one(
    group: FailureGroup, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = list(failures.retryable_runs(group, Permissions.of(by(operator))))
    assert [run.failure.group_id for run in runs] == [group.pk]
    (found,) = failures.retry_runs(runs, by=by(operator), reason="again")
    assert (found.made, found.code) == (None, "retry.external"), "the answer of the single retry, which is recorded"
    assert last_entry() == ("run.retry", "refused", "dev")
    monkeypatch.setattr(group_retries, "LONGEST", -1.0)
    assert failures.retry_runs(runs, by=by(operator)) == []
    Run.objects.update(state_type="COMPLETED")
    assert not failures.retryable_runs(group, Permissions.of(by(operator))).exists()
