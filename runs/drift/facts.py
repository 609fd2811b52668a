"""What of a deployment is compared between environments, as plain values. No database.

Hashes in a definition have a key for each environment, so its fingerprint is not comparable, and neither are its job
variables and default parameters. They are compared here by what of them may be displayed. Secrets are not compared:
otherwise a person who deploys to dev could try values until one is the same as in prod.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from flows import canonical, definition, parameters
from flows.models import Deployment
from runs.models import Drift

Kind = Drift.Kind
# Raise it when a value below gets another meaning: every pair is then compared again.
FORMAT = 1
# kind -> what it compares, in JSON
type Values = dict[Kind, Any]


def values_of(
    deployment: Deployment, schedules: Sequence[Mapping[str, str]] = (), secrets: Collection[str] = ()
) -> Values:
    """Return what is compared.

    `schedules` are the portal's own, `secrets` the JSON pointers of parameters that are secret in other environments.
    """
    defined = deployment.definition
    return {
        Kind.VERSION: deployment.version,
        Kind.CODE: {
            "entrypoint": deployment.entrypoint,
            "path": defined.get("path", ""),
            "pull steps": definition.without_hashes(defined.get("pull_steps", [])),
        },
        Kind.SCHEMA: {"is enforced": deployment.enforces_schema, "schema": schema_of(deployment)},
        Kind.DEFAULTS: parameters.mask(deployment.parameter_schema, deployment.parameter_defaults, secrets),
        Kind.JOB_VARIABLES: deployment.job_variables,
        Kind.WORK_POOL: {"work pool": deployment.work_pool_name, "work queue": deployment.work_queue_name},
        Kind.SCHEDULES: {
            "is paused": deployment.is_paused,
            # In Prefect they have no order.
            "schedules": sorted(map(spell, deployment.schedules)),
        },
        Kind.PORTAL_SCHEDULES: sorted((dict(each) for each in schedules), key=canonical.text),
        Kind.LIMITS: {
            "concurrency limit": deployment.concurrency_limit,
            "beyond it": deployment.collision_strategy,
            "shared limit": deployment.shared_limit,
        },
        Kind.TAGS: sorted(deployment.tags),
    }


def schema_of(deployment: Deployment, *, with_values: bool = True) -> Any:
    """Return the schema without sample values of secrets; of one that is nested too deeply, its fingerprint."""
    try:
        published = parameters.published(deployment.parameter_schema, with_values=with_values)
        # What cannot be written cannot be compared or displayed either.
        json.dumps(published)
        canonical.text(published)
    except RecursionError:
        return f"Nested too deeply to be displayed: {deployment.schema_fingerprint}"
    return published


def secrets_of(*deployments: Deployment) -> frozenset[str]:
    """Return the JSON pointers of the default parameters that are secret in any of these deployments."""
    masked = (parameters.mask(each.parameter_schema, each.parameter_defaults) for each in deployments)
    return frozenset().union(*map(parameters.masked_paths, masked))


def spell(schedule: Mapping[str, Any]) -> str:
    text = str(schedule.get("description", ""))
    return text if schedule.get("is_active", True) else f"{text}, inactive"


def differing(left: Values, right: Values) -> list[Kind]:
    """Return in what two deployments differ, in the order of `Kind`."""
    return [kind for kind in Kind if not canonical.same(left[kind], right[kind])]
