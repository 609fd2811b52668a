"""Two acts on one request at the same instant, again and again, and what must hold whichever comes first."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import ProgrammingError, connection
from django.utils import timezone
from django_q.models import OrmQ

from flows.access import Refused
from flows.models import Deployment, Environment, Grant
from flows.records import JSON, Credential, FlowRunRecord, StateRecord
from runs import dispatch, lifecycle, policies
from runs.actors import Actor, Channel
from runs.models import Approval, AuditEntry, BreakGlass, Freeze, Policy, RunRequest
from runs.models.request import State

VALUES = {"month": "2026-10"}
SCHEMA = {"type": "object", "properties": {"month": {"type": "string"}}, "required": ["month"]}
FINGERPRINT = "f" * 64
GONE_ON = {State.LAUNCHED, State.COMPLETED, State.FAILED, State.CANCELLED}


class Counting:
    """A Prefect that keeps one run for a key, and counts what it was asked to create."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        self.creates: Counter[str] = Counter()
        self.runs: dict[str, FlowRunRecord] = {}
        self.sent_again: set[str] = set()
        self.before_answer: Callable[[str], None] = lambda key: None

    def create_flow_run(
        self,
        deployment_id: uuid.UUID,
        *,
        parameters: Mapping[str, JSON],
        idempotency_key: str,
        name: str | None,
        tags: Sequence[str],
        scheduled_for: datetime | None,
    ) -> FlowRunRecord:
        with self.lock:
            self.creates[idempotency_key] += 1
            record = self.runs.setdefault(idempotency_key, run_of(deployment_id, parameters, idempotency_key))
        self.before_answer(idempotency_key)
        return record


def run_of(deployment_id: uuid.UUID, parameters: Mapping[str, JSON], key: str) -> FlowRunRecord:
    now = datetime.now(UTC)
    return FlowRunRecord(
        id=uuid.uuid4(),
        name="raced",
        flow_id=uuid.uuid4(),
        deployment_id=deployment_id,
        deployment_version="1",
        parameters=dict(parameters),
        tags=(),
        state=StateRecord(uuid.uuid4(), "SCHEDULED", "Scheduled", "", now),
        idempotency_key=key,
        parent_task_run_id=None,
        run_count=0,
        expected_start_at=now,
        started_at=None,
        ended_at=None,
        total_run_seconds=0,
        work_pool_name="",
        work_queue_name="",
        infrastructure_pid="",
        created_at=now,
        updated_at=now,
        auto_scheduled=False,
    )


prefect = Counting()


def connect(api_url: str, credential: Credential) -> Counting:
    """What `settings.GATEWAY` names while it races."""
    return prefect


class Broken(Exception):
    """Something that must always hold did not."""


def holds(sentence: str, truth: object) -> None:
    if not truth:
        raise Broken(sentence)


@dataclass
class Track:
    """Who races over what: prod, where one other must approve, and people who may all approve."""

    prod: Environment
    deployment: Deployment
    asker: User
    approvers: list[User]
    dice: random.Random
    outcomes: Counter[str] = field(default_factory=Counter)

    @classmethod
    def lay(cls, seed: int) -> Track:
        prod = Environment.objects.create(
            slug="prod", api_url="http://prod.race/api", is_protected=True, needs_approval=True
        )
        # A superuser who holds every verb: if the asker could approve at all, this one could.
        asker = User.objects.create(username="asker", is_superuser=True)
        approvers = [User.objects.create(username=f"approver-{number}") for number in range(3)]
        verbs = ["see", "trigger", "cancel", "approve", "break glass", "manage"]
        for each in (asker, *approvers):
            Grant.objects.create(person=each, verbs=verbs, environment=prod, granted_by_name="race")
        deployment = Deployment.objects.create(
            environment=prod,
            prefect_id=uuid.uuid4(),
            flow_id=uuid.uuid4(),
            flow_name="etl",
            name="nightly",
            full_name="etl/nightly",
            version="1",
            parameter_schema=SCHEMA,
            schema_fingerprint=FINGERPRINT,
            seen_at=timezone.now(),
        )
        return cls(prod, deployment, asker, approvers, random.Random(seed))

    def ask(self, **columns: Any) -> RunRequest:
        wish = lifecycle.submit(self.deployment, VALUES, by=by(self.asker), **columns)
        return RunRequest.objects.get(pk=wish.pk)

    def as_laid(self) -> None:
        """Undo what a round did to the place."""
        Deployment.objects.filter(pk=self.deployment.pk).update(version="1", schema_fingerprint=FINGERPRINT)
        Grant.objects.update(revoked_at=None)
        Policy.objects.all().delete()
        Freeze.objects.update(lifted_at=timezone.now())
        OrmQ.objects.all().delete()


