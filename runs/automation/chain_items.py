"""Steps of chains that are backfills: one run for each value of a parameter, so many at a time, counted as one step.

All values are fixed when the chain is requested: they are the schema of a mapped parameter of the step's spec, so its
digest, and with it the approval, is for exactly these. Each run is an occurrence with its number and its attempt as the
key, so that whatever is repeated after a kill finds what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows import parameters as schemas
from flows.models import Deployment
from runs.access import predicates
from runs.access.decisions import Permissions
from runs.automation.chain_definition import Over, Step
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


def values_over(step: Step, over: Over, deployment: Deployment, given: Any) -> list[Any]:
    """Return the values over which a step runs; raises `Refused` with code `backfill.…` or `chain.over_values`."""
    values = values_from(deployment.parameter_schema, over.parameter, given if isinstance(given, list) else str(given))
    fits = len(values) <= MOST_ITEMS and not predicates.problems({"properties": {over.parameter: schema_of(values)}})
    if not fits:
        raise Refused(
            "chain.over_values",
            f"Step {step.key} would have {len(values)} runs. At most {MOST_ITEMS} with short values are possible: "
            "split it.",
            step=step.key,
            limit=MOST_ITEMS,
        )
    return values


def schema_of(values: Sequence[Any]) -> dict[str, Any]:
    """Return what the parameter of each run must meet: to be one of these values."""
    return {"enum": list(values)}


def require_each(
    step: Step, over: Over, deployment: Deployment, fixed: Mapping[str, Any], values: Sequence[Any], by: Permissions
) -> None:
    """Validate each run of a step with its value, and refuse those that the person cannot start, or that delete data.

    Without the parameters that have their values from artifacts: they are checked when they come. Raises
    `flows.parameters.Invalid`, `Forbidden` or `Refused`.
    """
    for verb in (Verb.TRIGGER, Verb.BACKFILL):
        by.require(verb, deployment)
    schema = schemas.without(deployment.parameter_schema, step.from_artifacts)
    defaults = {name: each for name, each in deployment.parameter_defaults.items() if name not in step.from_artifacts}
    for value in values:
        found = schemas.validate(schema, {**fixed, over.parameter: value}, defaults=defaults)
        for verb in (Verb.TRIGGER, Verb.BACKFILL):
            by.require(verb, deployment, found)
        require_harmless(step, deployment, found)


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
    """The runs of one step: its values in order, and the latest attempt of those that started, by number from 1."""

    over: Over
    values: Sequence[Any]
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
    return Items(step.over, spec.mapped[step.over.parameter]["enum"], found, outcomes)
