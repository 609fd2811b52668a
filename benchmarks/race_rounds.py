"""Two acts on one request at the same instant, again and again, and what must hold whichever comes first."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from django.db import ProgrammingError, connection
from django.utils import timezone

from benchmarks.fake_world import (
    VALUES,
    Act,
    Broken,
    Round,
    Track,
    approvals,
    approve,
    by,
    created,
    deploy,
    entries,
    fresh,
    fresh_change,
    holds,
    launch,
    prefect,
    queued,
)
from flows.models import Deployment, Environment
from runs import changes, dispatch
from runs.errors import Refused
from runs.governance import freezes
from runs.models import Approval, BreakGlass, ChangeRequest, Grant, Policy, RunRequest, RunSpec
from runs.models.request import State

GONE_ON = {State.LAUNCHED, State.COMPLETED, State.FAILED, State.CANCELLED}

# Each yields the acts that race, once, and looks afterwards at what they left.


def two_approvals(track: Track) -> Round:
    run_request = track.ask()
    yield approve(run_request, track.approvers[0]), approve(run_request, track.approvers[1])
    run_request.refresh_from_db()
    holds("One of two approvals counts.", approvals(run_request) == 1 and run_request.state == State.APPROVED)
    holds("One launch is queued.", queued(run_request) == 1)
    holds(
        "Each left one entry.",
        entries("request.approve", run_request) == entries("request.approve", run_request, "refused") == 1,
    )


def the_last_two_of_two(track: Track) -> Round:
    Policy.objects.create(name="two", environment=track.prod, stages=[{"needed": 2, "group": ""}])
    run_request = track.ask()
    yield tuple(approve(run_request, user) for user in track.approvers)
    run_request.refresh_from_db()
    holds("Two of three approvals count.", approvals(run_request) == 2 and run_request.state == State.APPROVED)
    holds("One launch is queued.", queued(run_request) == 1)


def one_person_twice_of_two(track: Track) -> Round:
    Policy.objects.create(name="two", environment=track.prod, stages=[{"needed": 2, "group": ""}])
    run_request = track.ask()
    yield approve(run_request, track.approvers[0]), approve(run_request, track.approvers[0])
    run_request.refresh_from_db()
    holds("One person counts once.", approvals(run_request) == 1 and run_request.state == State.HELD)


def own_against_another_s(track: Track) -> Round:
    run_request = track.ask()
    yield approve(run_request, track.requester), approve(run_request, track.approvers[0])
    run_request.refresh_from_db()
    holds("The other's counts.", approvals(run_request) == 1 and run_request.state == State.APPROVED)


def approve_against_reject(track: Track) -> Round:
    run_request = track.ask()
    yield (
        approve(run_request, track.approvers[0]),
        lambda: changes.reject(fresh_change(run_request), by=by(track.approvers[1]), reason="not now"),
    )
    run_request.refresh_from_db()
    holds("One of them wins.", run_request.state == (State.APPROVED if approvals(run_request) else State.REJECTED))
    holds("A launch is queued only when approved.", queued(run_request) == (run_request.state == State.APPROVED))
    track.outcomes[run_request.state] += 1


def withdraw(track: Track, run_request: RunRequest) -> Act:
    return lambda: changes.withdraw(fresh_change(run_request), by=by(track.requester))


def approve_against_withdraw(track: Track) -> Round:
    run_request = track.ask()
    yield approve(run_request, track.approvers[0]), withdraw(track, run_request)
    dispatch.launch(fresh(run_request))
    run_request.refresh_from_db()
    holds("What was withdrawn is not sent.", run_request.state == State.WITHDRAWN and not created(run_request))


def approve_against_expire(track: Track) -> Round:
    run_request = track.ask()
    soon = timezone.now() + timedelta(milliseconds=track.dice.uniform(0, 25))
    ChangeRequest.objects.filter(pk=run_request.change_id).update(expires_at=soon)

    def expire() -> None:
        for _ in range(4):
            time.sleep(0.006)
            try:
                changes.expire(fresh_change(run_request))
            except Refused:
                continue
            return

    yield approve(run_request, track.approvers[0]), expire
    run_request.refresh_from_db()
    answered = (
        State.APPROVED if approvals(run_request) else (State.EXPIRED if run_request.state != State.HELD else State.HELD)
    )
    holds("An approval given in time stays; one that was not closes the request.", run_request.state == answered)
    track.outcomes[run_request.state] += 1


def approve_against_break_glass(track: Track) -> Round:
    run_request = track.ask()
    yield (
        approve(run_request, track.approvers[0]),
        lambda: changes.break_glass(fresh_change(run_request), by=by(track.approvers[1]), reason="fire"),
    )
    broken = BreakGlass.objects.filter(change=run_request.change_id).count()
    holds("One of them lets it go.", approvals(run_request) + broken == 1 and queued(run_request) == 1)
    track.outcomes["glass" if broken else "approved"] += 1


def approve_against_edit(track: Track) -> Round:
    run_request = track.ask()
    rows = RunSpec.objects.filter(pk=run_request.spec_id)
    edit: dict[str, Act] = {
        "version": lambda: deploy("2"),
        "schema": lambda: Deployment.objects.filter(pk=track.deployment.pk).update(schema_fingerprint="e" * 64),
        "policy": lambda: Policy.objects.create(name="new", stages=[{"needed": 2, "group": ""}]),
        "grant": lambda: Grant.objects.filter(person=track.approvers[0]).update(revoked_at=timezone.now()),
        "columns": lambda: rows.update(parameters={"month": "1999-01"}),
    }
    what = track.dice.choice(sorted(edit))
    yield approve(run_request, track.approvers[0]), edit[what]
    dispatch.launch(fresh(run_request))
    run_request.refresh_from_db()
    if what == "columns":
        is_kept = run_request.spec.parameters == VALUES and run_request.state == State.LAUNCHED
        holds("The database refused the edit.", is_kept)
    else:
        holds(
            "What changed since is not sent.",
            run_request.state in (State.REFUSED, State.HELD) and not created(run_request),
        )
    track.outcomes[what] += 1


def double_submit(track: Track) -> Round:
    key = uuid.uuid4()
    yield tuple([lambda: track.ask(submission_key=key)] * 2)
    run_request = RunRequest.objects.get(change__submission_key=key)
    holds("A double click leaves one entry.", entries("request.submit", run_request) == 1)


def double_submit_where_nobody_approves(track: Track) -> Round:
    Environment.objects.filter(pk=track.prod.pk).update(needs_approval=False)
    key = uuid.uuid4()
    yield tuple([lambda: track.ask(submission_key=key)] * 2)
    run_request = RunRequest.objects.get(change__submission_key=key)
    Environment.objects.filter(pk=track.prod.pk).update(needs_approval=True)
    holds("A double click queues one launch.", queued(run_request) == 1)


def approved(track: Track) -> RunRequest:
    run_request = track.ask()
    changes.approve(fresh_change(run_request), by=by(track.approvers[0]))
    run_request.refresh_from_db()
    return run_request


def double_launch(track: Track) -> Round:
    run_request = approved(track)
    yield launch(run_request), launch(run_request), launch(run_request)
    run_request.refresh_from_db()
    holds("It was sent once.", run_request.state == State.LAUNCHED and created(run_request) == 1)


def launch_against_an_answer_that_comes_late(track: Track) -> Round:
    """The first attempt's lease ends while Prefect is silent; the next sends the same key; both hear at once."""
    run_request = approved(track)
    is_asked, both = threading.Event(), threading.Barrier(2)

    def answer(key: str) -> None:
        is_asked.set()
        both.wait(timeout=20)

    def next_attempt() -> None:
        is_asked.wait(timeout=20)
        RunRequest.objects.filter(pk=run_request.pk).update(next_attempt_at=timezone.now())
        prefect.sent_again.add(run_request.idempotency_key)
        dispatch.launch(fresh(run_request))

    prefect.before_answer = answer
    try:
        yield launch(run_request), next_attempt
    finally:
        prefect.before_answer = lambda key: None
    run_request.refresh_from_db()
    holds("Both attempts got one run.", run_request.state == State.LAUNCHED and created(run_request) == 2)
    holds("One launch is in the trail.", entries("request.launch", run_request) == 1)


