"""Follow an environment: events as hints, sweeps for what they miss."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from flows.catalog import sync
from flows.models import Environment, Health
from runs import mirror
from runs.mirror import follower
from runs.models import LogLine, Run
from tests.cast import FAKES, SCHEMA, make_environment
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.usefixtures("own_database")


@pytest.fixture
def dev(own_database: str) -> Environment:
    return make_environment("dev")


@pytest.fixture
def fake(dev: Environment) -> FakePrefect:
    fake = FAKES.setdefault(dev.server.api_url, FakePrefect())
    fake.add_deployment(flow_name="monthly", name="monthly", parameter_schema=SCHEMA)
    sync.sync(dev)
    return fake


async def until(true: Callable[[], bool], seconds: float = 10) -> None:
    """Poll the database, in a thread as Django wants it, until something is true there."""
    async with asyncio.timeout(seconds):
        while not await follower.in_thread(true):
            await asyncio.sleep(0.02)


def following(environment: Environment, story: Callable[[], asyncio.Future[None]]) -> None:
    async def play() -> None:
        task = asyncio.create_task(follower.Follower(environment).run())
        try:
            await story()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(play())


def all_followed(story: Callable[[], asyncio.Future[None]]) -> None:
    async def play() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(follower.follow(stop=stop))
        try:
            await story()
        finally:
            stop.set()
            await task

    asyncio.run(play())


def streams(fake: FakePrefect) -> int:
    return sum(call.method == "events" for call in fake.calls)


def state_is(state: str) -> Callable[[], bool]:
    return lambda: list(Run.objects.values_list("state_type", flat=True)) == [state]


def test_an_event_brings_the_run(dev: Environment, fake: FakePrefect) -> None:
    (deployment,) = fake.deployments()

    async def story() -> None:
        record = fake.add_run(deployment.id, state_type="RUNNING")
        await until(state_is("RUNNING"))
        fake.set_state(record.id, "COMPLETED")
        await until(state_is("COMPLETED"))

    following(dev, story)


def test_what_no_event_told_is_found_by_the_sweep(
    dev: Environment, fake: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "SWEEP_SECONDS", 0.2)  # a clock
    (deployment,) = fake.deployments()

    async def story() -> None:
        record = fake.add_run(deployment.id, state_type="RUNNING")
        await until(state_is("RUNNING"))
        fake.remove_run(record.id)
        await until(lambda: Run.objects.filter(deleted_upstream_at__isnull=False).exists())

    following(dev, story)


def test_after_many_events_at_once_a_sweep_finds_what_was_lost(
    dev: Environment, fake: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "SWEEP_SECONDS", 1000)  # clocks
    monkeypatch.setattr(follower, "CROWD_SECONDS", 0.1)
    monkeypatch.setattr(follower, "CROWD", 20)
    (deployment,) = fake.deployments()

    async def story() -> None:
        await until(lambda: Health.objects.filter(runs_synced_at__isnull=False).exists())
        fake.loses_events = True
        fake.add_run(deployment.id, state_type="RUNNING", name="lost")
        fake.loses_events = False
        for _ in range(20):
            fake.add_run(deployment.id, state_type="PENDING")
        await until(Run.objects.filter(name="lost").exists)

    following(dev, story)


def test_details_are_read_of_runs_that_have_begun_or_were_opened(dev: Environment, fake: FakePrefect) -> None:
    (deployment,) = fake.deployments()
    waits, opened, pending, begun = (
        fake.add_run(deployment.id, state_type=state).id for state in ("SCHEDULED", "SCHEDULED", "PENDING", "RUNNING")
    )
    mirror.refresh_state(dev, [waits, opened, pending, begun])
    mirror.refresh(dev, [opened])
    assert set(mirror.begun_or_opened(dev, [waits, opened, pending, begun])) == {opened, pending, begun}


def test_log_lines_arrive_while_it_runs(dev: Environment, fake: FakePrefect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "TAIL_SECONDS", 0.1)  # a clock
    (deployment,) = fake.deployments()

    async def story() -> None:
        record = fake.add_run(deployment.id, state_type="RUNNING")
        await until(state_is("RUNNING"))
        fake.add_log(record.id, "half way")
        await until(lambda: Run.objects.get().log_lines.filter(message="half way").exists())

    following(dev, story)


def test_an_announced_line_is_read_at_once(
    dev: Environment, fake: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for clock in ("TAIL_SECONDS", "IDLE_SECONDS", "SWEEP_SECONDS"):
        monkeypatch.setattr(follower, clock, 1000)
    (deployment,) = fake.deployments()
    fake.streams_logs = True

    async def story() -> None:
        record = fake.add_run(deployment.id, state_type="RUNNING")
        await until(state_is("RUNNING"))
        for number in range(3):
            fake.add_log(record.id, f"line {number}")
            await until(LogLine.objects.filter(message=f"line {number}").exists)

    following(dev, story)


def test_of_many_active_runs_only_those_with_new_lines_are_asked_for_them(dev: Environment, fake: FakePrefect) -> None:
    (deployment,) = fake.deployments()
    ids = [fake.add_run(deployment.id, state_type="RUNNING").id for _ in range(follower.FEW + 1)]
    for each in ids:
        fake.add_log(each, "begins")
    mirror.sync(dev)
    follower.health.check(dev.server)
    fake.add_log(ids[2], "goes on")
    fake.calls.clear()
    follower.Follower(dev).tail_lines(dev)
    assert [call.arguments["flow_run_id"] for call in fake.calls if call.method == "logs"] == [ids[2]]
    assert LogLine.objects.filter(message="goes on").exists()


def test_a_server_that_comes_back_is_noticed_and_read(
    dev: Environment, fake: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "CHECK_SECONDS", 0.2)  # clocks
    monkeypatch.setattr(follower, "SWEEP_SECONDS", 0.2)

    def health() -> str:
        return Health.objects.get(server=dev.server).state

    async def story() -> None:
        fake.go_down()
        await until(lambda: health() == Health.State.DOWN)
        fake.come_back()
        await until(lambda: health() == Health.State.UP)

    following(dev, story)


def test_a_follower_records_heartbeats_also_when_nothing_happens(
    dev: Environment, fake: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "CHECK_SECONDS", 0.2)  # clocks

    def followed_after(moment: datetime) -> Callable[[], bool]:
        return lambda: Health.objects.filter(followed_at__gte=moment).exists()

    async def story() -> None:
        await until(followed_after(datetime.now(UTC)))
        await until(followed_after(datetime.now(UTC)))

    following(dev, story)


def test_a_server_has_one_follower_however_many_environments_are_on_it(dev: Environment, fake: FakePrefect) -> None:
    for number in range(2):
        make_environment(f"spare-{number}", server=dev.server, is_active=False)
    other = FAKES.setdefault(make_environment("other").server.api_url, FakePrefect())

    async def story() -> None:
        await until(lambda: streams(fake) > 0 and streams(other) > 0)

    all_followed(story)
    assert (streams(fake), streams(other)) == (1, 1)


def test_a_follower_reads_into_the_environment_that_is_active(
    dev: Environment, fake: FakePrefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "ROSTER_SECONDS", 0.1)  # clocks
    monkeypatch.setattr(follower, "SWEEP_SECONDS", 0.2)
    spare = make_environment("spare", server=dev.server, is_active=False)
    (deployment,) = fake.deployments()

    def take_over() -> bool:
        Environment.objects.filter(pk=dev.pk).update(is_active=False)
        Environment.objects.filter(pk=spare.pk).update(is_active=True)
        return bool(sync.sync(spare))

    def runs_of(environment: Environment) -> int:
        return Run.objects.filter(environment=environment).count()

    async def story() -> None:
        fake.add_run(deployment.id, state_type="RUNNING")
        await until(lambda: runs_of(dev) == 1)
        await until(take_over)
        await until(lambda: streams(fake) == 2)
        fake.add_run(deployment.id, state_type="RUNNING")
        await until(lambda: runs_of(spare) == 2)

    all_followed(story)
    assert runs_of(dev) == 1
