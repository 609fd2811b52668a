"""Every entry point, for every role, in two environments: the result, and the one audit entry."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from flows import encryption
from flows.catalog import sync
from flows.models import Alias, Deployment, Environment, GlobalLimit, UnassignedDeployment, WorkPool
from runs import changes, dispatch, mirror, requests
from runs.actors import Actor
from runs.automation import chain_steps, chains, schedule_clock, schedules
from runs.changes import agent_stop
from runs.governance import grants
from runs.models import (
    Action,
    Agent,
    AuditEntry,
    ChangeRequest,
    Channel,
    Delivery,
    Notification,
    Policy,
    ResourceProfile,
    Run,
    Schedule,
    ServiceLevel,
    SignOnIdentity,
    Verb,
    Window,
)
from runs.notifications import notification_rules
from runs.requests import presets
from tests.cast import ANSWERS, ASKS, FAKES, SCHEMA, by, make_environment, person
from tests.expectations import load
from tests.failed_runs import a_failure
from tests.fakes.prefect import FakePrefect
from tests.fakes.records import cron, work_queue
from tests.governance import entry_points
from tests.governance.attempts import OUTCOMES, PASSWORD, ROLES, Door, Site, Visitor
from tests.governance.entry_points import DOORS, LOOKS, NOT_DOORS, SHUT
from tests.made_hooks import new_hook, robot_for
from tests.made_rules import new_rule
from tests.made_schedules import schedule_of
from tests.portal.addresses import fill, routes
from tests.portal.made_tokens import new_token, robot_of
from tests.portal.mcp_calls import an_agent
from tests.portal.trusted_jobs import trust
from tests.row_counts import written

pytestmark = pytest.mark.django_db

GROUPS = {
    "viewer": ["Viewer"],
    "requester": ["Operator"],
    "operator": ["Operator"],
    "approver": ["Approver"],
    "manager": ["Release manager"],
    "auditor": ["Auditor"],
    "administrator": [],
    "stranger": [],
}
# What becomes of a knock, by the name of the door, the environment and the role. In prod, viewer, auditor and
# administrator hold no grant; a door that is about no environment has no column for prod.
EXPECTED = load("doors")
# What they have in prod, which grants must name.
MANAGES = ["schedule", "pause", "manage", "put back", "force cancel", "override freeze", "break glass"]
IN_PROD = {"requester": ASKS, "operator": ASKS, "approver": ANSWERS, "manager": [*ASKS, "approve", *MANAGES]}


@pytest.fixture
def visitors(prod: Environment) -> dict[str, Visitor]:
    found = {}
    for role in ROLES:
        user = person(role, *GROUPS[role], is_superuser=role == "administrator")
        if role in IN_PROD:
            grants.grant(by=Actor.system(), person=user, verbs=IN_PROD[role], environment=prod)
        if role == "manager":
            grants.grant(by=Actor.system(), person=user, verbs=["break glass"])
        user.set_password(PASSWORD)
        user.save()
        client = Client()
        client.force_login(user)
        found[role] = Visitor(user, client)
    return found


def site(environment: Environment, requester: User, breaker: User) -> Site:
    fake = FAKES.setdefault(environment.server.api_url, FakePrefect())
    same = {"parameter_schema": SCHEMA, "parameter_defaults": {"month": "2026-10"}, "flow_name": "monthly"}
    record = fake.add_deployment(name="monthly", **same)
    from_code = (
        replace(cron("0 6 * * *"), slug="going"),
        replace(cron("0 7 * * *", is_active=False), slug="held"),
    )
    fake.add_deployment(name="paused", is_paused=True, schedules=from_code, **same)
    slow = work_queue("slow", is_paused=True, priority=2)
    fake.add_work_pool("gpu", concurrency_limit=4, queues=(work_queue("fast", concurrency_limit=2), slow))
    fake.add_work_pool("held", is_paused=True)
    fake.change_deployment(record.id, work_pool_name="gpu", concurrency_limit=3)
    sync.sync(environment)
    pool, held = WorkPool.current.filter(environment=environment).order_by("name")
    run, stuck = (fake.add_run(record.id, state_type="RUNNING", name=name) for name in ("run", "stuck"))
    stalled = fake.add_run(record.id, state_type="PENDING", name="stalled")
    mirror.refresh(environment, [run.id, stuck.id, stalled.id])
    Run.objects.filter(prefect_id=stalled.id).update(stalled_kind="pending", stalled_since=timezone.now())
    stuck_row = Run.objects.get(prefect_id=stuck.id)
    requests.cancel(stuck_row, by=by(requester))
    Action.objects.update(requested_at=timezone.now() - timedelta(minutes=5))
    deployment, paused = Deployment.objects.filter(environment=environment).order_by("name")
    slug = environment.slug
    robot = robot_of(requester, f"robot-{slug}")
    Environment.objects.filter(pk=environment.pk).update(needs_approval=False)
    first, other = (requests.submit(deployment, {}, by=by(requester), reason="month end") for _ in range(2))
    for each in (first, other):
        dispatch.launch(each)
        each.refresh_from_db()
        assert each.flow_run_id is not None
        fake.set_state(each.flow_run_id, "FAILED")
        mirror.refresh(environment, [each.flow_run_id])
    backfill = stopped_backfill(deployment, requester, fake)
    chain_run = stopped_chain(deployment, requester, fake)
    environment.save()
    schedule, paused_schedule = (approved_schedule(deployment, breaker, name) for name in ("a", "b"))
    schedules.pause(paused_schedule, by=by(breaker))
    Policy.objects.create(name=f"native-{slug}", environment=environment, native_schedules="allow")
    native_schedule = approved_schedule(deployment, breaker, "c", is_native=True)
    change = requests.retry(Run.objects.get(run_request=other), by=by(requester), reason="month end")
    broken = requests.submit(deployment, {}, by=by(requester), reason="month end")
    changes.break_glass(broken.change, by=by(breaker), reason="fire")
    broken.refresh_from_db()
    sender = new_hook(requester, deployment, robot_for(requester, deployment, f"shop-{slug}"))
    return Site(
        environment=environment,
        deployment=deployment,
        paused=paused,
        pool=pool,
        queue=pool.queues.get(name="fast"),
        paused_pool=held,
        paused_queue=pool.queues.get(name="slow"),
        # It was in two scopes before, and is in one now.
        unassigned=UnassignedDeployment.objects.create(
            server=environment.server,
            prefect_id=uuid4(),
            full_name="covert/covert",
            covered_by=[environment.pk],
            found_at=timezone.now(),
            synced_at=timezone.now(),
        ),
        run=Run.objects.get(prefect_id=run.id),
        stuck=stuck_row,
        stalled=Run.objects.get(prefect_id=stalled.id),
        failed=Run.objects.get(run_request=first),
        broken=broken,
        change=change,
        backfill=backfill,
        schedule=schedule,
        paused_schedule=paused_schedule,
        native_schedule=native_schedule,
        chain=chain_run.chain_run.version.chain,
        chain_run=chain_run,
        run_request=requests.submit(deployment, {}, by=by(requester), reason="month end"),
        alias=Alias.objects.create(environment=environment, name="nightly", full_name=deployment.full_name),
        grant=grants.grant(by=Actor.system(), person=person(f"holder-{slug}"), verbs=["see"], environment=environment),
        person=connected_person(f"somebody-{slug}"),
        policy=Policy.objects.create(name=f"policy-{slug}", environment=environment),
        # A rule that does not apply, so that nothing waits for it.
        window=Window.objects.create(
            name=f"window-{slug}", environment=environment, cron="0 3 * * *", minutes=60, is_active=False
        ),
        unused=make_environment(
            f"unused-{slug}", api_url=f"http://{slug}.unused/api", is_protected=environment.is_protected
        ),
        group=Group.objects.create(name=f"group-{slug}"),
        robot=robot,
        token=new_token(requester).token,
        sender=sender,
        hook=sender.hook,
        event_rule=new_rule(requester, deployment),
        job_trust=trust(robot, "https://gitlab.com"),
        agent=an_agent(requester, f"agent-{slug}"),
        stopped=stopped_agent(requester, f"stopped-{slug}"),
        preset=presets.save(deployment, {"rows": 7}, by=by(requester), name="mine"),
        shared_preset=presets.save(deployment, {"rows": 7}, by=by(requester), name="shared", is_shared=True),
        failure=a_failure(deployment),
        channel=a_channel(f"room-{slug}"),
        disabled_channel=a_channel(f"disabled-{slug}", is_enabled=False),
        delivery=a_delivery(a_channel(f"other-{slug}")),
        level=ServiceLevel.objects.create(environment=environment, kind="late", threshold=5, created_by_name="ada"),
        notification_rule=notification_rules.create("a rule", ["failed"], by=by(requester), environment=environment),
        global_limit=GlobalLimit.objects.create(
            environment=environment, name="licences", prefect_id=uuid4(), concurrency_limit=4, synced_at=timezone.now()
        ),
        profile=ResourceProfile.objects.create(
            environment=environment, name="large", pool_name="gpu", work_queue="fast", created_by_name="ada"
        ),
    )


def connected_person(name: str) -> User:
    found = person(name)
    SignOnIdentity.objects.create(person=found, issuer="https://login.example", subject=name, email="x@example.org")
    return found


def a_channel(name: str, *, is_enabled: bool = True) -> Channel:
    address = encryption.seal("https://example.com/x")
    return Channel.objects.create(
        name=name, kind="webhook", sealed_address=address, destination="example.com", is_enabled=is_enabled
    )


def a_delivery(channel: Channel) -> Delivery:
    """One that was sent."""
    notice = Notification.objects.create(topic="freeze", subject="dev is frozen", text="")
    return Delivery.objects.create(notification=notice, channel=channel, state="sent")


def stopped_backfill(deployment: Deployment, requester: User, fake: FakePrefect) -> ChangeRequest:
    """A backfill of which the first run has failed, and the others wait."""
    change = requests.submit_backfill(deployment, {}, {"rows": "1..3"}, by=by(requester), at_once=1, reason="month end")
    changes.advance(change)
    first = change.run_requests.get(spec__position=0)
    dispatch.launch(first)
    assert first.flow_run_id is not None
    fake.set_state(first.flow_run_id, "FAILED")
    mirror.refresh(deployment.environment, [first.flow_run_id])
    changes.advance(change)
    change.refresh_from_db()
    assert change.is_held_back
    return change


def approved_schedule(deployment: Deployment, owner: User, name: str, **options: Any) -> Schedule:
    schedule = schedule_of(deployment, owner, parameters={}, name=name, **options)
    signer = person(f"signer-{schedule.pk}")
    grants.grant(by=Actor.system(), person=signer, verbs=["see", "approve"], environment=deployment.environment)
    changes.approve(schedule.change, by=by(signer))
    schedule_clock.tick()
    schedule.refresh_from_db()
    return schedule


def stopped_chain(deployment: Deployment, requester: User, fake: FakePrefect) -> ChangeRequest:
    """A run of a chain whose first step has failed, and whose second waits at its gate."""
    step = {"deployment": deployment.full_name, "parameters": {"month": {"input": "month"}}}
    steps = [{**step, "key": "first"}, {**step, "key": "second", "gate": True}]
    version = chains.save(deployment.environment, "Close", {"steps": steps}, by=by(requester))
    change = chains.request_run(version.chain, {"month": "2026-10"}, by=by(requester), reason="month end")
    chain_steps.advance(change.pk)
    first = change.run_requests.get(spec__position=0)
    dispatch.launch(first)
    assert first.flow_run_id is not None
    fake.set_state(first.flow_run_id, "FAILED")
    mirror.refresh(deployment.environment, [first.flow_run_id])
    chain_steps.advance(change.pk)
    change.refresh_from_db()
    return change


def stopped_agent(owner: User, name: str) -> Agent:
    agent = an_agent(owner, name)
    agent_stop.stop(agent, by=by(owner), why="loops")
    return agent


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """Django logs every 403 with its traceback, which takes longer than the knock."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def sites(dev: Environment, prod: Environment, visitors: dict[str, Visitor]) -> dict[str, Site]:
    # The same rules in both, so that the columns differ only by grants.
    for each in (dev, prod):
        each.needs_approval, each.needs_reason = True, False
        each.save()
    return {each.slug: site(each, visitors["requester"].user, visitors["manager"].user) for each in (dev, prod)}


