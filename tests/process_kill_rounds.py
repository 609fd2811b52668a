"""Kills background processes while a chain runs and event rules react; `tests.process_kills` starts this."""

from __future__ import annotations

import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402  (Django must be set up before)
from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks.background_processes import Background, until  # noqa: E402
from flows.catalog import sync  # noqa: E402
from flows.models import Deployment, Environment, Health, Server  # noqa: E402
from runs import mirror, tasks  # noqa: E402
from runs.actors import Actor, Channel  # noqa: E402
from runs.audit import reconcile  # noqa: E402
from runs.automation import chains, event_rules  # noqa: E402
from runs.models import AuditEntry, ChangeRequest, Grant, RuleFiring, RunRequest  # noqa: E402
from runs.models.request import State  # noqa: E402
from tests.shared_prefect import Shared, serve  # noqa: E402

STEPS, WIDTH, MONTHS, EVENTS, KILLS = 50, 10, 20, 40, 20
# No measure of speed: with other work beside it this takes several times as long.
PATIENCE = 1_200
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"month": {"type": "string"}}, "required": ["month"]}
# Seconds between two kills: about as long as a process takes to start and begin a task.
BETWEEN_KILLS = (0.3, 1.5)
VERBS = ["see", "see inputs", "see logs", "trigger", "backfill"]


class Broken(SystemExit):
    """Something that must hold through kills did not."""


def holds(sentence: str, truth: object) -> None:
    if not truth:
        raise Broken(f"FAILED: {sentence}")


