"""Which runs count as stalled: each rule where it applies, and where it would be a false alarm."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows.models import Environment, WorkPool
from runs import stalls
from runs.models import Run, Stall
from runs.stalls import Context

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
# Limits: Pending 5, Late 15, silent 60, Cancelling 10 minutes.
ENVIRONMENT = Environment(slug="dev")


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def a_run(state_type: str, **columns: Any) -> Run:
    plain: dict[str, Any] = {"environment": ENVIRONMENT, "work_pool_name": "batch", "state_at": ago(500)}
    return Run(state_type=state_type, **plain | columns)


def running(**columns: Any) -> Run:
    """A run that gave its last sign of life long ago, and was looked at just now."""
    plain = {"started_at": ago(500), "active_at": ago(90), "detailed_at": NOW}
    return a_run("RUNNING", **plain | columns)


def kind(run: Run, pool: WorkPool | None = None, environment: Environment = ENVIRONMENT, busy: int = 0) -> str:
    pools = {pool.name: pool} if pool else {}
    return stalls.stall_of(run, Context(NOW, environment, pools, {"batch": busy}))[0]


def a_pool(**columns: Any) -> WorkPool:
    return WorkPool(name="batch", **columns)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (a_run("PENDING", state_at=ago(6)), Stall.PENDING),
        (a_run("SCHEDULED", expected_start_at=ago(16)), Stall.LATE),
        (running(), Stall.SILENT),
        (a_run("CANCELLING", state_at=ago(11)), Stall.CANCELLING),
    ],
    ids=lambda each: str(each),
)
def test_each_kind_is_found(run: Run, expected: Stall) -> None:
    assert kind(run) == expected


@pytest.mark.parametrize(
    "run",
    [
        a_run("PENDING", state_at=ago(4)),
        a_run("PENDING", infrastructure_pid="123"),
        a_run("SCHEDULED", expected_start_at=ago(14)),
        a_run("SCHEDULED", expected_start_at=ago(-1)),
        a_run("SCHEDULED", state_name=stalls.AWAITING_SLOT, expected_start_at=ago(100)),
        running(active_at=ago(59)),
        # Its log and heartbeats fell silent, and then it changed state.
        running(state_at=ago(10)),
        # No heartbeat, log line or task was ever seen.
        running(active_at=None),
        # Only those of its beginning, which every run has.
        running(active_at=ago(499.5)),
        # Nobody has looked since it fell silent.
        running(detailed_at=ago(45)),
        running(detailed_at=None),
        a_run("CANCELLING", state_at=ago(9)),
        a_run("PAUSED"),
        a_run("COMPLETED"),
        a_run("PENDING", deleted_upstream_at=NOW),
    ],
    ids=[
        "just claimed",
        "has a process",
        "a little late",
        "scheduled in the future",
        "waits for a slot of its deployment",
        "logged within the hour",
        "moved within the hour",
        "never gave a sign of life",
        "gave signs of life only at its beginning",
        "not looked at since",
        "never looked at",
        "cancelled just now",
        "paused",
        "ended",
        "deleted",
    ],
)
def test_what_is_not_stalled(run: Run) -> None:
    assert kind(run) == ""


def test_a_paused_pool_and_one_with_a_limit_hold_their_runs_back_on_purpose() -> None:
    late = a_run("SCHEDULED", expected_start_at=ago(100))
    assert kind(late, a_pool(is_paused=True)) == ""
    assert kind(late, a_pool(concurrency_limit=2), busy=2) == ""
    # Between the end of one run and the next being picked up.
    assert kind(late, a_pool(concurrency_limit=2), busy=1) == ""
    assert kind(late, a_pool(concurrency_limit=2), busy=0) == Stall.LATE
    assert kind(late, a_pool(), busy=7) == Stall.LATE
    assert kind(a_run("PENDING", state_at=ago(6)), a_pool(is_paused=True)) == Stall.PENDING


def test_since_is_when_the_run_last_moved() -> None:
    assert stalls.stall_of(running(), Context(NOW, ENVIRONMENT)) == (Stall.SILENT, ago(90))
    assert stalls.stall_of(a_run("PENDING", state_at=ago(6)), Context(NOW, ENVIRONMENT))[1] == ago(6)


@pytest.mark.parametrize(
    ("limit", "run"),
    [
        ("pending_minutes", a_run("PENDING")),
        ("late_minutes", a_run("SCHEDULED", expected_start_at=ago(100))),
        ("silent_minutes", running()),
        ("cancelling_minutes", a_run("CANCELLING")),
    ],
)
def test_zero_switches_a_rule_off(limit: str, run: Run) -> None:
    assert kind(run) != ""
    assert kind(run, environment=Environment(slug="dev", **{limit: 0})) == ""
