"""What would run, as a form, a preset, a command or a program asks for it, and how it is frozen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flows import canonical, definition, encryption
from flows import parameters as schemas
from flows.models import Deployment
from runs.access.decisions import Decision, Permissions
from runs.actors import Actor
from runs.errors import Refused
from runs.models import RunRequest, RunSpec, Verb
from runs.requests.frozen_values import spec_digest, values_of
from runs.requests.rules import (
    can_view_own,
    is_later,
    require_rerun_allowed,
    require_secrets_hidden,
    require_submittable,
    validate_run_text,
)

# More would be a loop that nobody looks at.
MOST_RETRIES = 10


@dataclass(frozen=True, slots=True)
class Spec:
    """What would run. A new option is added here, in `RunSpec`, and in the form.

    `mapped` are parameters that each occurrence brings: name -> JSON Schema that the value must meet. `max_runs` and
    `valid_until` limit the occurrences; None is no limit. `retries` are approved together with the run. `rerun_of` is
    the request that this one repeats.
    `profile` is the name of a resource profile, blank for none.
    `form_fingerprint` identifies the schema behind the form.
    """

    deployment: Deployment
    parameters: Mapping[str, Any]
    tags: Sequence[str] = ()
    run_name: str = ""
    rerun_of: RunRequest | None = None
    mapped: Mapping[str, Any] = field(default_factory=dict)
    max_runs: int | None = 1
    valid_until: datetime | None = None
    retries: int = 0
    profile: str = ""
    form_fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A spec as it is stored, with the values and the decision behind it; `values` hold secrets."""

    row: RunSpec
    values: dict[str, Any]
    decision: Decision

    @property
    def masked(self) -> dict[str, Any]:
        return schemas.mask(self.row.deployment.parameter_schema, self.values)


def verb_for(spec: Spec, scheduled_for: datetime | None, permissions: Permissions, by: Actor) -> Verb:
    """Return the verb that the request needs; raises `Forbidden` or `Refused` for a re-run that is not allowed."""
    verb = Verb.TRIGGER_LATER if is_later(scheduled_for) else Verb.TRIGGER
    if spec.rerun_of:
        require_rerun_allowed(spec.rerun_of, spec.deployment, permissions)
        # Requesters who may trigger need no `rerun` to repeat their own request.
        is_own = by.is_same_person_as(spec.rerun_of.change.requested_by_id)
        may_trigger = is_own and not permissions.decide(Verb.RERUN, spec.deployment)
        verb = Verb.RERUN if verb == Verb.TRIGGER and not may_trigger else verb
    return verb


def require_possible(spec: Spec, scheduled_for: datetime | None) -> None:
    """Refuse what depends neither on the values nor on the requester."""
    deployment = spec.deployment
    require_submittable(deployment, scheduled_for=scheduled_for)
    # A form that was open during a deploy: its fields may no longer be what the values mean.
    if spec.form_fingerprint and spec.form_fingerprint != deployment.schema_fingerprint:
        raise Refused(
            "form.stale",
            f"The parameters of {deployment} changed while the form was open. Check the values and submit again.",
        )
    validate_run_text(spec.run_name, spec.tags)
    if not 0 <= spec.retries <= MOST_RETRIES:
        raise Refused("retry.too_many", f"A run has at most {MOST_RETRIES} retries.", limit=MOST_RETRIES)


def freeze(
    spec: Spec,
    verb: Verb,
    permissions: Permissions,
    *,
    position: int = 0,
    profile: Mapping[str, Any] | None = None,
) -> Frozen:
    """Validate the values, require the permission for exactly these, and return the unsaved row with its digest.

    `profile` is what is frozen of the resource profile: `runs.requests.profile_rules`.
    """
    deployment = spec.deployment
    # 1. The values. What an occurrence brings is validated when it comes.
    schema = schemas.without(deployment.parameter_schema, spec.mapped) if spec.mapped else deployment.parameter_schema
    given, defaults = (
        {name: value for name, value in values.items() if name not in spec.mapped}
        for values in (spec.parameters, deployment.parameter_defaults)
    )
    values = schemas.validate(schema, given, defaults=defaults)
    if spec.rerun_of and verb == Verb.RERUN:
        is_same = canonical.same(values, values_of(spec.rerun_of)) and spec.profile == spec.rerun_of.spec.profile_name
        verb = verb if is_same else Verb.TRIGGER  # with other values or resources it is not the same run
    decision = permissions.require(verb, deployment, values)
    # 2. The row.
    public, secret = schemas.split(deployment.parameter_schema, values)
    if spec.rerun_of:
        require_secrets_hidden(spec.rerun_of, public)
    row = RunSpec(
        position=position,
        deployment=deployment,
        api_url=deployment.environment.server.api_url.rstrip("/"),
        flow_name=deployment.flow_name,
        deployment_name=deployment.full_name,
        deployment_prefect_id=deployment.prefect_id,
        deployment_version=deployment.version,
        schema_fingerprint=deployment.schema_fingerprint,
        definition=definition.with_profile(deployment.definition, profile or {}),
        definition_fingerprint=deployment.definition_fingerprint,
        parameters=public,
        sealed_parameters=encryption.seal(json.dumps(secret)) if secret else b"",
        mapped=dict(spec.mapped),
        tags=sorted({tag.strip() for tag in spec.tags if tag.strip()}),
        run_name=spec.run_name.strip(),
        max_runs=spec.max_runs,
        valid_until=spec.valid_until,
        retries=spec.retries,
        profile=dict(profile or {}),
        verb=verb,
        rerun_of=spec.rerun_of,
        is_blind=spec.rerun_of is not None and not can_view_own(permissions, spec.rerun_of),
    )
    # Over the columns as they are now: nothing may change one of them afterwards.
    row.digest = spec_digest(row)
    return Frozen(row, values, decision)
