"""Concurrent actions on real connections with real commits: the second one always notices the first."""

from __future__ import annotations

import ast
import inspect
import textwrap
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest

from benchmarks import race_rounds
from benchmarks.fake_world import prefect
from runs import audit
from tests.expectations import load

EXPECTED = load("races")
ROUNDS = EXPECTED["rounds in the test"]


@pytest.mark.usefixtures("own_database")
def test_whoever_is_first_nothing_is_launched_twice_and_nobody_approves_their_own(settings: Any) -> None:
    settings.PREFECT_CLIENT = "benchmarks.fake_world.connect"
    result = race_rounds.race(ROUNDS)
    assert result.broken == []
    counted = asdict(result) | {"broken": len(result.broken)}
    assert {name: counted[name] for name in EXPECTED["must be zero"]} == dict.fromkeys(EXPECTED["must be zero"], 0)
    # Every race with two possible results had both of them often enough to be a race.
    assert result.launches > ROUNDS / len(race_rounds.RACES)
    assert audit.verify()


def sentences(race: Callable[..., object]) -> Iterator[str]:
    """What a race says must hold after it, read from its code."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(race)))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "holds":
            yield ast.literal_eval(node.args[0])


def test_the_races_and_what_must_hold_after_them_are_those_agreed_on() -> None:
    assert {name: list(sentences(race)) for name, race in race_rounds.RACES.items()} == EXPECTED["races"]
    assert EXPECTED["must be zero"] == ["double_launches", "self_approvals", "launched_without_approval", "broken"]
    assert 14 * len(race_rounds.RACES) <= ROUNDS


def test_the_count_of_double_launches_counts(db: None) -> None:
    prefect.forget()
    assert race_rounds.double_launches() == 0
    for _ in range(2):
        prefect.create_flow_run(
            uuid.uuid4(),
            parameters={},
            idempotency_key="a",
            name=None,
            tags=(),
            scheduled_for=None,
            job_variables={},
            work_queue_name="",
        )
    # Sent twice, without a request that knows.
    assert race_rounds.double_launches() == 2
    prefect.forget()
