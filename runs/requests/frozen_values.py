"""What a request locks at request time: the digests over it, and its values with the secret ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from flows import canonical, encryption
from flows import parameters as schemas
from runs.digests import change_digest, rules_digest, secret
from runs.models import ChainRun, ChangeRequest, RunRequest, RunSpec

# The columns of a spec that its digest covers, in the format `RunSpec.FORMAT`.
SPEC = [
    "format",
    "api_url",
    "flow_name",
    "deployment_name",
    "deployment_prefect_id",
    "deployment_version",
    "schema_fingerprint",
    "definition",
    "definition_fingerprint",
    "parameters",
    "mapped",
    "tags",
    "run_name",
    "max_runs",
    "valid_until",
    "retries",
    "profile",
    "verb",
    "rerun_of_id",
]


def spec_digest(spec: RunSpec) -> str:
    """Return the SHA-256, in hexadecimal, over what would run."""
    return canonical.digest({name: getattr(spec, name) for name in SPEC} | {"secret": secret(spec.sealed_parameters)})


def contents_digest(
    specs: Iterable[RunSpec], run_requests: Iterable[RunRequest], chain_run: ChainRun | None = None
) -> str:
    """Return the SHA-256, in hexadecimal, over the specs and the occurrences that are requested with them.

    Of a chain it covers the version too: the order of the steps, their conditions and gates are approved with them.
    """
    contents: dict[str, Any] = {
        "specs": [[spec.position, spec.digest] for spec in specs],
        "starts": [[each.spec.position, each.occurrence, each.scheduled_for] for each in run_requests],
    }
    if chain_run:
        version = chain_run.version
        contents["chain"] = [version.chain.name, version.number, canonical.digest(version.definition), chain_run.inputs]
    return canonical.digest(contents)


def is_intact(change: ChangeRequest) -> bool:
    """Return whether a change request, and all that is in it, are what was submitted."""
    if change.kind == ChangeRequest.Kind.RULES:
        return rules_digest(change.rule_change) == change.contents and change_digest(change) == change.digest
    specs = list(change.specs.order_by("position"))
    requested = change.run_requests.select_related("spec").order_by("spec__position", "occurrence")
    # What a schedule adds later is not part of the request: each is checked when it is released.
    first = requested if change.kind in ChangeRequest.FIXED else ()
    return (
        all(spec_digest(spec) == spec.digest for spec in specs)
        and contents_digest(specs, first, chain_run_of(change)) == change.contents
        and change_digest(change) == change.digest
    )


def chain_run_of(change: ChangeRequest) -> ChainRun | None:
    """Return the version and inputs of a run of a chain; None for every other change request."""
    if change.kind != ChangeRequest.Kind.CHAIN:
        return None
    return ChainRun.objects.select_related("version__chain").filter(change=change).first()


def spec_values(spec: RunSpec) -> dict[str, Any]:
    """Return the parameters of a spec, secret ones included and mapped ones left out: never store or render them."""
    sealed = spec.sealed_parameters
    return schemas.join(spec.parameters, json.loads(encryption.unseal(sealed)) if sealed else {})


def values_of(run_request: RunRequest) -> dict[str, Any]:
    """Return the parameters of the run, secret ones included: never store, log or render them."""
    return {**spec_values(run_request.spec), **run_request.mapped_values}


def secret_paths(run_request: RunRequest) -> frozenset[str]:
    """JSON pointers of the values that were secret when the request was submitted."""
    sealed = run_request.spec.sealed_parameters
    return frozenset(json.loads(encryption.unseal(sealed))) if sealed else frozenset()