class World:
    """One environment, a person, and the runs that Prefect has."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        server = Server.objects.create(api_url="http://dev.kills/api")
        self.environment = Environment.objects.create(slug="dev", server=server)
        self.user = User.objects.create(username="requester", is_staff=True)
        Grant.objects.create(person=self.user, verbs=VERBS, environment=self.environment, granted_by_name="kills")
        self.by = Actor.person(self.user, channel=Channel.COMMAND)

    def deploy(self, *keys: str) -> None:
        for key in keys:
            self.shared.fake.add_deployment(flow_name=key, name="daily", parameter_schema=SCHEMA)
        sync.sync(self.environment)
        mirror.sync(self.environment)
        # What a first reading finds is history, of which nothing is made.
        Health.objects.update(runs_synced_at=timezone.now())
        tasks.deliver_events()

    def end_open_runs(self, most: int, state: str = "COMPLETED") -> int:
        """End some runs that were launched, as workers would, and have them read, as the follower would."""
        with self.shared.lock:
            found = [run.id for run in self.shared.fake.active_flow_runs()][:most]
            for pk in found:
                self.shared.fake.set_state(pk, state)
        if found:
            mirror.refresh(self.environment, found)
        return len(found)

    def runs_by(self, name: Callable[[Any], str]) -> Counter[str]:
        """Return the runs that Prefect has, counted by a name of each."""
        with self.shared.lock:
            return Counter(name(run) for run in self.shared.fake._runs.values())

    def flow_of(self, run: Any) -> str:
        return self.shared.fake._deployments[run.deployment_id].flow_name


def while_killing(log: str, step: Callable[[bool], bool]) -> int:
    """Do steps until the last one says that all is over, and kill a process now and then; return the kills.

    A step is told whether there were enough kills: before that it must not finish.
    """
    dice, kills = random.Random(2026), 0
    processes = Background(log)
    deadline, next_kill = time.monotonic() + PATIENCE, time.monotonic()
    try:
        while not step(kills >= KILLS):
            if time.monotonic() > deadline:
                states = Counter(RunRequest.objects.values_list("state", flat=True))
                raise Broken(f"FAILED: after {PATIENCE} s and {kills} kills it has not ended: {dict(states)}")
            if kills < KILLS and time.monotonic() >= next_kill:
                processes.kill_one(dice)
                kills += 1
                next_kill = time.monotonic() + dice.uniform(*BETWEEN_KILLS)
            time.sleep(0.1)
    finally:
        processes.stop()
    return kills


def chain_through_kills(world: World, log: str) -> int:
    """Run a chain of 50 steps and a backfill, and return how many processes were killed meanwhile."""
    keys = [f"s{number}" for number in range(STEPS)]
    world.deploy(*keys, "load")
    constant = {"month": {"value": "2026-10"}}
    # Layers, each step of which waits for two of the one before.
    steps = [
        {
            "key": key,
            "deployment": f"{key}/daily",
            "parameters": constant,
            "after": [
                {"step": keys[number - number % WIDTH - WIDTH + (number + more) % WIDTH]}
                for more in ((0, 1) if number >= WIDTH else ())
            ],
        }
        for number, key in enumerate(keys)
    ]
    over = {"over": f"2025-01..2026-{MONTHS - 12:02}", "at_once": 5}
    last = {"key": "load", "deployment": "load/daily", "parameters": {"month": over}, "after": [{"step": keys[-1]}]}
    chain = chains.save(world.environment, "Close", {"steps": [*steps, last]}, by=world.by).chain
    change = chains.request_run(chain, {}, by=world.by)

    def step(may_end: bool) -> bool:
        left = change.run_requests.filter(state=State.COMPLETED).count()
        if may_end or left < STEPS + MONTHS - 1:
            world.end_open_runs(2)
        change.refresh_from_db()
        return change.state == ChangeRequest.State.CLOSED

    kills = while_killing(log, step)
    attempts = Counter(change.run_requests.values_list("state", "occurrence"))
    once = [("1", STEPS), *((f"1-{number}", 1) for number in range(1, MONTHS + 1))]
    holds("each step is one attempt that completed", attempts == {(State.COMPLETED, key): n for key, n in once})
    expected = {**dict.fromkeys(keys, 1), "load": MONTHS}
    holds("each step is one run in Prefect", world.runs_by(world.flow_of) == expected)
    loaded = {run.parameters["month"] for run in world.shared.fake._runs.values() if world.flow_of(run) == "load"}
    holds("each value is one run in Prefect", len(loaded) == MONTHS)
    holds("each start is recorded once", AuditEntry.objects.filter(verb="chain.step").count() == STEPS + MONTHS)
    return kills


def rules_through_kills(world: World, log: str) -> int:
    """Have a rule react to failed runs, and return how many processes were killed meanwhile."""
    world.deploy("source", "target")
    rows = Deployment.objects.select_related("environment__server")
    source, target = (rows.get(full_name=f"{key}/daily") for key in ("source", "target"))
    rule = event_rules.create(
        "on failure",
        trigger="run",
        deployment=target,
        by=world.by,
        states=["FAILED"],
        full_name=source.full_name,
        mapping={"month": {"pointer": "/run/parameters/month"}},
        per_hour=event_rules.MOST_PER_HOUR,
    )
    failed: list[str] = []

    def step(may_end: bool) -> bool:
        if len(failed) < EVENTS - 1 or (may_end and len(failed) < EVENTS):
            failed.append(f"m{len(failed)}")
            with world.shared.lock:
                run = world.shared.fake.add_run(
                    source.prefect_id, state_type="RUNNING", parameters={"month": failed[-1]}
                )
                world.shared.fake.set_state(run.id, "FAILED")
            mirror.refresh(world.environment, [run.id])
        requested = RunRequest.objects.filter(deployment=target, flow_run_id__isnull=False).count()
        return (
            len(failed) == EVENTS and requested >= EVENTS and not RuleFiring.objects.filter(outcome="waiting").exists()
        )

    kills = while_killing(log, step)
    fired = Counter(RuleFiring.objects.filter(rule=rule).values_list("outcome", flat=True))
    holds("each event is one firing that requested a run", fired == {"requested": EVENTS})
    months = Counter(
        run.parameters["month"] for run in world.shared.fake._runs.values() if world.flow_of(run) == "target"
    )
    holds("each event is one run in Prefect", months == dict.fromkeys(failed, 1))
    holds("each event is one request", RunRequest.objects.filter(deployment=target).count() == EVENTS)
    return kills


def main() -> None:
    log = sys.argv[1]
    logging.disable(logging.WARNING)
    call_command("migrate", verbosity=0, interactive=False)
    call_command("sync_periodic", verbosity=0)
    shared = Shared()
    serve(shared)
    world = World(shared)
    chain = chain_through_kills(world, log)
    rules = rules_through_kills(world, log)
    until(lambda: not reconcile(), 60)
    print(
        f"{STEPS} steps and a backfill of {MONTHS} through {chain} killed processes, {EVENTS} events through {rules}: "
        "each ran once."
    )


if __name__ == "__main__":
    main()
