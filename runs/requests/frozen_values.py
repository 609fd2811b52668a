"""What a request locks at request time: the digest over it, and its values with the secret ones."""

from __future__ import annotations

import json
from typing import Any

from django.utils.crypto import salted_hmac

from flows import canonical, encryption
from flows import parameters as schemas
from runs.models import RunRequest

# The columns that the digest covers. Adding one changes the digest of every stored request: put it in FROZEN_LATER.
FROZEN = [
    "environment_name",
    "api_url",
    "flow_name",
    "deployment_name",
    "deployment_prefect_id",
    "deployment_version",
    "schema_fingerprint",
    "definition",
    "definition_fingerprint",
    "parameters",
    "scheduled_for",
    "tags",
    "run_name",
    "reason",
    "requested_by_name",
]
# Covered only when not empty, so that requests from before the column existed keep their digest.
FROZEN_LATER = ["ticket", "on_behalf_of_name", "verb", "policy", "approvals_needed", "rerun_of_id"]


def digest(run_request: RunRequest) -> str:
    """Return the SHA-256, in hexadecimal, over the locked fields.

    Secret values enter as a keyed hash: the digest is shown on pages, and short secrets could be guessed from it.
    """
    frozen = {name: getattr(run_request, name) for name in FROZEN}
    frozen |= {name: value for name in FROZEN_LATER if (value := getattr(run_request, name))}
    secret = run_request.sealed_parameters
    spelled = canonical.text(json.loads(encryption.unseal(secret))) if secret else ""
    frozen["secret"] = salted_hmac("runs.changes.digest", spelled, algorithm="sha256").hexdigest()
    return canonical.digest(frozen)


def values_of(run_request: RunRequest) -> dict[str, Any]:
    """Return the parameters of the run, secret ones included: never store, log or render them."""
    sealed = run_request.sealed_parameters
    return schemas.join(run_request.parameters, json.loads(encryption.unseal(sealed)) if sealed else {})


def secret_paths(run_request: RunRequest) -> frozenset[str]:
    """JSON pointers of the values that were secret when the request was submitted."""
    sealed = run_request.sealed_parameters
    return frozenset(json.loads(encryption.unseal(sealed))) if sealed else frozenset()
