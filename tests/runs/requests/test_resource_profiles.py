"""Runs with a resource profile: which can be chosen, what is frozen and sent, and what is refused at the launch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from flows.catalog import sync
from flows.models import Deployment, Environment, WorkPool
from runs import changes, dispatch, requests
from runs.automation import schedule_checks
from runs.governance import resource_profiles
from runs.models import Agent, AuditEntry, ChangeRequest, Policy, ResourceProfile, RunRequest
from runs.models.request import State
from runs.requests import presets, profile_rules
from tests.cast import by
from tests.fakes import records
from tests.fakes.prefect import FakePrefect
from tests.made_schedules import let_schedule, schedule_of
from tests.refusals import refused

pytestmark = pytest.mark.django_db

TEMPLATE: dict[str, Any] = {
    "job_configuration": {"cpu": "{{ cpu }}"},
    "variables": {
        "type": "object",
        "properties": {
            "cpu": {"type": "integer", "minimum": 1, "maximum": 16, "default": 1},
            "memory": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": "hunter22"},
            "image": {"type": "string"},
            "env": {"type": "object", "additionalProperties": {"type": "string"}},
            "registry_password": {"type": "string"},
        },
        "required": ["image"],
    },
}
LARGE: dict[str, Any] = {"cpu": 8, "memory": "16Gi"}
VALUES = {"month": "2026-10"}


def in_pool(deployment: Deployment, fake: FakePrefect, template: Any = None) -> None:
    """Put a deployment into the work pool “gpu” of type kubernetes, which has a queue “fast”."""
    queues = (records.work_queue("default"), records.work_queue("fast"))
    fake.add_work_pool("gpu", type="kubernetes", base_job_template=template or TEMPLATE, queues=queues)
    fake.change_deployment(deployment.prefect_id, work_pool_name="gpu", work_queue_name="default")
    sync.sync(deployment.environment)
    deployment.refresh_from_db()


@pytest.fixture
def pooled(deployment: Deployment, fake: FakePrefect) -> Deployment:
    in_pool(deployment, fake)
    return deployment


@pytest.fixture
def make(admin_user: User) -> Callable[..., ResourceProfile]:
    def make_one(environment: Environment, name: str = "large", **options: Any) -> ResourceProfile:
        chosen = {"pool_name": "gpu", "job_variables": LARGE, **options}
        made = resource_profiles.create(environment, by=by(admin_user), name=name, **chosen)
        assert isinstance(made, ResourceProfile)
        return made

    return make_one


def codes(run_request: RunRequest) -> str:
    entry = AuditEntry.objects.get(verb="request.launch", subject_id=str(run_request.pk))
    return str(entry.after["refused"]["code"])


def test_what_it_sets_is_frozen_approved_and_sent(
    prod_deployment: Deployment,
    prod_fake: FakePrefect,
    requester: User,
    approver: User,
    make: Callable[..., ResourceProfile],
    single_administrator: None,
) -> None:
    in_pool(prod_deployment, prod_fake)
    make(prod_deployment.environment, work_queue="fast", reason="r", confirm="prod")
    run_request = requests.submit(prod_deployment, VALUES, by=by(requester), reason="r", profile="large")
    assert run_request.spec.profile == {"name": "large", "work_queue": "fast", "job_variables": LARGE}
    entry = AuditEntry.objects.get(verb="request.submit", subject_id=str(run_request.pk))
    assert entry.after["profile"] == run_request.spec.profile
    changes.approve(run_request.change, by=by(approver))
    run_request.refresh_from_db()
    dispatch.launch(run_request)
    assert run_request.state == State.LAUNCHED
    (record,) = prod_fake.flow_runs([run_request.flow_run_id])
    assert (record.job_variables, record.work_queue_name) == (LARGE, "fast")
    # Another profile is another request for an approver.
    plain = requests.submit(prod_deployment, VALUES, by=by(requester), reason="r")
    assert plain.spec.digest != run_request.spec.digest


def test_a_run_without_one_sends_nothing_of_it(pooled: Deployment, fake: FakePrefect, requester: User) -> None:
    run_request = requests.submit(pooled, VALUES, by=by(requester))
    dispatch.launch(run_request)
    (call,) = [call for call in fake.calls if call.method == "create_flow_run"]
    assert "job_variables" not in call.arguments
    assert run_request.state == State.LAUNCHED


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"job_variables": {"cores": 2}}, "resource_profile.variables"),
        ({"job_variables": {"cpu": 99}}, "resource_profile.variables"),
        ({"job_variables": {"cpu": "many"}}, "resource_profile.variables"),
        ({"job_variables": {"env": {"TOKEN": "x"}}}, "resource_profile.secret"),
        ({"job_variables": {"registry_password": "x"}}, "resource_profile.secret"),
        ({"job_variables": {"image": "{{ prefect.blocks.secret.x }}"}}, "resource_profile.placeholder"),
        ({"job_variables": {}}, "resource_profile.empty"),
        ({"work_queue": "slow"}, "resource_profile.queue"),
        ({"pool_name": "", "pool_type": "kubernetes", "work_queue": "fast"}, "resource_profile.queue"),
        ({"pool_name": "none"}, "resource_profile.pool"),
        ({"pool_type": "kubernetes"}, "resource_profile.pool"),
        ({"groups": ["No one"]}, "resource_profile.group"),
        ({"name": " "}, "resource_profile.name"),
        ({"name": "taken"}, "name.taken"),
    ],
)
def test_one_that_no_run_could_have_or_that_holds_a_secret_is_refused(
    pooled: Deployment, make: Callable[..., ResourceProfile], options: dict[str, Any], code: str
) -> None:
    make(pooled.environment, "taken")
    with refused(code):
        make(pooled.environment, **options)
    assert AuditEntry.objects.filter(verb="resource_profile.create", outcome="refused").count() == 1


def test_only_administrators_create_and_remove_them(
    pooled: Deployment, requester: User, admin_user: User, make: Callable[..., ResourceProfile]
) -> None:
    profile = make(pooled.environment)
    with refused("access.administrators_only"):
        resource_profiles.create(
            pooled.environment, by=by(requester), name="x", pool_name="gpu", job_variables={"cpu": 2}
        )
    with refused("access.administrators_only"):
        resource_profiles.remove(profile, by=by(requester))
    resource_profiles.remove(profile, by=by(admin_user), reason="r")
    with refused("resource_profile.removed"):
        resource_profiles.remove(profile, by=by(admin_user), reason="r")


def test_in_a_protected_environment_a_second_administrator_signs(
    prod_deployment: Deployment, prod_fake: FakePrefect, admin_user: User, second_administrator: User
) -> None:
    in_pool(prod_deployment, prod_fake)
    options = {"name": "large", "pool_type": "kubernetes", "job_variables": LARGE, "groups": ["Operator"]}
    with refused("loosening.reason_required"):
        resource_profiles.create(prod_deployment.environment, by=by(admin_user), **options)
    change = resource_profiles.create(
        prod_deployment.environment, by=by(admin_user), reason="r", confirm="prod", **options
    )
    assert isinstance(change, ChangeRequest)
    assert not ResourceProfile.objects.exists()
    changes.approve(change, by=by(second_administrator))
    profile = ResourceProfile.objects.get()
    assert (profile.job_variables, profile.groups, profile.created_by_name) == (LARGE, ["Operator"], "administrator")


def test_only_those_allowed_that_fit_the_pool_are_offered(
    pooled: Deployment,
    fake: FakePrefect,
    requester: User,
    make: Callable[..., ResourceProfile],
    django_assert_max_num_queries: Any,
) -> None:
    fake.add_work_pool("small", type="process")
    sync.sync(pooled.environment)
    make(pooled.environment, "everyone")
    make(pooled.environment, "by type", pool_name="", pool_type="kubernetes")
    make(pooled.environment, "operators", groups=["Operator"])
    make(pooled.environment, "approvers", groups=["Approver"])
    WorkPool.objects.filter(name="small").update(variables=TEMPLATE["variables"])
    make(pooled.environment, "elsewhere", pool_name="small")
    with django_assert_max_num_queries(9):
        found = requests.offered_profiles(pooled, by(requester))
    assert [profile.name for profile in found] == ["by type", "everyone", "operators"]
    for name, code in (
        ("approvers", "resource_profile.not_allowed"),
        ("elsewhere", "resource_profile.other_pool"),
        ("nowhere", "resource_profile.gone"),
    ):
        with refused(code):
            requests.submit(pooled, VALUES, by=by(requester), profile=name)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("removed", "resource_profile.gone"),
        ("replaced", "resource_profile.changed"),
        ("left", "resource_profile.not_allowed"),
        ("template", "resource_profile.variables"),
        ("queue", "resource_profile.queue"),
    ],
)
def test_what_holds_no_more_is_refused_at_the_launch(
    pooled: Deployment,
    fake: FakePrefect,
    requester: User,
    admin_user: User,
    make: Callable[..., ResourceProfile],
    change: str,
    code: str,
) -> None:
    profile = make(pooled.environment, groups=["Operator"], work_queue="fast")
    run_request = requests.submit(pooled, VALUES, by=by(requester), profile="large")
    if change in ("removed", "replaced"):
        resource_profiles.remove(profile, by=by(admin_user))
    if change == "replaced":
        make(pooled.environment, groups=["Operator"], work_queue="fast", job_variables={"cpu": 16})
    if change == "left":
        requester.groups.clear()
        Group.objects.get(name="Operator").user_set.remove(requester)
        let_schedule(requester, pooled)
    if change == "template":
        fake.change_work_pool("gpu", base_job_template={"variables": {"properties": {"cpu": {"type": "string"}}}})
    if change == "queue":
        fake.change_work_pool("gpu", queues=(records.work_queue("default"),))
    sync.sync(pooled.environment)
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert (run_request.state, codes(run_request)) == (State.REFUSED, code)
    assert not list(fake.active_flow_runs())


def test_one_that_was_created_again_as_it_was_is_the_same(
    pooled: Deployment, requester: User, admin_user: User, make: Callable[..., ResourceProfile]
) -> None:
    profile = make(pooled.environment)
    run_request = requests.submit(pooled, VALUES, by=by(requester), profile="large")
    resource_profiles.remove(profile, by=by(admin_user))
    make(pooled.environment)
    dispatch.launch(run_request)
    assert run_request.state == State.LAUNCHED


def test_a_run_that_prefect_has_with_other_variables_is_not_the_one(
    pooled: Deployment, fake: FakePrefect, requester: User, make: Callable[..., ResourceProfile]
) -> None:
    make(pooled.environment)
    run_request = requests.submit(pooled, VALUES, by=by(requester), profile="large")
    fake.lose_answer_of_next_create()
    dispatch.launch(run_request)
    (record,) = list(fake.active_flow_runs())
    fake.change_run(record.id, job_variables={"cpu": 1})
    RunRequest.objects.filter(pk=run_request.pk).update(next_attempt_at=None)
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert (run_request.state, codes(run_request)) == (State.REFUSED, "run.differs")


def test_an_image_that_is_not_pinned_is_refused_where_code_must_be(
    pooled: Deployment, fake: FakePrefect, requester: User, make: Callable[..., ResourceProfile]
) -> None:
    clone = {"prefect.deployments.steps.git_clone": {"repository": "https://git.example/x", "commit_sha": "a" * 40}}
    pinned = f"registry.example/etl@sha256:{'a' * 64}"
    fake.change_deployment(pooled.prefect_id, pull_steps=(clone,), job_variables={"image": pinned})
    sync.sync(pooled.environment)
    make(pooled.environment, "latest", job_variables={"image": "registry.example/etl:latest"})
    make(pooled.environment, "fixed", job_variables={"image": pinned})
    run_request = requests.submit(pooled, VALUES, by=by(requester), profile="latest")
    assert run_request.spec.definition["moving"] == [{"kind": "image", "name": "resource profile latest"}]
    Policy.objects.create(name="pinned", refuse_moving=True)
    with refused("definition.moving"):
        requests.submit(pooled, VALUES, by=by(requester), profile="latest")
    assert requests.submit(pooled, VALUES, by=by(requester), profile="fixed").state == State.APPROVED
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert (run_request.state, codes(run_request)) == (State.REFUSED, "definition.moving")


def test_an_agent_may_choose_only_what_is_for_agents(
    pooled: Deployment, requester: User, make: Callable[..., ResourceProfile]
) -> None:
    make(pooled.environment, "people")
    make(pooled.environment, "agents", allows_agents=True, groups=["Operator"])
    agent = Agent.objects.create(name="helper", owner=requester, purpose="p", requests_per_day=9, requests_at_once=9)
    actor = replace(by(requester), agent=agent)
    assert [each.name for each in requests.offered_profiles(pooled, actor)] == ["agents"]
    with refused("resource_profile.not_allowed"):
        profile_rules.frozen(pooled, "people", actor)
    requester.groups.clear()
    with refused("resource_profile.not_allowed"):
        profile_rules.frozen(pooled, "agents", actor)


def test_a_rerun_keeps_it_and_another_one_is_another_run(
    pooled: Deployment, requester: User, admin_user: User, make: Callable[..., ResourceProfile]
) -> None:
    profile = make(pooled.environment)
    make(pooled.environment, "huge", job_variables={"cpu": 16})
    first = requests.submit(pooled, VALUES, by=by(requester), profile="large")
    again = requests.rerun(first, by=by(requester))
    assert (again.spec.profile, again.spec.verb) == (first.spec.profile, "rerun")
    other = requests.rerun(first, by=by(requester), profile="huge")
    assert (other.spec.profile_name, other.spec.verb) == ("huge", "trigger")
    assert requests.rerun(first, by=by(requester), profile="").spec.profile == {}
    resource_profiles.remove(profile, by=by(admin_user))
    with refused("resource_profile.gone"):
        requests.rerun(first, by=by(requester))


def test_presets_schedules_and_backfills_have_one(
    pooled: Deployment, requester: User, admin_user: User, make: Callable[..., ResourceProfile]
) -> None:
    profile = make(pooled.environment)
    preset = presets.save(pooled, VALUES, by=by(requester), name="end", profile="large")
    assert preset.profile == "large"
    with refused("resource_profile.gone"):
        presets.save(pooled, VALUES, by=by(requester), name="other", profile="none")
    backfill = requests.submit_backfill(pooled, VALUES, {"rows": "1..3"}, by=by(requester), profile="large")
    assert [spec.profile_name for spec in backfill.specs.all()] == ["large"] * 3
    let_schedule(requester, pooled)
    schedule = schedule_of(pooled, requester, profile="large")
    assert schedule.spec.profile == profile.contents
    schedule.refresh_from_db()
    assert schedule_checks.obstacle(schedule) is None
    resource_profiles.remove(profile, by=by(admin_user))
    obstacle = schedule_checks.obstacle(schedule)
    assert obstacle
    assert obstacle.code == "resource_profile.gone"


def test_the_stored_schema_holds_no_default_and_any_template_is_read(pooled: Deployment, fake: FakePrefect) -> None:
    pool = WorkPool.objects.get(name="gpu")
    assert "hunter22" not in str(pool.variables)
    assert pool.variables["properties"]["cpu"] == {"type": "integer", "minimum": 1, "maximum": 16}
    deep: Any = {}
    for _ in range(5000):
        deep = {"items": deep}
    for template in ({}, {"variables": None}, {"variables": {"properties": 7}}, {"variables": deep}):
        fake.change_work_pool("gpu", base_job_template=template)
        if template.get("variables") is not deep:
            sync.sync(pooled.environment)
