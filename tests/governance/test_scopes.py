"""Two environments on one Prefect server, each with a scope: what belongs to which, and what does not change that."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.catalog import sync
from flows.models import Automation, Deployment, Environment, Health, Server, UnassignedDeployment, WorkPool
from runs import changes, dispatch, mirror, requests, tasks
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation import chains, schedule_clock, schedule_states, schedules
from runs.governance import configuration, deployment_moves, freezes, grants, pausing
from runs.models import Action, AuditEntry, ChangeRequest, QueuedTask, Run, RunRequest, Schedule, Verb
from runs.models.notification import Subscription
from tests.background import notices, queued_tasks
from tests.cast import ASKS, FAKES, SCHEMA, by, make_environment, person
from tests.fakes.prefect import FakePrefect
from tests.made_chains import make
from tests.made_schedules import let_schedule, schedule_of
from tests.refusals import forbidden, refused

pytestmark = pytest.mark.django_db
MONTH = {"month": "2026-01"}
LAUNCHES = {
    "runs.tasks.launch": tasks.launch,
    "runs.tasks.launch_backfill": tasks.launch_backfill,
    "runs.tasks.advance_chain": tasks.advance_chain,
}


@pytest.fixture
def shared(db: None) -> FakePrefect:
    return FAKES.setdefault("http://shared.test/api", FakePrefect())


@pytest.fixture
def low(shared: FakePrefect) -> Environment:
    """What is tagged dev."""
    return make_environment("low", api_url="http://shared.test/api", scope_kind="tags", scope_values=["dev"])


@pytest.fixture
def high(low: Environment) -> Environment:
    """What is tagged prod, with approvals."""
    rules = {"is_protected": True, "needs_approval": True}
    return make_environment("high", server=low.server, scope_kind="tags", scope_values=["prod"], **rules)


@pytest.fixture
def developer(low: Environment, high: Environment) -> User:
    """May do everything in low, and nothing in high."""
    user = person("developer")
    grants.grant(by=Actor.system(), person=user, verbs=[*ASKS, "pause", "manage"], environment=low)
    return user


def add(fake: FakePrefect, name: str, *tags: str, pool: str = "default") -> Deployment:
    """Deploy, sync the server and return the row, which must be in one environment."""
    record = fake.add_deployment(flow_name=name, name=name, parameter_schema=SCHEMA, tags=tags, work_pool_name=pool)
    read(fake)
    return Deployment.objects.select_related("environment__server").get(prefect_id=record.id)


def read(fake: FakePrefect) -> None:
    tasks.sync(Server.objects.get(api_url="http://shared.test/api").pk)


def tag(fake: FakePrefect, deployment: Deployment, *tags: str) -> None:
    """Change the tags in Prefect, and sync."""
    fake.change_deployment(deployment.prefect_id, tags=tags)
    read(fake)
    deployment.refresh_from_db()


def where(deployment: Deployment) -> dict[str, bool]:
    """Environment -> whether the deployment can be run there."""
    rows = Deployment.objects.filter(prefect_id=deployment.prefect_id, deleted_upstream_at=None)
    return {row.environment.slug: row.left_scope_at is None for row in rows.select_related("environment")}


def carry_out_all() -> None:
    for action in Action.objects.filter(state__in=["wanted", "sent"]).order_by("pk"):
        tasks.carry_out(action.pk)


# What belongs where


def test_each_deployment_is_in_the_environment_of_its_scope(
    shared: FakePrefect, low: Environment, high: Environment
) -> None:
    assert where(add(shared, "one", "dev")) == {"low": True}
    assert where(add(shared, "two", "prod")) == {"high": True}
    for name, tags in {"none": ["other"], "both": ["dev", "prod"]}.items():
        shared.add_deployment(flow_name=name, name=name, tags=tags)
    before = len([call for call in shared.calls if call.method == "deployments"])
    read(shared)
    assert len([call for call in shared.calls if call.method == "deployments"]) == before + 1
    assert Deployment.objects.count() == 2
    noted = {row.full_name: row.covered_by for row in UnassignedDeployment.objects.all()}
    assert noted == {"none/none": [], "both/both": sorted([low.pk, high.pk])}
    entry = AuditEntry.objects.get(verb="deployment.unassigned")
    assert entry.after["deployments"] == 2


def test_what_gets_a_scope_at_last_is_there(shared: FakePrefect, low: Environment, high: Environment) -> None:
    record = shared.add_deployment(flow_name="late", name="late", tags=("other",))
    read(shared)
    shared.change_deployment(record.id, tags=("dev",))
    read(shared)
    assert Deployment.objects.get().environment == low
    assert not UnassignedDeployment.objects.exists()


def test_what_was_in_two_scopes_comes_out_of_them_only_by_an_administrator(
    shared: FakePrefect, low: Environment, high: Environment
) -> None:
    record = shared.add_deployment(flow_name="both", name="both", tags=("dev", "prod"))
    read(shared)
    shared.change_deployment(record.id, tags=("dev",))
    read(shared)
    assert not Deployment.objects.exists()
    assert UnassignedDeployment.objects.get().covered_by == [low.pk]


def test_what_is_deleted_in_prefect_is_not_listed_any_more(
    shared: FakePrefect, low: Environment, high: Environment
) -> None:
    gone = shared.add_deployment(flow_name="none", name="none")
    left = add(shared, "two", "prod")
    tag(shared, left)
    for pk in (gone.id, left.prefect_id):
        shared.remove_deployment(pk)
    read(shared)
    assert not UnassignedDeployment.objects.exists()
    assert where(left) == {}


# What a change in Prefect does not do


@pytest.mark.parametrize("tags", [["dev"], ["dev", "prod"], []])
def test_a_deployment_that_leaves_a_protected_scope_stays_there_and_cannot_be_run(
    shared: FakePrefect, high: Environment, developer: User, approver: User, tags: list[str]
) -> None:
    deployment = add(shared, "two", "prod")
    tag(shared, deployment, *tags)
    tasks.sync(high.server_id)
    assert where(deployment) == {"high": False}
    assert deployment.tags == ["prod"]
    grants.grant(by=Actor.system(), person=approver, verbs=[*ASKS, "pause"], environment=high)
    with refused("deployment.left_scope"):
        requests.submit(deployment, MONTH, by=by(approver))
    with refused("deployment.left_scope"):
        pausing.pause(deployment, by=by(approver))
    assert not Permissions.of(by(developer)).deployments().filter(prefect_id=deployment.prefect_id).exists()
    (entry,) = AuditEntry.objects.filter(verb="deployment.left_scope")
    assert (entry.environment, entry.subject_id) == ("high", str(deployment.pk))


def test_a_deployment_that_comes_into_a_protected_scope_is_run_by_nobody(
    shared: FakePrefect, low: Environment, developer: User
) -> None:
    deployment = add(shared, "one", "dev")
    held = requests.submit(deployment, MONTH, by=by(developer))
    shared.change_deployment(deployment.prefect_id, tags=("prod",), description="secret plans")
    # 1. Before the next sync: the launch reads the tags.
    dispatch.launch(RunRequest.objects.get(pk=held.pk))
    held.refresh_from_db()
    entry = AuditEntry.objects.get(verb="request.launch")
    assert (held.state, entry.after["refused"]["code"]) == ("refused", "deployment.left_scope")
    # 2. After it. What is new of it is not shown in low.
    read(shared)
    deployment.refresh_from_db()
    with refused("deployment.left_scope"):
        requests.submit(deployment, MONTH, by=by(developer))
    assert deployment.description == ""
    assert not Run.objects.exists()


def test_a_schedule_in_prefect_does_not_start_in_another_scope(
    shared: FakePrefect, low: Environment, developer: User
) -> None:
    let_schedule(developer, add(shared, "one", "dev"))
    deployment = Deployment.objects.get()
    schedule_of(deployment, developer, parameters=MONTH, is_native=True)
    schedule_clock.tick()
    # Before the next sync: what saves it reads the tags.
    shared.change_deployment(deployment.prefect_id, tags=("prod",))
    carry_out_all()
    assert Action.objects.get().state == "failed"
    assert "scope" in Action.objects.get().message
    assert not any(each.schedules for each in shared.deployments())


def test_a_schedule_that_ends_is_deleted_in_another_scope_too(
    shared: FakePrefect, low: Environment, developer: User
) -> None:
    let_schedule(developer, add(shared, "one", "dev"))
    deployment = Deployment.objects.get()
    kept = schedule_of(deployment, developer, parameters=MONTH, is_native=True)
    schedule_clock.tick()
    carry_out_all()
    assert [len(each.schedules) for each in shared.deployments()] == [1]
    shared.change_deployment(deployment.prefect_id, tags=("prod",))
    schedules.end(schedule_states.rows().get(pk=kept.pk), by=by(developer))
    carry_out_all()
    assert [len(each.schedules) for each in shared.deployments()] == [0]
    # What the portal has read then is recorded, as by a sync.
    assert AuditEntry.objects.filter(verb="deployment.left_scope").count() == 1


def test_administrators_are_notified_and_no_one_else(
    shared: FakePrefect, low: Environment, high: Environment, developer: User, admin_user: User, auditor: User
) -> None:
    Subscription.objects.create(person=developer, environment=None, topic="rules")
    deployment = add(shared, "one", "dev")
    tag(shared, deployment, "prod")
    found = {each.person for each in notices() if each.text.splitlines()[-1].startswith("one was in low")}
    assert found == {admin_user, auditor}


def test_deploying_again_under_the_name_is_no_way_out(shared: FakePrefect, low: Environment, high: Environment) -> None:
    deployment = add(shared, "two", "prod")
    shared.remove_deployment(deployment.prefect_id)
    read(shared)
    shared.add_deployment(flow_name="two", name="two", parameter_schema=SCHEMA, tags=("dev",))
    read(shared)
    assert not Deployment.objects.filter(environment=low).exists()
    assert UnassignedDeployment.objects.get().environment == high


def test_a_disabled_environment_gives_nothing_away(shared: FakePrefect, low: Environment, high: Environment) -> None:
    deployment = add(shared, "two", "prod")
    Environment.objects.filter(pk=high.pk).update(is_active=False)
    shared.change_deployment(deployment.prefect_id, tags=("dev",))
    read(shared)
    assert not Deployment.objects.filter(environment=low).exists()
    assert UnassignedDeployment.objects.get().earlier == [high.pk]


def test_a_deployment_that_returns_to_its_scope_can_be_run_again(
    shared: FakePrefect, low: Environment, high: Environment
) -> None:
    deployment = add(shared, "two", "prod")
    tag(shared, deployment, "dev")
    tag(shared, deployment, "prod", "more")
    assert where(deployment) == {"high": True}
    assert deployment.tags == ["prod", "more"]
    assert not UnassignedDeployment.objects.exists()
    assert AuditEntry.objects.filter(verb="deployment.returned").count() == 1


# What an administrator does


def test_out_of_a_protected_environment_a_second_administrator_signs(
    shared: FakePrefect, low: Environment, high: Environment, admin_user: User, second_administrator: User
) -> None:
    deployment = add(shared, "two", "prod")
    old = shared.add_run(deployment.prefect_id, state_type="COMPLETED")
    read(shared)
    tag(shared, deployment, "dev")
    row = UnassignedDeployment.objects.get()
    with refused("loosening.confirm"):
        deployment_moves.assign(row, by=by(admin_user), reason="r")
    change = deployment_moves.assign(row, by=by(admin_user), reason="r", confirm="high")
    assert change is not None
    read(shared)
    assert where(deployment) == {"high": False}
    changes.approve(ChangeRequest.objects.get(pk=change.pk), by=by(second_administrator))
    read(shared)
    assert where(deployment) == {"low": True}
    assert Run.objects.get(prefect_id=old.id).environment == high
    new = shared.add_run(deployment.prefect_id, state_type="RUNNING")
    read(shared)
    assert Run.objects.get(prefect_id=new.id).environment == low
    # There it is what was deleted: what was requested of it is refused.
    deployment.refresh_from_db()
    assert deployment.deleted_upstream_at
    assert deployment.left_scope_at is None


@pytest.mark.usefixtures("single_administrator")
def test_what_is_confirmed_is_not_done_after_another_change(
    shared: FakePrefect, low: Environment, high: Environment, admin_user: User
) -> None:
    deployment = add(shared, "one", "dev")
    tag(shared, deployment, "prod")
    row = UnassignedDeployment.objects.get()
    assert deployment_moves.assign(row, by=by(admin_user)) is None
    assert "runs.tasks.sync" in queued_tasks()
    tag(shared, deployment, "dev", "prod")
    tag(shared, deployment, "prod")
    assert where(deployment) == {"low": False}
    with refused("move.unclear"):
        UnassignedDeployment.objects.update(covered_by=[low.pk, high.pk])
        deployment_moves.assign(row, by=by(admin_user))
    UnassignedDeployment.objects.all().delete()
    with refused("move.done"):
        deployment_moves.assign(row, by=by(admin_user))


def test_only_administrators_assign(shared: FakePrefect, low: Environment, developer: User) -> None:
    deployment = add(shared, "one", "dev")
    tag(shared, deployment, "prod")
    with refused("access.administrators_only"):
        deployment_moves.assign(UnassignedDeployment.objects.get(), by=by(developer))


def saved(slug: str, kind: str, *values: str, **columns: object) -> Environment:
    server = Server(api_url="http://shared.test/api")
    return Environment(slug=slug, server=server, scope_kind=kind, scope_values=list(values), **columns)


@pytest.mark.parametrize(
    ("other", "code"),
    [
        (saved("other", "server"), "environment.same_server"),
        (saved("other", "tags", "dev"), "scope.overlap"),
        (saved("other", "tags"), "scope.values"),
    ],
)
def test_scopes_that_can_overlap_are_refused(low: Environment, admin_user: User, other: Environment, code: str) -> None:
    with refused(code):
        configuration.save_environment(other, by=by(admin_user))


def test_a_scope_beside_a_protected_environment_needs_a_second_signature(
    high: Environment, low: Environment, admin_user: User, second_administrator: User
) -> None:
    for environment in (saved("other", "tags", "else"), changed(low, "more"), changed(high, "prod", "more")):
        with refused("loosening.confirm"):
            configuration.save_environment(environment, by=by(admin_user), reason="r")
    change = configuration.save_environment(changed(low, "more"), by=by(admin_user), reason="r", confirm="high")
    assert change is not None
    assert Environment.objects.get(pk=low.pk).scope_values == ["dev"]


def changed(environment: Environment, *values: str) -> Environment:
    found = Environment.objects.select_related("server").get(pk=environment.pk)
    found.scope_values = list(values)
    return found


def test_after_a_scope_has_changed_nothing_moves_by_itself(
    shared: FakePrefect, low: Environment, high: Environment
) -> None:
    deployment = add(shared, "one", "dev")
    Environment.objects.filter(pk=low.pk).update(scope_values=["other"])
    Environment.objects.filter(pk=high.pk).update(scope_values=["dev"])
    read(shared)
    assert where(deployment) == {"low": False}


# Runs, work pools and automations


def test_runs_are_where_their_deployment_is(
    shared: FakePrefect, low: Environment, high: Environment, developer: User
) -> None:
    one, two = add(shared, "one", "dev"), add(shared, "two", "prod")
    nobody = shared.add_deployment(flow_name="none", name="none")
    read(shared)
    runs = {
        "low": shared.add_run(one.prefect_id, state_type="RUNNING"),
        "high": shared.add_run(two.prefect_id, state_type="RUNNING"),
        "nobody": shared.add_run(nobody.id, state_type="RUNNING"),
        "without a deployment": shared.add_run(None, state_type="RUNNING"),
    }
    read(shared)
    mirror.refresh(low, [run.id for run in runs.values()])
    found = {run.prefect_id: run.environment.slug for run in Run.objects.select_related("environment")}
    assert found == {runs["low"].id: "low", runs["high"].id: "high"}
    assert list(Run.objects.filter(Permissions.of(by(developer)).q(Verb.SEE, deployment="access_deployment__"))) == [
        Run.objects.get(environment=low)
    ]


def test_a_subflow_run_is_where_its_own_deployment_is(shared: FakePrefect, low: Environment, high: Environment) -> None:
    one, two = add(shared, "one", "dev"), add(shared, "two", "prod")
    parent = shared.add_run(one.prefect_id, state_type="RUNNING")
    task = shared.add_task_run(parent.id)
    inner = shared.add_run(None, state_type="RUNNING", parent_task_run_id=task.id)
    other = shared.add_run(two.prefect_id, state_type="RUNNING", parent_task_run_id=task.id)
    read(shared)
    found = {run.prefect_id: (run.environment.slug, run.parent_id) for run in Run.objects.select_related("environment")}
    key = Run.objects.get(prefect_id=parent.id).pk
    assert found == {parent.id: ("low", None), inner.id: ("low", key), other.id: ("high", None)}


def test_new_runs_of_what_came_into_a_protected_scope_are_seen_there_only(
    shared: FakePrefect, low: Environment, high: Environment, developer: User
) -> None:
    deployment = add(shared, "one", "dev")
    tag(shared, deployment, "prod")
    run = shared.add_run(deployment.prefect_id, state_type="RUNNING", parameters={"token": "hunter22"})
    read(shared)
    row = Run.objects.get(prefect_id=run.id)
    assert (row.environment, row.deployment, row.access_deployment) == (high, None, None)
    assert "hunter22" not in str(row.parameters)


def test_a_run_that_ended_before_its_deployment_was_read_is_found_later(
    shared: FakePrefect, low: Environment, high: Environment
) -> None:
    read(shared)
    record = shared.add_deployment(flow_name="one", name="one", tags=("dev",))
    run = shared.add_run(record.id, state_type="COMPLETED")
    mirror.sync_states(low)
    assert not Run.objects.exists()
    # Not read up to now: it would never be listed again.
    assert Health.objects.get().runs_synced_at < run.created_at  # type: ignore[operator]
    read(shared)
    assert Run.objects.get().environment == low


def test_work_pools_are_of_a_scope_by_pools_only(shared: FakePrefect) -> None:
    pools = make_environment("pools", api_url="http://shared.test/api", scope_kind="pools", scope_values=["mine"])
    make_environment("tags", server=pools.server, scope_kind="tags", scope_values=["dev"])
    for name in ("mine", "other"):
        shared.add_work_pool(name)
    add(shared, "one", "dev", pool="other")
    add(shared, "two", pool="mine")
    assert list(WorkPool.objects.values_list("environment__slug", "name")) == [("pools", "mine")]


def test_automations_are_where_they_start_something(shared: FakePrefect, low: Environment, high: Environment) -> None:
    one, two = add(shared, "one", "dev"), add(shared, "two", "prod")
    shared.add_automation("both", ("run-deployment", one.prefect_id), ("run-deployment", two.prefect_id))
    shared.add_automation("high", ("run-deployment", two.prefect_id))
    shared.add_automation("any", ("run-deployment", None))
    read(shared)
    found = {
        (row.environment.slug, row.name): [start["deployment"] for start in row.starts]
        for row in Automation.objects.select_related("environment")
    }
    assert found == {
        ("low", "both"): [str(one.prefect_id)],
        ("low", "any"): [""],
        ("high", "both"): [str(two.prefect_id)],
        ("high", "high"): [str(two.prefect_id)],
        ("high", "any"): [""],
    }


def test_the_end_of_a_freeze_resumes_no_schedule_that_may_belong_elsewhere(
    shared: FakePrefect, low: Environment, high: Environment, admin_user: User
) -> None:
    deployment = add(shared, "one", "dev")
    Deployment.objects.update(schedules=[{"description": "daily", "is_active": True}])
    grants.grant(by=Actor.system(), person=admin_user, verbs=["manage"], environment=low)
    freezes.freeze(low, by=by(admin_user), reason="r")
    for action in Action.objects.all():
        tasks.carry_out(action.pk)
    tag(shared, deployment, "prod")
    freezes.unfreeze(low, by=by(admin_user), reason="r")
    assert list(Action.objects.values_list("kind", flat=True)) == ["pause"]


def test_a_freeze_holds_what_is_in_its_scope_by_now_until_it_is_confirmed(
    shared: FakePrefect, low: Environment, high: Environment, admin_user: User
) -> None:
    deployment = add(shared, "one", "dev")
    grants.grant(by=Actor.system(), person=admin_user, verbs=["manage"])
    tag(shared, deployment, "prod")
    freezes.freeze(high, by=by(admin_user), reason="r")
    carry_out_all()
    assert [each.is_paused for each in shared.deployments()] == [True]
    # It returns, and the environment where it is was frozen meanwhile: the end of that freeze resumes it.
    tag(shared, deployment, "dev")
    freezes.freeze(low, by=by(admin_user), reason="r")
    lift(high)
    carry_out_all()
    assert [each.is_paused for each in shared.deployments()] == [True]
    lift(low)
    carry_out_all()
    assert [each.is_paused for each in shared.deployments()] == [False]
    # It moves into the frozen environment for good.
    tag(shared, deployment, "prod")
    freezes.freeze(high, by=by(admin_user), reason="r")
    carry_out_all()
    deployment_moves.assign(UnassignedDeployment.objects.get(), by=by(admin_user))
    read(shared)
    carry_out_all()
    assert where(deployment) == {"high": True}
    assert [each.is_paused for each in shared.deployments()] == [True]
    lift(high)
    carry_out_all()
    assert [each.is_paused for each in shared.deployments()] == [False]


def lift(environment: Environment) -> None:
    """End a freeze by its time."""
    environment.freezes.filter(lifted_at=None).update(until=timezone.now() - timedelta(seconds=1))
    freezes.pause_frozen_schedules()


@pytest.mark.parametrize("door", ["manual", "schedule", "chain", "backfill"])
def test_nothing_of_what_left_its_scope_is_started_by_any_way(
    shared: FakePrefect, low: Environment, high: Environment, developer: User, door: str
) -> None:
    """So what either environment forbids by windows, freezes, approvals or limits does not start."""
    let_schedule(developer, add(shared, "one", "dev"))
    deployment = Deployment.objects.get()
    if door == "manual":
        requests.submit(deployment, MONTH, by=by(developer))
    elif door == "schedule":
        schedule_of(deployment, developer, parameters=MONTH, rule="1m")
    elif door == "chain":
        only = {"key": "only", "deployment": deployment.full_name, "parameters": {"month": {"value": "2026-01"}}}
        chains.request_run(make(low, developer, only), {}, by=by(developer))
    else:
        requests.submit_backfill(deployment, MONTH, {"rows": "1..3"}, by=by(developer), at_once=1)
    shared.change_deployment(deployment.prefect_id, tags=("prod",))
    # Before the sync, and after it.
    for _ in range(2):
        Schedule.objects.filter(state="active").update(next_due=timezone.now().replace(second=0, microsecond=0))
        schedule_clock.tick()
        launch_all()
        assert not list(shared.active_flow_runs())
        read(shared)


def launch_all() -> None:
    """Run what is queued, until nothing is."""
    while queued := QueuedTask.objects.filter(task__in=LAUNCHES).order_by("pk").first():
        queued.delete()
        LAUNCHES[queued.task](*json.loads(queued.args))


# Side doors


def test_who_sees_one_environment_learns_nothing_of_the_other(
    shared: FakePrefect, low: Environment, high: Environment, developer: User
) -> None:
    add(shared, "one", "dev")
    hidden = add(shared, "two", "prod")
    permissions = Permissions.of(by(developer))
    assert list(permissions.deployments().values_list("full_name", flat=True)) == ["one/one"]
    assert list(permissions.environments()) == [low]
    # The result of a sync counts the deployments of the whole server.
    assert Health.objects.get().sync_message == ""
    with forbidden(Verb.TRIGGER):
        requests.submit(hidden, MONTH, by=by(developer))


def test_one_environment_for_a_whole_server_reads_as_before(shared: FakePrefect) -> None:
    whole = make_environment("whole", api_url="http://shared.test/api")
    deployment = add(shared, "one", "dev", "prod")
    run = shared.add_run(None, state_type="RUNNING")
    sync.sync(whole)
    mirror.refresh(whole, [run.id])
    assert where(deployment) == {"whole": True}
    assert Run.objects.get().prefect_id == run.id
    assert "1 deployments" in Health.objects.get().sync_message