def became(door: Door, visitor: Visitor, there: Site) -> tuple[str, list[tuple[str, str]]]:
    """The outcome, and the entries that the knock left; everything else of it is taken back."""
    cookies = visitor.client.cookies.copy()
    with transaction.atomic():
        last = AuditEntry.objects.values_list("sequence", flat=True).first() or 0
        answer = door.knock(visitor, there)
        entries = list(AuditEntry.objects.filter(sequence__gt=last).values_list("verb", "outcome"))
        transaction.set_rollback(True)
    visitor.client.cookies = cookies
    if entries == [("portal.refuse", "refused")]:
        return "forbidden", entries
    if entries:
        return entries[0][1], entries
    return ("not_found" if answer is not None and answer.status_code == 404 else "hidden"), entries


# Without the second signature, which has a test below.
@pytest.mark.usefixtures("single_administrator")
def test_what_becomes_of_every_knock(
    sites: dict[str, Site], visitors: dict[str, Visitor], subtests: pytest.Subtests
) -> None:
    for name, door in DOORS.items():
        for slug in [slug for slug in sites if slug in EXPECTED[name]]:
            for role, visitor in visitors.items():
                with subtests.test(door=name, environment=slug, role=role):
                    outcome, entries = became(door, visitor, sites[slug])
                    assert outcome == EXPECTED[name][slug][role], entries
                    if outcome in ("done", "refused"):
                        assert [verb for verb, _ in entries] == [EXPECTED[name]["verb"]]


