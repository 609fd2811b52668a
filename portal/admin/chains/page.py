"""Context of the page of a chain: its graph and steps, its versions, and its last runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from flows import parameters as schemas
from flows.models import Deployment
from portal.auth.request_user import permissions_of
from portal.ui import chain_labels, step_graph
from portal.ui.text import json_text
from runs.access.decisions import Permissions
from runs.automation import chain_definition, chains
from runs.automation.chain_checks import require_startable
from runs.automation.chain_definition import Definition, Step
from runs.errors import Refused
from runs.models import Chain, ChainStep, ChangeRequest, Verb
from runs.phases import Phase, phase_of, with_phases

VERSIONS, RUNS = 20, 10


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step as the table shows it."""

    step: Step
    deployment: Deployment
    after: list[str]
    sources: list[tuple[str, str]]
    marks: list[str]


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run of the chain."""

    change: ChangeRequest
    version: int
    inputs: str
    badge: Phase


def context(request: HttpRequest, chain: Chain) -> dict[str, Any]:
    """Build the template context; select the environment with the chain."""
    permissions = permissions_of(request)
    version = chain.versions.get(number=chain.number)
    definition = chain_definition.read(version.definition)
    steps = chains.current_steps(chain)
    may = may_run(permissions, steps)
    sees = sees_constants(permissions, steps)
    return {
        "chain": chain,
        "version": version,
        "badge": chain_labels.state_badge(chain),
        "graph": graph_of(chain, definition),
        "rows": rows(definition, steps, sees=sees),
        "inputs": [
            (name, about.get("description", ""), json_text(about["default"]) if sees and "default" in about else "")
            for name, about in definition.inputs.items()
        ],
        "versions": chain.versions.order_by("-number")[:VERSIONS],
        "runs": runs_of(chain, permissions),
        "may_run": may,
        "obstacle": obstacle(chain),
        "may_change": may and sees,
        "may_switch": may,
        # With the constants: for those who may view parameters.
        "json": json.dumps(version.definition, indent=2, ensure_ascii=False) if sees else "",
    }


def obstacle(chain: Chain) -> Refused | None:
    """Return why the chain cannot be run by anybody; select its owner with it."""
    try:
        require_startable(chain)
    except Refused as refusal:
        return refusal
    return None


def may_run(permissions: Permissions, steps: Any) -> bool:
    """Return whether the reader could run every step, with some values: what defining and running need alike."""
    return all(permissions.decide(Verb.TRIGGER, each.deployment).allowed for each in steps)


def sees_constants(permissions: Permissions, steps: Any) -> bool:
    return all(permissions.decide(Verb.SEE_INPUTS, each.deployment).allowed for each in steps)


def may_change(permissions: Permissions, steps: Any) -> bool:
    """Return whether the form is shown, which has the constants of every step."""
    return may_run(permissions, steps) and sees_constants(permissions, steps)


def graph_of(chain: Chain, definition: Definition) -> SafeString:
    found: SafeString = chain_labels.graph(f"Steps of {chain.name}", definition)
    return found


def rows(definition: Definition, steps: Any, *, sees: bool) -> list[StepRow]:
    found: dict[str, ChainStep] = {each.key: each for each in steps}
    return [
        StepRow(
            step,
            found[step.key].deployment,
            [chain_labels.edge_sentence(edge) for edge in step.after],
            chain_labels.sources(step, dict.fromkeys(public(found[step.key].deployment)) if sees else {}),
            [*chain_labels.marks(step), *chain_labels.profile_marks(step)],
        )
        for step in definition.steps
    ]


def public(deployment: Deployment) -> list[str]:
    """Return the parameters whose constants are shown: one can have become secret since the version was saved."""
    return schemas.public_parameters(deployment.parameter_schema)


def runs_of(chain: Chain, permissions: Permissions) -> list[RunRow]:
    """Return the last runs of the chain that the reader sees."""
    found = with_phases(chains.runs_of(chain, permissions))[:RUNS]
    return [run_row(change, permissions) for change in found]


def run_row(change: ChangeRequest, permissions: Permissions) -> RunRow:
    number, inputs = change.chain_run.version.number, inputs_text(change, permissions)
    return RunRow(change, number, inputs, phase_of(change))


def inputs_text(change: ChangeRequest, permissions: Permissions) -> str:
    """Return the inputs in one line; empty for people who cannot view the parameters everywhere."""
    if not chains.sees_inputs(change, permissions):
        return ""
    return ", ".join(f"{name} = {step_value(value)}" for name, value in change.chain_run.inputs.items())


def step_value(value: Any) -> str:
    return step_graph.short(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def address(chain: Chain) -> str:
    return reverse("admin:runs_chain_change", args=[chain.pk])
