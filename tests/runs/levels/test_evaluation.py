"""Where service levels do not hold is found, alarmed once, and cleared."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.catalog import health
from flows.models import Deployment, Environment
from runs import levels, notifications, tasks
from runs.actors import Actor
from runs.governance import grants
from runs.levels import evaluation
from runs.models import AuditEntry, Breach, Run, RunEvent, ServiceLevel
from runs.models.notification import Topic
from tests.background import notices
from tests.cast import by, person
from tests.portal.many_rows import many_runs
from tests.refusals import refused

pytestmark = pytest.mark.django_db
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
Kind = ServiceLevel.Kind


@pytest.fixture
def manager(deployment: Deployment) -> User:
    user = person("manager")
    grants.grant(by=Actor.system(), person=user, verbs=["see", "manage"], environment=deployment.environment)
    return user


def level(environment: Environment, kind: Kind, threshold: float, **columns: Any) -> ServiceLevel:
    return ServiceLevel.objects.create(
        environment=environment, kind=kind, threshold=threshold, created_by_name="ada", **columns
    )


def evaluate(environment: Environment) -> list[tuple[str, bool]]:
    """The kinds of all breaches, and whether they are open."""
    health.note_runs_synced(environment, timezone.now())
    tasks.evaluate_levels()
    return [(each.level.kind, each.is_open) for each in Breach.objects.select_related("level").order_by("pk")]


@pytest.mark.parametrize(
    ("kind", "threshold", "bad", "good"),
    [
        (
            Kind.LATE,
            10,
            {"state_type": "SCHEDULED", "expected_start_at": -11 * MINUTE},
            {"state_type": "SCHEDULED", "expected_start_at": -9 * MINUTE},
        ),
        (
            Kind.LATE,
            10,
            {"state_type": "PENDING", "expected_start_at": -11 * MINUTE},
            {"state_type": "RUNNING", "expected_start_at": -11 * MINUTE},
        ),
        (
            Kind.LONG,
            30,
            {"state_type": "RUNNING", "started_at": -31 * MINUTE},
            {"state_type": "RUNNING", "started_at": -29 * MINUTE},
        ),
    ],
)
def test_active_runs_breach_a_level_and_meet_it_again(
    deployment: Deployment, kind: Kind, threshold: float, bad: dict[str, Any], good: dict[str, Any]
) -> None:
    def run(columns: dict[str, Any]) -> None:
        moved = {name: timezone.now() + at if isinstance(at, timedelta) else at for name, at in columns.items()}
        Run.objects.update(**moved)

    many_runs(deployment, 1)
    level(deployment.environment, kind, threshold)
    run(good)
    assert evaluate(deployment.environment) == []
    run(bad)
    assert evaluate(deployment.environment) == [(kind, True)]
    assert evaluate(deployment.environment) == [(kind, True)], "alarmed once"
    run(good)
    assert evaluate(deployment.environment) == [(kind, False)]
    run(bad)
    assert evaluate(deployment.environment) == [(kind, False), (kind, True)]


def test_longer_than_usual_is_longer_than_the_percentile_of_completed_runs(deployment: Deployment) -> None:
    now = timezone.now()
    many_runs(deployment, 20, run_seconds=60, ended_at=now - HOUR)
    running = many_runs(deployment, 1, state_type="RUNNING", started_at=now - 2 * MINUTE)[0]
    level(deployment.environment, Kind.UNUSUAL, 3)
    assert evaluate(deployment.environment) == []
    Run.objects.filter(pk=running.pk).update(started_at=now - 4 * MINUTE)
    assert evaluate(deployment.environment) == [(Kind.UNUSUAL, True)]
    assert Breach.objects.get().value == pytest.approx(4, rel=0.15)


def test_without_enough_completed_runs_nothing_is_usual(deployment: Deployment) -> None:
    now = timezone.now()
    many_runs(deployment, evaluation.FEWEST_COMPLETED - 1, run_seconds=1, ended_at=now)
    many_runs(deployment, 1, state_type="RUNNING", started_at=now - HOUR)
    level(deployment.environment, Kind.UNUSUAL, 1)
    assert evaluate(deployment.environment) == []


def test_a_deployment_that_does_not_complete_breaches_its_level(deployment: Deployment) -> None:
    now = timezone.now()
    Deployment.objects.update(created_upstream_at=now - timedelta(days=9))
    found = level(deployment.environment, Kind.SILENT, 24)
    assert evaluate(deployment.environment) == [], "expected since there is a level"
    ServiceLevel.objects.filter(pk=found.pk).update(created_at=now - timedelta(days=2))
    many_runs(deployment, 1, state_type="FAILED", ended_at=now - HOUR)
    assert evaluate(deployment.environment) == [(Kind.SILENT, True)]
    many_runs(deployment, 1, ended_at=now - HOUR)
    assert evaluate(deployment.environment) == [(Kind.SILENT, False)]


def test_the_share_of_failures_is_of_enough_runs_of_its_days(deployment: Deployment) -> None:
    now = timezone.now()
    level(deployment.environment, Kind.FAILING, 20, days=2)
    many_runs(deployment, 3, state_type="FAILED", ended_at=now - HOUR)
    many_runs(deployment, 9, state_type="FAILED", ended_at=now - timedelta(days=4))
    many_runs(deployment, 9, state_type="CANCELLED", ended_at=now - HOUR)
    assert evaluate(deployment.environment) == [], "three runs are too few"
    many_runs(deployment, 3, ended_at=now - HOUR)
    assert evaluate(deployment.environment) == [(Kind.FAILING, True)]
    many_runs(deployment, 9, ended_at=now - HOUR)
    assert evaluate(deployment.environment) == [(Kind.FAILING, False)]


def test_only_the_deployments_that_it_selects_count(deployment: Deployment, prod_deployment: Deployment) -> None:
    late = {"state_type": "SCHEDULED", "expected_start_at": timezone.now() - HOUR}
    for place in (deployment, prod_deployment):
        many_runs(place, 1, **late)
    level(deployment.environment, Kind.LATE, 1, full_name="other/other")
    level(deployment.environment, Kind.LATE, 1, tag="none")
    assert evaluate(deployment.environment) == []
    level(deployment.environment, Kind.LATE, 1, full_name=deployment.full_name, tag="crm")
    assert evaluate(deployment.environment) == [(Kind.LATE, True)]
    assert Breach.objects.get().deployment == deployment


def test_old_readings_breach_and_clear_nothing(deployment: Deployment) -> None:
    late = many_runs(deployment, 1, state_type="SCHEDULED", expected_start_at=timezone.now() - HOUR)
    level(deployment.environment, Kind.LATE, 1)
    health.note_runs_synced(deployment.environment, timezone.now() - HOUR)
    tasks.evaluate_levels()
    assert not Breach.objects.exists()
    evaluate(deployment.environment)
    Run.objects.filter(pk=late[0].pk).update(state_type="COMPLETED")
    health.note_runs_synced(deployment.environment, timezone.now() - HOUR)
    tasks.evaluate_levels()
    assert Breach.objects.get().is_open


def test_one_message_a_level_to_those_who_see_a_deployment(
    deployment: Deployment, viewer: User, stranger: User
) -> None:
    for user in (viewer, stranger):
        notifications.subscribe(user, [(Topic.LEVEL, None)], by=by(user))
    many_runs(deployment, 1, state_type="SCHEDULED", expected_start_at=timezone.now() - HOUR)
    found = level(deployment.environment, Kind.LATE, 1, runbook="https://wiki.example/late")
    for _ in range(2):
        evaluate(deployment.environment)
    (message,) = notices()
    assert (message.person, message.target_kind, message.target_id) == (viewer, "servicelevel", str(found.pk))
    assert "https://wiki.example/late" in message.text
    Run.objects.update(state_type="COMPLETED")
    evaluate(deployment.environment)
    assert RunEvent.objects.filter(kind=RunEvent.Kind.LEVEL_CLEARED).count() == 1
    assert [each.person for each in notices().exclude(pk=message.pk)] == [viewer], "that it holds again"


# Who sets them


def test_one_is_created_and_removed_which_clears_its_breaches(deployment: Deployment, manager: User) -> None:
    made = levels.create(deployment.environment, by=by(manager), kind="late", threshold=1, tag="crm", owner=manager)
    many_runs(deployment, 1, state_type="SCHEDULED", expected_start_at=timezone.now() - HOUR)
    assert evaluate(deployment.environment) == [(Kind.LATE, True)]
    levels.remove(made, by=by(manager), reason="not needed")
    assert evaluate(deployment.environment) == [(Kind.LATE, False)]
    with refused("level.removed"):
        levels.remove(made, by=by(manager))
    verbs = AuditEntry.objects.filter(verb__startswith="level.").order_by("sequence").values_list("verb", "outcome")
    assert list(verbs) == [("level.create", "done"), ("level.remove", "done"), ("level.remove", "refused")]


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("level.kind", {"kind": "slow"}),
        ("level.threshold", {"threshold": 0}),
        ("level.threshold", {"threshold": math.nan}),
        ("level.threshold", {"threshold": math.inf}),
        ("level.days", {"kind": "failing", "days": 0}),
        ("level.deployment", {"full_name": "none/none"}),
        ("level.runbook", {"runbook": "javascript:alert(1)"}),
    ],
)
def test_wrong_values_are_refused(deployment: Deployment, manager: User, code: str, values: dict[str, Any]) -> None:
    with refused(code):
        levels.create(deployment.environment, by=by(manager), **{"kind": "late", "threshold": 5} | values)
    assert not ServiceLevel.objects.exists()


def test_it_needs_the_permission_to_manage_what_it_is_about(
    deployment: Deployment, viewer: User, stranger: User, manager: User
) -> None:
    with refused("access.no_grant"):
        levels.create(deployment.environment, by=by(viewer), kind="late", threshold=5)
    narrow = person("narrow")
    place = {"environment": deployment.environment, "full_name": deployment.full_name}
    grants.grant(by=Actor.system(), person=narrow, verbs=["see", "manage"], **place)
    with refused("access.no_grant"):
        levels.create(deployment.environment, by=by(narrow), kind="late", threshold=5)
    made = levels.create(
        deployment.environment, by=by(narrow), kind="late", threshold=5, full_name=deployment.full_name
    )
    with refused("access.no_grant"):
        levels.remove(made, by=by(viewer))
    with refused("level.owner"):
        levels.create(deployment.environment, by=by(manager), kind="late", threshold=5, owner=stranger)


def test_one_for_a_deployment_that_is_hidden_is_one_for_none(deployment: Deployment, manager: User) -> None:
    place = {"environment": deployment.environment, "full_name": deployment.full_name, "effect": "deny"}
    grants.grant(by=Actor.system(), person=manager, verbs=["see"], **place)
    with refused("level.deployment"):
        levels.create(deployment.environment, by=by(manager), kind="late", threshold=5, full_name=deployment.full_name)


def test_levels_and_breaches_are_seen_by_those_who_see_what_they_are_about(
    deployment: Deployment, prod_deployment: Deployment, viewer: User, stranger: User
) -> None:
    many_runs(deployment, 1, state_type="SCHEDULED", expected_start_at=timezone.now() - HOUR)
    named = level(deployment.environment, Kind.LATE, 1, full_name=deployment.full_name)
    level(prod_deployment.environment, Kind.LATE, 1)
    evaluate(deployment.environment)
    assert list(levels.LEVELS.rows(by(viewer))) == [named]
    assert levels.BREACHES.rows(by(viewer)).count() == 1
    assert not levels.LEVELS.rows(by(stranger)).exists()
    place = {"environment": deployment.environment, "full_name": deployment.full_name, "effect": "deny"}
    grants.grant(by=Actor.system(), person=viewer, verbs=["see"], **place)
    assert not levels.LEVELS.rows(by(viewer)).exists()
    assert not levels.BREACHES.rows(by(viewer)).exists()