def test_what_loosens_the_rules_of_prod_waits_for_a_second_administrator(
    sites: dict[str, Site], visitors: dict[str, Visitor], second_administrator: User, subtests: pytest.Subtests
) -> None:
    names = ["change an environment, by page", "delete a policy, by page", "unfreeze an environment, by page"]
    names += ["unfreeze an environment, by command"]
    for name in names:
        for role in [role for role, outcome in EXPECTED[name]["prod"].items() if outcome == "done"]:
            with subtests.test(door=name, role=role):
                _, entries = became(DOORS[name], visitors[role], sites["prod"])
                assert entries == [("request.submit", "done")]


def models() -> list[str]:
    """Such as "admin/runs/run/"."""
    return [f"admin/{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry]


def shown() -> set[str]:
    return {name.format(model=model) for name in LOOKS for model in models()}


def test_there_is_no_door_that_is_not_in_the_table() -> None:
    there = {
        # Those of the API have a table of their own: tests/portal/api/test_every_route.py.
        "address": {route for route in routes() if not route.startswith("api/")} - shown() - SHUT,
        "action of a list": {*entry_points.actions()},
        "command": {*entry_points.commands()} - {f"command {name}" for name in NOT_DOORS},
    }
    for kind, names in there.items():
        missing = sorted(names - {door.place for door in DOORS.values()})
        assert not missing, (
            f"{', '.join(missing)} is a new {kind}. Say in tests/governance/entry_points.py how to knock there, and in "
            "tests/expectations/doors.json what becomes of it for each role, or that it acts on nothing."
        )


def test_the_table_has_no_door_that_is_not_there() -> None:
    there = {*routes(), *entry_points.actions(), *entry_points.commands()}
    assert {door.place for door in DOORS.values()} - there == set()
    assert len({door.place for door in DOORS.values()}) == len(DOORS)
    assert shown() - there == {name for name in shown() if "history" in name} - there
    assert SHUT - there == set()
    assert NOT_DOORS - {name.removeprefix("command ") for name in entry_points.commands()} == set()


def test_every_row_of_the_table_is_whole() -> None:
    assert EXPECTED.keys() == DOORS.keys()
    for name, row in EXPECTED.items():
        assert {"verb", "dev"} <= row.keys() <= {"verb", "dev", "prod"}, name
        for column in (row[slug] for slug in ("dev", "prod") if slug in row):
            assert column.keys() == set(ROLES), name
            assert set(column.values()) <= set(OUTCOMES), name
        # An entry point that no role can use proves nothing about the roles it refuses.
        assert ("done" in row["dev"].values()) is bool(row["verb"]), name


def test_what_only_shows_or_is_shut_changes_nothing_whatever_is_sent(
    sites: dict[str, Site], visitors: dict[str, Visitor], subtests: pytest.Subtests
) -> None:
    """By somebody who holds every verb; a logged-in session and what is cached of it is nobody's act."""
    almighty = visitors["administrator"]
    for verb in Verb:
        for environment in (None, sites["prod"].environment):
            grants.grant(by=Actor.system(), person=almighty.user, verbs=[verb], environment=environment)
    there = sites["dev"]
    rows = {
        "flows/deployment": [there.deployment.pk],
        "runs/run": [there.run.pk],
        "runs/runrequest": [there.run_request.pk],
        "flows/environment": [there.environment.pk],
        "flows/alias": [there.alias.pk],
        "runs/grant": [there.grant.pk],
        "auth/user": [there.person.pk],
        "auth/group": [there.group.pk],
        "runs/auditentry": [1],
        "runs/policy": [there.policy.pk],
        "runs/window": [there.window.pk],
        "runs/token": [there.token.pk],
        "runs/jobtrust": [there.job_trust.pk],
        "runs/serviceaccount": [there.robot.pk],
        "runs/hook": [there.hook.pk],
        "runs/eventrule": [there.event_rule.pk],
        "runs/rulefiring": [1],
        "runs/agent": [there.agent.pk],
        "runs/preset": [there.shared_preset.pk],
        "runs/failuregroup": [there.failure.pk],
        "runs/chain": [there.chain.pk],
        "runs/servicelevel": [there.level.pk],
        "runs/notificationrule": [there.notification_rule.pk],
        "runs/resourceprofile": [there.profile.pk],
        "flows/globallimit": [there.global_limit.pk],
        "runs/channel": [there.channel.pk],
    }
    sent = {"reason": "r", "post": "yes", "name": "x", "action": "delete_selected", "_selected_action": "1"}
    for route in sorted(set(routes()) & (shown() | SHUT)):
        for address in fill(route, rows):
            with subtests.test(address=address), transaction.atomic():
                before, last = written(), AuditEntry.objects.count()
                answer = almighty.client.post(address, sent)
                left = list(AuditEntry.objects.order_by("sequence").values_list("verb", flat=True)[last:])
                assert {table for table, count in written().items() if count != before.get(table)} <= {
                    "runs_auditentry"
                }
                # Only that access was denied is recorded.
                assert left == (["portal.refuse"] if answer.status_code == 403 else [])
                if route in SHUT:
                    assert answer.status_code in (403, 404, 405)
                transaction.set_rollback(True)
