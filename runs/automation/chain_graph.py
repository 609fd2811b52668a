"""The graph of a chain: which steps follow which, and which are next. Pure: no database, no clock.

A step starts when every condition on the steps before it holds, and is skipped when one of them can hold no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import networkx as nx


class When(StrEnum):
    """Which end of the step before a condition waits for."""

    COMPLETED = "completed"
    FAILED = "failed"
    # However it ended, and also when it was skipped.
    FINISHED = "finished"


class Outcome(StrEnum):
    """Where a step of one run of a chain is."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


ENDED = frozenset({Outcome.COMPLETED, Outcome.FAILED, Outcome.SKIPPED})
# What a condition waits for -> the outcomes of the step before with which it holds.
HOLDS: dict[When, frozenset[Outcome]] = {
    When.COMPLETED: frozenset({Outcome.COMPLETED}),
    When.FAILED: frozenset({Outcome.FAILED}),
    When.FINISHED: ENDED,
}


@dataclass(frozen=True, slots=True)
class ValueTest:
    """The value in an artifact of the step before that a condition needs as well."""

    artifact: str
    pointer: str
    equals: Any


@dataclass(frozen=True, slots=True)
class Edge:
    """A condition of a step on one before it."""

    before: str
    when: When
    test: ValueTest | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A step, with all its conditions."""

    key: str
    after: tuple[Edge, ...] = ()


# Whether the value that a condition needs is there; None while that is not known.
Tested = Callable[[Edge], bool | None]


def find_cycle(nodes: Sequence[Node]) -> list[str]:
    """Return the steps of one cycle, the first of them also as the last; empty when there is none."""
    try:
        edges = nx.find_cycle(graph_of(nodes))
    except nx.NetworkXNoCycle:
        return []
    return [*(before for before, _ in edges), edges[0][0]]


def layers(nodes: Sequence[Node]) -> list[list[str]]:
    """Return the steps by layer: each is in the first one after those of all steps before it. Raises for a cycle."""
    place = {node.key: index for index, node in enumerate(nodes)}
    return [sorted(layer, key=place.__getitem__) for layer in nx.topological_generations(graph_of(nodes))]


def ancestors(nodes: Sequence[Node], key: str) -> set[str]:
    """Return the steps that end before a step can start, directly or not."""
    return set(nx.ancestors(graph_of(nodes), key))


def outcomes(nodes: Sequence[Node], known: Mapping[str, Outcome], tested: Tested) -> dict[str, Outcome]:
    """Return where each step is; `known` are those that have started. Raises for a cycle.

    What has started keeps its outcome, whatever became of the steps before it since.
    """
    by_key = {node.key: node for node in nodes}
    found: dict[str, Outcome] = {}
    for layer in layers(nodes):
        for key in layer:
            found[key] = known.get(key) or outcome_of(by_key[key], found, tested)
    return found


def outcome_of(node: Node, found: Mapping[str, Outcome], tested: Tested) -> Outcome:
    """Return where a step is that has not started, from those before it."""
    answers = [answer(edge, found[edge.before], tested) for edge in node.after]
    if False in answers:
        return Outcome.SKIPPED
    return Outcome.WAITING if None in answers else Outcome.READY


def answer(edge: Edge, before: Outcome, tested: Tested) -> bool | None:
    """Return whether a condition holds; None while it can still go both ways."""
    if before not in ENDED:
        return None
    if before not in HOLDS[edge.when]:
        return False
    if edge.test is None:
        return True
    # A step that was skipped left no artifact.
    return False if before == Outcome.SKIPPED else tested(edge)


def has_ended(found: Mapping[str, Outcome]) -> bool:
    """Return whether nothing more starts by itself."""
    return all(outcome in ENDED for outcome in found.values())


def unhandled_failures(nodes: Sequence[Node], found: Mapping[str, Outcome]) -> list[str]:
    """Return the failed steps after which no step ran that waited for their failure or their end, in order."""
    handled = {
        edge.before
        for node in nodes
        for edge in node.after
        if edge.when != When.COMPLETED and found[node.key] in (Outcome.RUNNING, Outcome.COMPLETED, Outcome.FAILED)
    }
    return [node.key for node in nodes if found[node.key] == Outcome.FAILED and node.key not in handled]


def graph_of(nodes: Sequence[Node]) -> Any:
    graph = nx.DiGraph()
    graph.add_nodes_from(node.key for node in nodes)
    graph.add_edges_from((edge.before, node.key) for node in nodes for edge in node.after)
    return graph
