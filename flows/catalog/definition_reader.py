"""Reads the definition of a deployment from Prefect, with the template of its work pool."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.utils.crypto import salted_hmac

from flows import definition
from flows.definition import Definition
from flows.models import Environment
from flows.prefect_api import connect
from flows.prefect_api.client import PrefectClient
from flows.prefect_api.records import JSON, DeploymentRecord, NotFound


def read(environment: Environment, deployment_id: UUID) -> tuple[DeploymentRecord, Definition]:
    """Read one deployment and its definition now; raises `PrefectError` or `DecryptionError`."""
    client = connect.client_for(environment.server)
    record = client.deployment(deployment_id)
    return record, describe(environment, record, template_of(client, record.work_pool_name))


def describe(environment: Environment, record: DeploymentRecord, template: Mapping[str, JSON]) -> Definition:
    """Return the definition of a deployment of this environment."""
    # A key for each environment: with a common one, a person who deploys to dev could try values until their hash is
    # the one of a secret in prod.
    key = salted_hmac("flows.definition", str(environment.pk), algorithm="sha256").digest()
    return definition.describe(record, template, key=key)


def template_of(client: PrefectClient, work_pool: str) -> Mapping[str, JSON]:
    """Return the base job template of a work pool; empty without one."""
    try:
        return client.work_pool(work_pool).base_job_template if work_pool else {}
    except NotFound:
        return {}  # the pool was deleted, and the deployment still names it
