"""The graph of a chain: what starts, what is skipped, and that every chain ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.automation.chain_graph import (
    ENDED,
    HOLDS,
    Edge,
    Node,
    Outcome,
    ValueTest,
    When,
    ancestors,
    find_cycle,
    has_ended,
    layers,
    outcomes,
    unhandled_failures,
)

HIGH = ValueTest("crm-drift", "/level", "HIGH")


def edge(before: str, when: str = "completed", test: ValueTest | None = None) -> Edge:
    return Edge(before, When(when), test)


def told(nodes: list[Node], known: dict[str, str], value: bool | None = True) -> dict[str, str]:
    found = outcomes(nodes, {key: Outcome(each) for key, each in known.items()}, lambda _: value)
    return {key: each.value for key, each in found.items()}


@pytest.mark.parametrize(
    ("when", "before", "expected"),
    [
        ("completed", "completed", "ready"),
        ("completed", "failed", "skipped"),
        ("completed", "skipped", "skipped"),
        ("failed", "completed", "skipped"),
        ("failed", "failed", "ready"),
        ("failed", "skipped", "skipped"),
        ("finished", "completed", "ready"),
        ("finished", "failed", "ready"),
        ("finished", "skipped", "ready"),
        *((when, "running", "waiting") for when in ("completed", "failed", "finished")),
    ],
)
def test_a_condition_waits_for_one_end_of_the_step_before(when: str, before: str, expected: str) -> None:
    assert told([Node("a"), Node("b", (edge("a", when),))], {"a": before})["b"] == expected


@pytest.mark.parametrize(("value", "expected"), [(True, "ready"), (False, "skipped"), (None, "waiting")])
def test_a_value_decides_as_well_once_it_is_known(value: bool | None, expected: str) -> None:
    nodes = [Node("drift"), Node("train", (edge("drift", test=HIGH),))]
    assert told(nodes, {"drift": "completed"}, value)["train"] == expected
    assert told(nodes, {"drift": "running"}, value)["train"] == "waiting"


def test_a_skipped_step_has_no_value() -> None:
    nodes = [Node("a"), Node("b", (edge("a", "failed"),)), Node("c", (edge("b", "finished", HIGH),))]
    assert told(nodes, {"a": "completed"}) == {"a": "completed", "b": "skipped", "c": "skipped"}


def test_every_condition_must_hold_and_one_that_cannot_skips_the_step_at_once() -> None:
    nodes = [Node("a"), Node("b"), Node("c", (edge("a"), edge("b")))]
    assert told(nodes, {"a": "completed"})["c"] == "waiting"
    assert told(nodes, {"a": "completed", "b": "completed"})["c"] == "ready"
    assert told(nodes, {"a": "failed", "b": "running"})["c"] == "skipped"


def test_what_has_started_stays_when_the_step_before_starts_again() -> None:
    nodes = [Node("a"), Node("tidy", (edge("a", "failed"),)), Node("b", (edge("a"),))]
    assert told(nodes, {"a": "running", "tidy": "completed"}) == {"a": "running", "tidy": "completed", "b": "waiting"}


def test_a_failure_is_handled_by_a_step_that_waited_for_it() -> None:
    nodes = [Node("a"), Node("b", (edge("a"),)), Node("tidy", (edge("b", "failed"),))]
    known = {"a": Outcome.COMPLETED, "b": Outcome.FAILED, "tidy": Outcome.COMPLETED}
    assert unhandled_failures(nodes, known) == []
    assert unhandled_failures(nodes[:2], {"a": Outcome.COMPLETED, "b": Outcome.FAILED}) == ["b"]
    assert unhandled_failures(nodes, known | {"tidy": Outcome.FAILED}) == ["tidy"]


def test_a_cycle_is_named() -> None:
    nodes = [Node("a", (edge("c"),)), Node("b", (edge("a"),)), Node("c", (edge("b"),)), Node("d")]
    cycle = find_cycle(nodes)
    assert cycle[0] == cycle[-1]
    assert set(cycle) == {"a", "b", "c"}
    assert find_cycle([Node("a"), Node("b", (edge("a"),))]) == []
    assert find_cycle([Node("a", (edge("a"),))]) == ["a", "a"]


def test_layers_and_ancestors() -> None:
    nodes = [Node("d", (edge("b"), edge("c"))), Node("b", (edge("a"),)), Node("c", (edge("a"),)), Node("a")]
    assert layers(nodes) == [["a"], ["b", "c"], ["d"]]
    assert ancestors(nodes, "d") == {"a", "b", "c"}
    assert ancestors(nodes, "a") == set()


@st.composite
def graphs(draw: Any) -> list[Node]:
    """Up to 12 steps, each after some of those before it, in any order."""
    number = draw(st.integers(1, 12))
    nodes = []
    for index in range(number):
        before = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else set()
        tests = st.sampled_from([None, HIGH])
        edges = tuple(Edge(str(each), draw(st.sampled_from(When)), draw(tests)) for each in sorted(before))
        nodes.append(Node(str(index), edges))
    return list(draw(st.permutations(nodes)))


@given(graphs(), st.data())
def test_however_its_steps_end_a_chain_ends_and_nothing_starts_too_early(nodes: list[Node], data: Any) -> None:
    by_key = {node.key: node for node in nodes}
    values: dict[Edge, bool] = {}
    known: dict[str, Outcome] = {}

    def tested(edge: Edge) -> bool:
        return values.setdefault(edge, data.draw(st.booleans()))

    for _ in range(2 * len(nodes) + 1):
        found = outcomes(nodes, known, tested)
        if has_ended(found):
            break
        moves = [key for key, each in found.items() if each in (Outcome.READY, Outcome.RUNNING)]
        assert moves, "nothing can go on, and it has not ended"
        key = data.draw(st.sampled_from(moves))
        if found[key] == Outcome.READY:
            # All that it waited for has ended, and ended so.
            for each in by_key[key].after:
                assert found[each.before] in HOLDS[each.when]
                assert each.test is None or values[each]
            known[key] = Outcome.RUNNING
        else:
            known[key] = data.draw(st.sampled_from([Outcome.COMPLETED, Outcome.FAILED]))
        after = outcomes(nodes, known, tested)
        # What has ended stays as it is: nothing that was skipped starts later.
        assert all(after[key] == each for key, each in found.items() if each in ENDED)
    else:
        pytest.fail("the chain did not end")
    assert set(unhandled_failures(nodes, found)) <= {key for key, each in found.items() if each == Outcome.FAILED}