def by(user: User) -> Actor:
    return Actor.person(user, channel=Channel.COMMAND)


def fresh(run_request: RunRequest) -> RunRequest:
    """The row as another process would have loaded it."""
    return RunRequest.objects.get(pk=run_request.pk)


def approvals(run_request: RunRequest) -> int:
    return Approval.objects.filter(run_request=run_request, approved=True).count()


def queued(run_request: RunRequest) -> int:
    return sum(task.func() == "runs.tasks.launch" and task.args() == (run_request.pk,) for task in OrmQ.objects.all())


def entries(verb: str, run_request: RunRequest, outcome: str = "done") -> int:
    found = AuditEntry.objects.filter(verb=verb, subject_kind="runrequest", subject_id=str(run_request.pk))
    return found.filter(outcome=outcome).count()


Act = Callable[[], object]
Round = Iterator[tuple[Act, ...]]


def approve(run_request: RunRequest, user: User) -> Act:
    return lambda: lifecycle.approve(fresh(run_request), by=by(user))


def launch(run_request: RunRequest) -> Act:
    return lambda: dispatch.launch(fresh(run_request))


# Each yields the acts that race, once, and looks afterwards at what they left.


def two_approvals(track: Track) -> Round:
    wish = track.ask()
    yield approve(wish, track.approvers[0]), approve(wish, track.approvers[1])
    wish.refresh_from_db()
    holds("One of two approvals counts.", approvals(wish) == 1 and wish.state == State.APPROVED)
    holds("One launch is queued.", queued(wish) == 1)
    holds("Each left one entry.", entries("request.approve", wish) == entries("request.approve", wish, "refused") == 1)


def the_last_two_of_two(track: Track) -> Round:
    Policy.objects.create(name="two", environment=track.prod, stages=[{"needed": 2, "group": ""}])
    wish = track.ask()
    yield tuple(approve(wish, user) for user in track.approvers)
    wish.refresh_from_db()
    holds("Two of three approvals count.", approvals(wish) == 2 and wish.state == State.APPROVED)
    holds("One launch is queued.", queued(wish) == 1)


def one_person_twice_of_two(track: Track) -> Round:
    Policy.objects.create(name="two", environment=track.prod, stages=[{"needed": 2, "group": ""}])
    wish = track.ask()
    yield approve(wish, track.approvers[0]), approve(wish, track.approvers[0])
    wish.refresh_from_db()
    holds("One person counts once.", approvals(wish) == 1 and wish.state == State.WAITING)


def own_against_another_s(track: Track) -> Round:
    wish = track.ask()
    yield approve(wish, track.asker), approve(wish, track.approvers[0])
    wish.refresh_from_db()
    holds("The other's counts.", approvals(wish) == 1 and wish.state == State.APPROVED)


def approve_against_reject(track: Track) -> Round:
    wish = track.ask()
    yield (
        approve(wish, track.approvers[0]),
        lambda: lifecycle.reject(fresh(wish), by=by(track.approvers[1]), reason="not now"),
    )
    wish.refresh_from_db()
    holds("One of them wins.", wish.state == (State.APPROVED if approvals(wish) else State.REJECTED))
    holds("A launch is queued only when approved.", queued(wish) == (wish.state == State.APPROVED))
    track.outcomes[wish.state] += 1


def approve_against_withdraw(track: Track) -> Round:
    wish = track.ask()
    yield approve(wish, track.approvers[0]), lambda: lifecycle.withdraw(fresh(wish), by=by(track.asker))
    dispatch.launch(fresh(wish))
    wish.refresh_from_db()
    holds("What was withdrawn is not sent.", wish.state == State.WITHDRAWN and not created(wish))


