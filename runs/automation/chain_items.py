"""Steps of chains that are backfills: a run for each value of a parameter, or each combination of the values of two.

So many at a time, and all of them counted as one step. All values are fixed when the chain is requested: they are the
schemas of mapped parameters of the step's spec, so its digest, and with it the approval, is for exactly these. Each run
is an occurrence with its number and its attempt as the key, so that whatever is repeated after a kill finds what is
there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from flows import parameters as schemas
from flows.models import Deployment
from runs.access import predicates
from runs.access.decisions import Forbidden, Permissions
from runs.automation.chain_definition import Over, Step, Varied
from runs.automation.chain_graph import Outcome
from runs.automation.chain_outcomes import outcome_of, will_start_again
from runs.changes.gates import item_of
from runs.errors import Refused
from runs.models import RunRequest, RunSpec, Verb
from runs.models.request import State
from runs.requests.backfill_ranges import values_from
from runs.requests.destructive import is_destructive

# Each look at a chain reads all its runs.
MOST_ITEMS = 200
FIRST = 1


# When a chain is saved and requested ----------------------------------------------------------------------------------


def values_over(
    step: Step, deployment: Deployment, varied: Iterable[Varied], given: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Return the values over which a step runs, by parameter; `given` are the inputs of the chain.

    Raises `Refused` with code `backfill.…` or `chain.over_values`.
    """
    lists: dict[str, list[Any]] = {}
    for each in varied:
        values = given.get(each.input, "") if each.input else each.values
        values = values if isinstance(values, list) else str(values)
        lists[each.parameter] = values_from(deployment.parameter_schema, each.parameter, values)
    count = prod(map(len, lists.values()))
    if count > MOST_ITEMS or any(predicates.problems(approved(name, values)) for name, values in lists.items()):
        raise Refused(
            "chain.over_values",
            f"Step {step.key} would have {count} runs. At most {MOST_ITEMS} with short values are possible: split it.",
            step=step.key,
            limit=MOST_ITEMS,
        )
    return lists


def combinations(lists: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return what each run of a step brings: the combinations of the values, those of the last one vary first."""
    return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]


def approved(name: str, values: Sequence[Any]) -> dict[str, Any]:
    return {"properties": {name: schema_of(values)}}


def schema_of(values: Sequence[Any]) -> dict[str, Any]:
    """Return what the parameter of each run must meet: to be one of these values."""
    return {"enum": list(values)}


def require_each(
    step: Step,
    deployment: Deployment,
    fixed: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    by: Permissions,
) -> None:
    """Refuse a step of which a run could not start: `resolve_item` of each. The refusal names it by its number."""
    for number, values in enumerate(items, 1):
        try:
            resolve_item(step, deployment, fixed, values, by)
        except Forbidden as forbidden:
            sentence = f"Step {step.key}, run {number}: {forbidden.message}"
            raise Forbidden(replace(forbidden.decision, sentence=sentence)) from forbidden


def resolve_item(
    step: Step, deployment: Deployment, fixed: Mapping[str, Any], values: Mapping[str, Any], by: Permissions
) -> dict[str, Any]:
    """Return the parameters of one run of a step, with those that it brings; refuse one that could not start.

    Without the parameters that have their values from artifacts: they are checked when they come. Raises
    `flows.parameters.Invalid`, `Forbidden` or `Refused` for one that would delete data.
    """
    schema = schemas.without(deployment.parameter_schema, step.from_artifacts)
    defaults = {name: each for name, each in deployment.parameter_defaults.items() if name not in step.from_artifacts}
    found = schemas.validate(schema, {**fixed, **values}, defaults=defaults)
    for verb in needed(step):
        by.require(verb, deployment, found)
    require_harmless(step, deployment, found)
    return found


def needed(step: Step) -> tuple[Verb, ...]:
    """Return the verbs that a run of a step needs."""
    return (Verb.TRIGGER, Verb.BACKFILL) if step.over else (Verb.TRIGGER,)


def require_harmless(step: Step, deployment: Deployment, values: Mapping[str, Any]) -> None:
    """Refuse a run that deletes data, because it has to be confirmed by itself."""
    if is_destructive(deployment, values):
        raise Refused(
            "chain.destructive",
            f"Step {step.key}: {deployment} deletes data, which is confirmed for each run. Run it by itself.",
            step=step.key,
        )


# While it runs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Items:
    """The runs of one step: the values of each, and the latest attempt of those that started, by number from 1."""

    over: Over
    values: Sequence[Mapping[str, Any]]
    latest: Mapping[int, RunRequest]
    outcomes: Mapping[int, Outcome]

    @property
    def completed(self) -> int:
        return sum(outcome == Outcome.COMPLETED for outcome in self.outcomes.values())

    @property
    def failed(self) -> list[int]:
        return [number for number, outcome in self.outcomes.items() if outcome == Outcome.FAILED]

    @property
    def outcome(self) -> Outcome:
        """Where the step is: over when no run is open and none follows."""
        if Outcome.RUNNING in self.outcomes.values() or (len(self.outcomes) < len(self.values) and not self.is_stopped):
            return Outcome.RUNNING
        return Outcome.FAILED if self.failed else Outcome.COMPLETED

    @property
    def is_stopped(self) -> bool:
        """Whether no further run starts: one failed, or a person rejected the first."""
        is_rejected = FIRST in self.latest and self.latest[FIRST].state == State.REJECTED
        return is_rejected or (bool(self.failed) and not self.over.goes_on)

    @property
    def shown(self) -> RunRequest:
        """The run request that stands for the step: one that a person must decide about, else one that failed."""
        rank = {Outcome.FAILED: 1, Outcome.RUNNING: 2, Outcome.COMPLETED: 3}
        first = min(
            self.latest,
            key=lambda number: (self.latest[number].state != State.HELD, rank[self.outcomes[number]], number),
        )
        return self.latest[first]

    def next(self, step: Step) -> list[tuple[int, RunRequest | None]]:
        """Return the runs to start now, each with its attempt before: those that start again first.

        Of a step with a gate the first run waits there alone: one decision is for the step.
        """
        again = [number for number, row in self.latest.items() if will_start_again(step, row)]
        at_work = sum(outcome == Outcome.RUNNING for outcome in self.outcomes.values()) - len(again)
        fresh = [] if self.is_stopped else [each for each in range(1, len(self.values) + 1) if each not in self.latest]
        if step.gate and not self.is_past_gate:
            fresh = [] if self.latest else fresh[:1]
        room = max(self.over.at_once - at_work, 0)
        return [(number, self.latest.get(number)) for number in [*again, *fresh][:room]]

    @property
    def is_past_gate(self) -> bool:
        return FIRST in self.latest and self.latest[FIRST].state not in (State.HELD, State.REJECTED)


def items_of(step: Step, spec: RunSpec, attempts: Iterable[RunRequest]) -> Items | None:
    """Return the runs of a step that is a backfill, from all its attempts, the earlier ones first."""
    if step.over is None:
        return None
    latest = {item_of(each): each for each in attempts}
    found = dict(sorted(latest.items()))
    outcomes = {number: outcome_of(step, row) for number, row in found.items()}
    values = combinations({name: spec.mapped[name]["enum"] for name in step.over.names})
    return Items(step.over, values, found, outcomes)
