"""Pauses and limits of pools, queues and deployments: who may, what is sent, and what is believed."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from flows.catalog import sync
from flows.models import Deployment, Environment, WorkPool, WorkQueue
from flows.prefect_api.records import Unreachable
from runs import changes, tasks
from runs.actors import Actor
from runs.governance import grants, limits
from runs.models import Action, AuditEntry, ChangeRequest
from runs.models.action import State
from tests.cast import by, person
from tests.fakes import records
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db


def place(environment: Environment, fake: FakePrefect, **pool: Any) -> WorkPool:
    fake.add_deployment(flow_name="etl", name="nightly", work_pool_name="gpu")
    fake.add_work_pool("gpu", queues=(records.work_queue("fast", concurrency_limit=2),), **pool)
    sync.sync(environment)
    return WorkPool.current.select_related("environment").get(environment=environment)


@pytest.fixture
def pool(dev: Environment, fake: FakePrefect) -> WorkPool:
    return place(dev, fake, concurrency_limit=4)


@pytest.fixture
def prod_pool(prod: Environment, prod_fake: FakePrefect) -> WorkPool:
    return place(prod, prod_fake, concurrency_limit=4)


def manager_of(environment: Environment, name: str = "manager") -> User:
    user = person(name)
    grants.grant(by=Actor.system(), person=user, verbs=["see", "pause", "manage"], environment=environment)
    return user


def carry_out(made: Action | ChangeRequest) -> Action:
    assert isinstance(made, Action)
    tasks.carry_out(made.pk)
    made.refresh_from_db()
    return made


def verbs() -> list[str]:
    return list(AuditEntry.objects.order_by("sequence").values_list("verb", flat=True))


def test_a_pool_a_queue_and_a_deployment_are_limited_as_prefect_says_afterwards(
    pool: WorkPool, dev: Environment, fake: FakePrefect
) -> None:
    manager = by(manager_of(dev))
    queue, deployment = WorkQueue.current.get(), Deployment.objects.get()
    wanted: list[tuple[Any, dict[str, Any]]] = [
        (pool, {"concurrency_limit": 8}),
        (queue, {"concurrency_limit": None, "priority": 3}),
        (deployment, {"concurrency_limit": 1, "collision_strategy": "CANCEL_NEW"}),
    ]
    for target, values in wanted:
        assert carry_out(limits.set_limits(target, values, by=manager)).state == State.DONE
        target.refresh_from_db()
        assert {name: getattr(target, name) for name in values} == values
    assert verbs()[-6:] == [
        *("pool.limit", "limit.changed", "queue.limit", "limit.changed", "deployment.limit", "limit.changed"),
    ]
    entry = AuditEntry.objects.get(verb="queue.limit")
    assert (entry.before, entry.after) == (
        {"concurrency_limit": 2, "priority": 1},
        {"concurrency_limit": None, "priority": 3},
    )
    assert entry.environment == "dev"


def test_other_options_of_a_deployment_are_sent_back(dev: Environment, pool: WorkPool, fake: FakePrefect) -> None:
    deployment = Deployment.objects.get()
    options: dict[str, Any] = {"collision_strategy": "ENQUEUE", "grace_period_seconds": 90}
    fake.change_deployment(deployment.prefect_id, concurrency_limit=2, concurrency_options=options)
    sync.sync(dev)
    made = limits.set_limits(Deployment.objects.get(), {"concurrency_limit": 1}, by=by(manager_of(dev)))
    assert carry_out(made).state == State.DONE
    assert fake.deployment(deployment.prefect_id).concurrency_options == options


def test_a_pool_and_a_queue_are_paused_and_resumed(pool: WorkPool, dev: Environment, fake: FakePrefect) -> None:
    manager = by(manager_of(dev))
    for target in (pool, WorkQueue.current.get()):
        assert carry_out(limits.pause(target, by=manager, reason="drained")).state == State.DONE
        target.refresh_from_db()
        assert target.is_paused
        with refused("target.unchanged"):
            limits.pause(target, by=manager)
        assert carry_out(limits.resume(target, by=manager)).state == State.DONE
        target.refresh_from_db()
        assert not target.is_paused


def test_prefects_answer_is_not_believed(pool: WorkPool, dev: Environment, fake: FakePrefect) -> None:
    manager = by(manager_of(dev))
    fake.ignores_changes = True
    assert carry_out(limits.set_limits(pool, {"concurrency_limit": 8}, by=manager)).state == State.FAILED
    assert carry_out(limits.pause(pool, by=manager)).state == State.FAILED
    assert "limit.failed" in verbs()


def test_a_limit_that_someone_else_has_changed_meanwhile_is_left_alone(
    pool: WorkPool, dev: Environment, fake: FakePrefect
) -> None:
    made = limits.set_limits(pool, {"concurrency_limit": 8}, by=by(manager_of(dev)))
    fake.change_work_pool("gpu", concurrency_limit=1)
    assert carry_out(made).state == State.OVERTAKEN
    assert fake.work_pool("gpu").concurrency_limit == 1
    assert not [call for call in fake.calls if call.method == "update_work_pool"]


def test_without_an_answer_it_is_sent_again(pool: WorkPool, dev: Environment, fake: FakePrefect) -> None:
    made = limits.set_limits(pool, {"concurrency_limit": 8}, by=by(manager_of(dev)))
    fake.go_down(Unreachable("down"))
    assert carry_out(made).state == State.WANTED
    fake.come_back()
    Action.objects.update(next_attempt_at=None)
    assert carry_out(made).state == State.DONE


def test_one_change_of_a_limit_at_a_time(pool: WorkPool, dev: Environment) -> None:
    manager = by(manager_of(dev))
    limits.set_limits(pool, {"concurrency_limit": 8}, by=manager)
    with refused("limit.pending"):
        limits.set_limits(pool, {"concurrency_limit": 9}, by=manager)


def test_a_limit_needs_manage_and_a_pause_needs_pause_for_all_of_the_environment(
    pool: WorkPool, dev: Environment, requester: User
) -> None:
    one = person("pauser")
    grants.grant(by=Actor.system(), person=one, verbs=["see", "pause"], environment=dev)
    narrow = person("narrow")
    verbs = ["see", "pause", "manage"]
    grants.grant(by=Actor.system(), person=narrow, verbs=verbs, environment=dev, full_name="etl/nightly")
    limits.pause(pool, by=by(one))
    with refused("access.no_grant"):
        limits.set_limits(pool, {"concurrency_limit": 1}, by=by(one))
    for act in (limits.pause, limits.resume):
        with refused("access.no_grant"):
            act(pool, by=by(narrow))
    # Its own deployment is not the pool of others.
    assert limits.set_limits(Deployment.objects.get(), {"concurrency_limit": 1}, by=by(narrow))
    with refused("access.no_grant"):
        limits.set_limits(Deployment.objects.get(), {"concurrency_limit": 2}, by=by(requester))


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"concurrency_limit": -1}, "limit.number"),
        ({"concurrency_limit": True}, "limit.number"),
        ({"concurrency_limit": "8"}, "limit.number"),
        ({"concurrency_limit": 2**31}, "limit.number"),
        ({"priority": 1}, "limit.unknown"),
        ({"base_job_template": {}}, "limit.unknown"),
        ({"concurrency_limit": 4}, "target.unchanged"),
        ({}, "target.unchanged"),
    ],
)
def test_what_is_no_limit_is_refused(pool: WorkPool, dev: Environment, values: dict[str, Any], code: str) -> None:
    with refused(code):
        limits.set_limits(pool, values, by=by(manager_of(dev)))


def test_a_deployment_that_shares_a_limit_is_left_to_prefect(
    pool: WorkPool, dev: Environment, fake: FakePrefect
) -> None:
    manager = by(manager_of(dev))
    deployment = Deployment.objects.get()
    for values in ({"concurrency_limit": 0}, {"collision_strategy": "WAIT"}):
        with refused("limit.number" if "concurrency_limit" in values else "limit.strategy"):
            limits.set_limits(deployment, values, by=manager)
    made = limits.set_limits(deployment, {"concurrency_limit": 1}, by=manager)
    fake.change_deployment(deployment.prefect_id, concurrency_limit=None, limit_name="licences")
    # Shared since it was requested.
    assert carry_out(made).state == State.FAILED
    with refused("limit.shared"):
        limits.set_limits(Deployment.objects.get(), {"concurrency_limit": 1}, by=manager)


def test_a_pool_that_is_gone_is_refused(pool: WorkPool, dev: Environment, fake: FakePrefect) -> None:
    fake.remove_work_pool("gpu")
    sync.sync(dev)
    pool.refresh_from_db()
    with refused("target.gone"):
        limits.set_limits(pool, {"concurrency_limit": 1}, by=by(manager_of(dev)))


# In a protected environment


def test_more_than_before_waits_for_an_administrator_and_less_does_not(
    prod_pool: WorkPool, prod: Environment, prod_fake: FakePrefect, admin_user: User
) -> None:
    manager = manager_of(prod)
    for confirm, code in (("", "loosening.confirm"), ("dev", "loosening.confirm")):
        with refused(code):
            limits.set_limits(prod_pool, {"concurrency_limit": 9}, by=by(manager), reason="r", confirm=confirm)
    with refused("reason.required"):
        limits.set_limits(prod_pool, {"concurrency_limit": 9}, by=by(manager), confirm="prod")
    change = limits.set_limits(prod_pool, {"concurrency_limit": 9}, by=by(manager), reason="r", confirm="prod")
    assert isinstance(change, ChangeRequest)
    assert not Action.objects.exists()
    changes.approve(change, by=by(admin_user))
    action = carry_out(Action.objects.get())
    assert (action.state, action.requested_by, action.change) == (State.DONE, manager, change)
    assert prod_fake.work_pool("gpu").concurrency_limit == 9
    prod_pool.refresh_from_db()
    assert isinstance(limits.set_limits(prod_pool, {"concurrency_limit": 3}, by=by(manager), reason="r"), Action)


def test_an_approved_limit_is_not_applied_where_it_has_moved_since(
    prod_pool: WorkPool, prod: Environment, prod_fake: FakePrefect, admin_user: User
) -> None:
    change = limits.set_limits(prod_pool, {"concurrency_limit": 9}, by=by(manager_of(prod)), reason="r", confirm="prod")
    assert isinstance(change, ChangeRequest)
    prod_fake.change_work_pool("gpu", concurrency_limit=1)
    sync.sync(prod)
    with refused("rules.moved"):
        changes.approve(change, by=by(admin_user))
    assert not Action.objects.exists()


def test_one_s_own_pause_ends_freely_and_that_of_others_does_not(
    prod_pool: WorkPool, prod: Environment, prod_fake: FakePrefect, admin_user: User
) -> None:
    manager, other = manager_of(prod), manager_of(prod, "other")
    carry_out(limits.pause(prod_pool, by=by(manager), reason="r"))
    prod_pool.refresh_from_db()
    change = limits.resume(prod_pool, by=by(other), reason="r", confirm="prod")
    assert isinstance(change, ChangeRequest)
    changes.reject(change, by=by(admin_user), reason="not yet")
    assert carry_out(limits.resume(prod_pool, by=by(manager), reason="r")).state == State.DONE
    # One that was made in Prefect is nobody's.
    prod_fake.change_work_pool("gpu", is_paused=True)
    sync.sync(prod)
    prod_pool.refresh_from_db()
    assert isinstance(limits.resume(prod_pool, by=by(manager), reason="r", confirm="prod"), ChangeRequest)