def approve_against_expire(track: Track) -> Round:
    wish = track.ask()
    soon = timezone.now() + timedelta(milliseconds=track.dice.uniform(0, 25))
    RunRequest.objects.filter(pk=wish.pk).update(expires_at=soon)

    def expire() -> None:
        for _ in range(4):
            time.sleep(0.006)
            try:
                lifecycle.expire(fresh(wish))
            except Refused:
                continue
            return

    yield approve(wish, track.approvers[0]), expire
    wish.refresh_from_db()
    answered = State.APPROVED if approvals(wish) else (State.EXPIRED if wish.state != State.WAITING else State.WAITING)
    holds("An approval given in time stays; one that was not closes the request.", wish.state == answered)
    track.outcomes[wish.state] += 1


def approve_against_break_glass(track: Track) -> Round:
    wish = track.ask()
    yield (
        approve(wish, track.approvers[0]),
        lambda: lifecycle.break_glass(fresh(wish), by=by(track.approvers[1]), reason="fire"),
    )
    broken = BreakGlass.objects.filter(run_request=wish).count()
    holds("One of them lets it go.", approvals(wish) + broken == 1 and queued(wish) == 1)
    track.outcomes["glass" if broken else "approved"] += 1


def approve_against_edit(track: Track) -> Round:
    wish = track.ask()
    rows = RunRequest.objects.filter(pk=wish.pk)
    edit: dict[str, Act] = {
        "version": lambda: Deployment.objects.filter(pk=track.deployment.pk).update(version="2"),
        "schema": lambda: Deployment.objects.filter(pk=track.deployment.pk).update(schema_fingerprint="e" * 64),
        "policy": lambda: Policy.objects.create(name="new", stages=[{"needed": 2, "group": ""}]),
        "grant": lambda: Grant.objects.filter(person=track.approvers[0]).update(revoked_at=timezone.now()),
        "columns": lambda: rows.update(parameters={"month": "1999-01"}),
    }
    what = track.dice.choice(sorted(edit))
    yield approve(wish, track.approvers[0]), edit[what]
    dispatch.launch(fresh(wish))
    wish.refresh_from_db()
    if what == "columns":
        holds("The database refused the edit.", wish.parameters == VALUES and wish.state == State.LAUNCHED)
    else:
        holds("What changed since is not sent.", wish.state in (State.REFUSED, State.WAITING) and not created(wish))
    track.outcomes[what] += 1


def double_submit(track: Track) -> Round:
    key = uuid.uuid4()
    yield tuple([lambda: track.ask(submission_key=key)] * 2)
    wish = RunRequest.objects.get(submission_key=key)
    holds("A double click leaves one entry.", entries("request.submit", wish) == 1)


def double_submit_where_nobody_approves(track: Track) -> Round:
    Environment.objects.filter(pk=track.prod.pk).update(needs_approval=False)
    key = uuid.uuid4()
    yield tuple([lambda: track.ask(submission_key=key)] * 2)
    wish = RunRequest.objects.get(submission_key=key)
    Environment.objects.filter(pk=track.prod.pk).update(needs_approval=True)
    holds("A double click queues one launch.", queued(wish) == 1)


def approved(track: Track) -> RunRequest:
    wish = track.ask()
    lifecycle.approve(wish, by=by(track.approvers[0]))
    return wish


def double_launch(track: Track) -> Round:
    wish = approved(track)
    yield launch(wish), launch(wish), launch(wish)
    wish.refresh_from_db()
    holds("It was sent once.", wish.state == State.LAUNCHED and created(wish) == 1)


def launch_against_an_answer_that_comes_late(track: Track) -> Round:
    """The first attempt's lease ends while Prefect is silent; the next sends the same key; both hear at once."""
    wish = approved(track)
    is_asked, both = threading.Event(), threading.Barrier(2)

    def answer(key: str) -> None:
        is_asked.set()
        both.wait(timeout=20)

    def next_attempt() -> None:
        is_asked.wait(timeout=20)
        RunRequest.objects.filter(pk=wish.pk).update(next_attempt_at=timezone.now())
        prefect.sent_again.add(wish.idempotency_key)
        dispatch.launch(fresh(wish))

    prefect.before_answer = answer
    try:
        yield launch(wish), next_attempt
    finally:
        prefect.before_answer = lambda key: None
    wish.refresh_from_db()
    holds("Both attempts got one run.", wish.state == State.LAUNCHED and created(wish) == 2)
    holds("One launch is in the trail.", entries("request.launch", wish) == 1)


