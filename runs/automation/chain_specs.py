"""What a run of a chain would be: of each step its deployment, values, items and resource profile.

It is worked out for a plan and for a request alike, so that what is displayed is what is submitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows import canonical
from flows import parameters as schemas
from flows.models import Deployment
from runs.access import predicates
from runs.access.decisions import Permissions, Target, covers
from runs.actors import Actor
from runs.automation import chain_definition
from runs.automation.chain_checks import deployments_of, frozen_profile, require_startable, require_verbs
from runs.automation.chain_definition import Definition, Step
from runs.automation.chain_items import combinations, schema_of, values_over
from runs.errors import Refused
from runs.models import Chain, ChainVersion, Verb
from runs.models.chain import MOST_ATTEMPTS
from runs.requests import MOST_ITEMS, Spec


@dataclass(frozen=True, slots=True)
class StepOutline:
    """What one step would run. `fixed` holds secrets; `lists` has the values over which it runs, by parameter.

    `profile` is what is frozen of its resource profile, empty without one.
    """

    step: Step
    deployment: Deployment
    fixed: Mapping[str, Any] = field(repr=False)
    lists: Mapping[str, Sequence[Any]]
    profile: Mapping[str, Any]

    @property
    def items(self) -> list[dict[str, Any]]:
        """What each of its runs brings; of a step that is no backfill it is one run that brings nothing."""
        return combinations(self.lists)

    @property
    def spec(self) -> Spec:
        """Return what it runs: constants and inputs are fixed now, values of artifacts come with each attempt.

        Of a step that is a backfill the values are fixed now too: each run brings one of those that were approved.
        """
        mapped = {
            name: approved_schema(self.deployment, name, source) for name, source in self.step.from_artifacts.items()
        }
        mapped |= {name: schema_of(values) for name, values in self.lists.items()}
        most = MOST_ATTEMPTS * len(self.items)
        return Spec(self.deployment, self.fixed, mapped=mapped, max_runs=most, profile=self.profile.get("name", ""))


@dataclass(frozen=True, slots=True)
class RunOutline:
    """A run of a chain as it would be requested; `given` are its inputs, secret ones included."""

    version: ChainVersion
    definition: Definition
    by_key: Mapping[str, Deployment]
    given: Mapping[str, Any] = field(repr=False)
    steps: Sequence[StepOutline]

    @property
    def runs(self) -> int:
        return sum(len(each.items) for each in self.steps)

    @property
    def digest(self) -> str:
        """Return the SHA-256 over what a plan displays; neither fixed values nor secrets are in it."""
        steps = [
            {
                "deployment": each.deployment.prefect_id,
                "definition": each.deployment.definition_fingerprint,
                "schema": each.deployment.schema_fingerprint,
                "over": each.lists,
                "profile": each.profile,
            }
            for each in self.steps
        ]
        return canonical.digest({"version": self.version.digest, "steps": steps})

    @property
    def public_inputs(self) -> dict[str, Any]:
        """Return the inputs that no secret parameter has its value from."""
        secret = {
            of
            for step in self.definition.steps
            for name, of in step.input_names.items()
            if name not in schemas.public_parameters(self.by_key[step.key].parameter_schema)
        }
        return {name: value for name, value in self.given.items() if name not in secret}


def outline(chain: Chain, inputs: Mapping[str, Any], profiles: Mapping[str, str], *, by: Actor) -> RunOutline:
    """Return what a run of the chain would be now. `profiles` are those that were chosen, by step.

    Raises `Forbidden` without permission to run each step with some values, and `Refused`. What plans or submits it
    checks the values.
    """
    require_startable(chain)
    version = chain.versions.select_related("chain__environment").get(number=chain.number)
    definition = chain_definition.read(version.definition)
    by_key, permissions = deployments_of(definition, chain.environment), Permissions.of(by)
    # The permission first: without it nothing else is revealed.
    for step in definition.steps:
        require_verbs(step, by_key[step.key], permissions)
    require_checkable(definition, by_key, by)
    given = with_defaults(definition, inputs)
    names = profile_names(definition, profiles)
    steps = [outline_step(step, by_key[step.key], given, names[step.key], by) for step in definition.steps]
    found = RunOutline(version, definition, by_key, given, steps)
    if found.runs > MOST_ITEMS:
        raise Refused(
            "chain.over_values",
            f"The chain would have {found.runs} runs. At most {MOST_ITEMS} are possible in one request: split it.",
            limit=MOST_ITEMS,
        )
    return found


def outline_step(step: Step, deployment: Deployment, given: Mapping[str, Any], profile: str, by: Actor) -> StepOutline:
    # An input without a value is left to the default of the parameter.
    inputs = {name: given[of] for name, of in step.input_names.items() if of in given}
    lists = values_over(step, deployment, step.over.varied, given) if step.over else {}
    return StepOutline(
        step, deployment, {**step.constants, **inputs}, lists, frozen_profile(step, deployment, profile, by)
    )


def with_defaults(definition: Definition, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs with the defaults of those that are not given; refuse one that there is none of."""
    if unknown := sorted(set(inputs) - set(definition.inputs)):
        known = ", ".join(definition.inputs) or "none"
        raise Refused("chain.inputs", f"The chain has no input {unknown[0]}. Its inputs are: {known}.", inputs=unknown)
    defaults = {name: about["default"] for name, about in definition.inputs.items() if "default" in about}
    return {**defaults, **inputs}


def profile_names(definition: Definition, chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the resource profile of each step by name; refuse one for a step whose profile cannot be chosen."""
    free = [step.key for step in definition.steps if step.chooses_profile]
    if unknown := sorted(set(chosen) - set(free)):
        raise Refused(
            "chain.profile_fixed",
            f"The resource profile of step {unknown[0]} cannot be chosen. It can be for: {', '.join(free) or 'none'}.",
            steps=unknown,
        )
    return {step.key: chosen.get(step.key, step.profile) for step in definition.steps}


def approved_schema(deployment: Deployment, name: str, source: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a value of an artifact must meet: what the chain says, else what of the parameter can be checked."""
    if "schema" in source:
        return dict(source["schema"])
    node = deployment.parameter_schema.get("properties", {}).get(name, {})
    found = {
        keyword: value for keyword, value in node.items() if keyword in predicates.KEYWORDS - {"title", "description"}
    }
    return {} if predicates.problems({"properties": {name: found}}) else found


def require_checkable(definition: Definition, by_key: Mapping[str, Deployment], by: Actor) -> None:
    """Refuse an agent a step whose values come later, if its scopes limit them.

    Nobody could check them then: a launch is checked with the grants of the owner, which can be wider. Those over which
    a step runs are fixed in the request, and each of them is checked with it.
    """
    if by.agent is None:
        return
    for step in definition.steps:
        target = Target.of(by_key[step.key])
        if step.from_artifacts and not any(
            Verb.TRIGGER in each.verbs and not each.predicate and covers(each, target) for each in by.scope or ()
        ):
            raise Refused(
                "chain.agent_values",
                f"Step {step.key} has values from artifacts, and the agent may run it with certain values only. A "
                "person can request the chain.",
                step=step.key,
            )