def launch_against_withdraw(track: Track) -> Round:
    run_request = approved(track)
    yield launch(run_request), withdraw(track, run_request)
    run_request.refresh_from_db()
    holds(
        "It was sent or withdrawn.", run_request.state == (State.LAUNCHED if created(run_request) else State.WITHDRAWN)
    )
    track.outcomes[run_request.state] += 1


def launch_against_freeze(track: Track) -> Round:
    run_request = approved(track)
    yield launch(run_request), lambda: freezes.freeze(track.prod, by=by(track.requester), reason="year end")
    run_request.refresh_from_db()
    holds("It was sent or it waits.", run_request.state == (State.LAUNCHED if created(run_request) else State.APPROVED))
    track.outcomes[run_request.state] += 1


# Its name in tests/expectations/races.json -> the race.
RACES: dict[str, Callable[[Track], Round]] = {
    "two approvals": two_approvals,
    "three approvals where two are needed": the_last_two_of_two,
    "one person approves twice where two are needed": one_person_twice_of_two,
    "own approval against another's": own_against_another_s,
    "approve against reject": approve_against_reject,
    "approve against withdraw": approve_against_withdraw,
    "approve against expire": approve_against_expire,
    "approve against bypass": approve_against_break_glass,
    "approve against edit": approve_against_edit,
    "double submit": double_submit,
    "double submit where no approval is needed": double_submit_where_nobody_approves,
    "three launches at once": double_launch,
    "launch against a late answer": launch_against_an_answer_that_comes_late,
    "launch against withdraw": launch_against_withdraw,
    "launch against freeze": launch_against_freeze,
}


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
    races = list(RACES.items())
    broken: list[str] = []
    outcomes: dict[str, dict[str, int]] = {}
    begun, done = time.monotonic(), 0
    try:
        for number in range(rounds):
            name, kind = races[number % len(races)]
            track.as_laid()
            track.outcomes = Counter()
            try:
                for acts in kind(track):
                    runners.race(acts)
            except Broken as error:
                broken.append(f"{name}, round {number}: {error}")
            kept = outcomes.setdefault(name, {})
            for end, count in track.outcomes.items():
                kept[str(end)] = kept.get(str(end), 0) + count
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
        self_approvals=Approval.objects.filter(by=track.requester).count(),
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
    gone_on = RunRequest.objects.filter(state__in=GONE_ON, change__needs_approval=True, change__break_glass=None)
    return sum(approvals(each) < each.change.approvals_needed for each in gone_on.select_related("change"))