def launch_against_withdraw(track: Track) -> Round:
    wish = approved(track)
    yield launch(wish), lambda: lifecycle.withdraw(fresh(wish), by=by(track.asker))
    wish.refresh_from_db()
    holds("It was sent or withdrawn.", wish.state == (State.LAUNCHED if created(wish) else State.WITHDRAWN))
    track.outcomes[wish.state] += 1


def launch_against_freeze(track: Track) -> Round:
    wish = approved(track)
    yield launch(wish), lambda: policies.freeze(track.prod, by=by(track.asker), reason="year end")
    wish.refresh_from_db()
    holds("It was sent or it waits.", wish.state == (State.LAUNCHED if created(wish) else State.APPROVED))
    track.outcomes[wish.state] += 1


def created(run_request: RunRequest) -> int:
    return prefect.creates[run_request.idempotency_key]


RACES: tuple[Callable[[Track], Round], ...] = (
    two_approvals,
    the_last_two_of_two,
    one_person_twice_of_two,
    own_against_another_s,
    approve_against_reject,
    approve_against_withdraw,
    approve_against_expire,
    approve_against_break_glass,
    approve_against_edit,
    double_submit,
    double_submit_where_nobody_approves,
    double_launch,
    launch_against_an_answer_that_comes_late,
    launch_against_withdraw,
    launch_against_freeze,
)


@dataclass
class Result:
    """What so many rounds came to."""

    rounds: int
    seconds: float
    launches: int
    double_launches: int
    self_approvals: int
    launched_without_approval: int
    broken: list[str]
    outcomes: dict[str, dict[str, int]]


class Runners:
    """Threads that stay, each with its own connection to the database."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pool = ThreadPoolExecutor(most)

    def race(self, acts: Sequence[Act]) -> None:
        start = threading.Barrier(len(acts))

        def run(act: Act) -> None:
            start.wait()
            try:
                act()
            except (Refused, ProgrammingError):
                # Whoever is second is told so; by a trigger when the row was written past the doors.
                return

        for done in [self._pool.submit(run, act) for act in acts]:
            done.result()

    def dismiss(self) -> None:
        leave = threading.Barrier(self._most)

        def end() -> None:
            leave.wait()
            connection.close()

        for done in [self._pool.submit(end) for _ in range(self._most)]:
            done.result()
        self._pool.shutdown()


def race(rounds: int, *, seed: int = 1, go_on: Callable[[int], bool] = lambda done: True) -> Result:
    """So many rounds, each kind in turn, or until `go_on` says no.

    On whatever database Django is connected to, which should be empty.
    """
    track, runners = Track.lay(seed), Runners(3)
    prefect.forget()
    broken: list[str] = []
    outcomes: dict[str, dict[str, int]] = {}
    begun, done = time.monotonic(), 0
    try:
        for number in range(rounds):
            kind = RACES[number % len(RACES)]
            track.as_laid()
            track.outcomes = Counter()
            try:
                for acts in kind(track):
                    runners.race(acts)
            except Broken as error:
                broken.append(f"{kind.__name__}, round {number}: {error}")
            kept = outcomes.setdefault(kind.__name__, {})
            for name, count in track.outcomes.items():
                kept[str(name)] = kept.get(str(name), 0) + count
            done = number + 1
            if not go_on(done):
                break
    finally:
        runners.dismiss()
    return Result(
        rounds=done,
        seconds=round(time.monotonic() - begun, 1),
        launches=len(prefect.runs),
        double_launches=double_launches(),
        self_approvals=Approval.objects.filter(by=track.asker).count(),
        launched_without_approval=without_approval(),
        broken=broken,
        outcomes=outcomes,
    )


def double_launches() -> int:
    """Keys that were sent once too often, and runs in Prefect that no request or more than one knows of."""
    known = Counter(RunRequest.objects.filter(flow_run_id__isnull=False).values_list("flow_run_id", flat=True))
    too_often = sum(count > 1 + (key in prefect.sent_again) for key, count in prefect.creates.items())
    return too_often + sum(known[record.id] != 1 for record in prefect.runs.values())


def without_approval() -> int:
    """Requests that went on although too few had approved and nobody had broken the glass."""
    gone_on = RunRequest.objects.filter(state__in=GONE_ON, needs_approval=True, break_glass=None)
    return sum(approvals(each) < each.approvals_needed for each in gone_on)
