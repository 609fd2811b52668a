"""A run of a chain as it is: which of its steps have started, and where each is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runs.actors import Actor
from runs.automation import chain_definition, chain_graph, chain_values
from runs.automation.chain_definition import Definition
from runs.automation.chain_graph import Edge, Outcome
from runs.automation.chain_items import Items, items_of
from runs.automation.chain_outcomes import outcome_of
from runs.changes.gates import attempt_of
from runs.models import ChainRun, ChangeRequest, RunRequest, RunSpec


@dataclass(frozen=True, slots=True)
class ChainProgress:
    """One run of a chain as it is: its steps, their specs, the latest attempt of those that started, where each is.

    `items` has the runs of the steps that are backfills; `latest` has the one of them that stands for the step.
    """

    change: ChangeRequest
    chain_run: ChainRun
    definition: Definition
    specs: Mapping[str, RunSpec]
    latest: Mapping[str, RunRequest]
    items: Mapping[str, Items]
    outcomes: Mapping[str, Outcome]

    def current(self, key: str) -> list[RunRequest]:
        """Return the latest attempt of each run of a step."""
        if key in self.items:
            return list(self.items[key].latest.values())
        return [self.latest[key]] if key in self.latest else []

    @property
    def states(self) -> list[str]:
        return [each.state for step in self.definition.steps for each in self.current(step.key)]

    @property
    def by(self) -> Actor:
        chain = self.chain_run.version.chain
        return Actor.chain(chain.pk, chain.name, on_behalf_of=self.change.requested_by_name)

    @property
    def failed(self) -> list[str]:
        """The steps from which it can be resumed."""
        return chain_graph.unhandled_failures(self.definition.nodes, self.outcomes)


def read_progress(change: ChangeRequest) -> ChainProgress:
    """Read a run of a chain; raises `ChainRun.DoesNotExist` for another change request."""
    chain_run = ChainRun.objects.select_related("version__chain__environment").get(change=change)
    # Both ways, so that what asks about a gate does not read it again.
    chain_run.change = change
    definition = chain_definition.read(chain_run.version.definition)
    specs = dict(
        zip(
            [step.key for step in definition.steps],
            change.specs.select_related("deployment__environment").order_by("position"),
            strict=True,
        )
    )
    keys = {spec.pk: key for key, spec in specs.items()}
    attempts: dict[str, list[RunRequest]] = {}
    found = change.run_requests.select_related("run").prefetch_related("step_decisions")
    for run_request in sorted(found, key=attempt_of):
        key = keys[run_request.spec_id]
        spec = specs[key]
        # Not read with each of them: their schemas are large, and a step can have hundreds of runs.
        run_request.spec, run_request.change, run_request.deployment = spec, change, spec.deployment
        run_request.environment = spec.deployment.environment
        attempts.setdefault(key, []).append(run_request)
    items = {
        step.key: of_step
        for step in definition.steps
        if (of_step := items_of(step, specs[step.key], attempts.get(step.key, ())))
    }
    latest = {key: items[key].shown if key in items else rows[-1] for key, rows in attempts.items()}
    return ChainProgress(change, chain_run, definition, specs, latest, items, outcomes_of(definition, latest, items))


def outcomes_of(
    definition: Definition, latest: Mapping[str, RunRequest], items: Mapping[str, Items]
) -> dict[str, Outcome]:
    def tested(edge: Edge) -> bool | None:
        run = latest[edge.before].run
        return None if run and not chain_values.is_read(run) else chain_values.equals(run, edge)

    steps = {step.key: step for step in definition.steps}
    known = {
        key: items[key].outcome if key in items else outcome_of(steps[key], run_request)
        for key, run_request in latest.items()
    }
    return chain_graph.outcomes(definition.nodes, known, tested)
