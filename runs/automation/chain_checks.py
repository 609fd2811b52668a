"""What a chain must have to be run, and its deployments when it is saved, and which they are when it is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from flows import parameters as schemas
from flows.models import Deployment, Environment
from flows.wording import deployment_name
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation.chain_definition import Definition, Step
from runs.automation.chain_items import combinations, needed, require_harmless, values_over
from runs.errors import Refused
from runs.models import Chain
from runs.requests import profile_rules


def require_startable(chain: Chain) -> None:
    """Refuse a chain that is disabled, has ended, or whose owner is disabled. Runs that were requested go on."""
    if not chain.is_enabled:
        raise Refused("chain.disabled", f"{chain} is disabled. Enable it to run it.")
    if chain.valid_until <= timezone.now():
        until = timezone.localtime(chain.valid_until)
        raise Refused("chain.ended", f"{chain} ended on {until:%d %b %Y, %H:%M}. Save it with a later end to run it.")
    if not chain.owner.is_active:
        raise Refused(
            "chain.owner_inactive",
            f"The owner of {chain}, {chain.owner}, is disabled. Another person can save it, and become its owner.",
        )


def deployments_of(definition: Definition, environment: Environment) -> dict[str, Deployment]:
    """Return the deployment of each step, as it is deployed now; raises `Refused` with code `chain.deployment`."""
    names = {step.deployment for step in definition.steps}
    found = Deployment.objects.filter(environment=environment, full_name__in=names, deleted_upstream_at=None)
    by_name = {each.full_name: each for each in found.select_related("environment__server").order_by("pk")}
    return {step.key: require_known(step, by_name, environment) for step in definition.steps}


def require_known(step: Step, by_name: Mapping[str, Deployment], environment: Environment) -> Deployment:
    if step.deployment not in by_name:
        raise Refused(
            "chain.deployment",
            f"Step {step.key}: {deployment_name(step.deployment)} is not deployed in {environment}, or you cannot see "
            "it.",
            step=step.key,
        )
    return by_name[step.deployment]


def require_runnable(
    definition: Definition, environment: Environment, permissions: Permissions, by: Actor
) -> dict[str, Deployment]:
    """Return the deployment of each step; refuse those the person cannot run, and parameters that do not fit.

    A resource profile that the person cannot choose is refused too.
    """
    names = {step.deployment for step in definition.steps}
    seen = permissions.deployments().filter(environment=environment, full_name__in=names, deleted_upstream_at=None)
    by_name = {each.full_name: each for each in seen.order_by("pk")}
    found = {}
    for step in definition.steps:
        # One that is hidden looks like one that is missing.
        found[step.key] = deployment = require_known(step, by_name, environment)
        require_verbs(step, deployment, permissions)
        require_parameters(step, deployment)
        frozen_profile(step, deployment, step.profile, by)
    return found


def require_verbs(step: Step, deployment: Deployment, permissions: Permissions) -> None:
    """Refuse people who can run a step with no values at all."""
    for verb in needed(step):
        permissions.require(verb, deployment)


def frozen_profile(step: Step, deployment: Deployment, name: str, by: Actor) -> dict[str, Any]:
    """Return what a step freezes of a resource profile, empty without one; the refusal of one names the step."""
    if not name:
        return {}
    try:
        return profile_rules.frozen(deployment, name, by)
    except Refused as refusal:
        raise Refused(refusal.code, f"Step {step.key}: {refusal.message}", **refusal.data, step=step.key) from refusal


def require_parameters(step: Step, deployment: Deployment) -> None:
    """Refuse unknown, missing, secret and invalid parameters of one step, and one that deletes data."""
    schema: dict[str, Any] = deployment.parameter_schema
    properties = schema.get("properties") or {}
    public = schemas.public_parameters(schema)
    for name in step.parameters:
        if name not in properties:
            raise Refused(
                "chain.parameter_unknown", f"Step {step.key}: {deployment} has no parameter {name}.", step=step.key
            )
        if name not in public and "input" not in step.parameters[name]:
            # What is stored here is displayed, and artifacts are not encrypted.
            raise Refused("chain.secret", f"Step {step.key}: {name} is secret: it can only be an input.", step=step.key)
    for name in schema.get("required") or ():
        if name not in step.parameters and name not in deployment.parameter_defaults:
            raise Refused(
                "chain.parameter_required", f"Step {step.key}: {deployment} needs a value for {name}.", step=step.key
            )
    runs = [step.constants]
    if step.over:
        known = [each for each in step.over.varied if not each.input]
        runs = [{**step.constants, **each} for each in combinations(values_over(step, deployment, known, {}))]
    for constants in runs:
        others = [name for name in properties if name not in constants]
        try:
            found = schemas.validate(schemas.without(schema, others), constants, defaults={})
        except schemas.Invalid as invalid:
            raise Refused("chain.parameter_invalid", f"Step {step.key}: {invalid}", step=step.key) from invalid
        require_harmless(step, deployment, {**deployment.parameter_defaults, **found})
