"""Runs and requests in any number, without a Prefect that has them."""

import uuid
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment
from runs.models import Run, RunRequest


def many_runs(deployment: Deployment, number: int, **columns: Any) -> list[Run]:
    now = timezone.now()
    plain = {"state_type": "COMPLETED", "synced_at": now, "detailed_at": now, "parameters": {"month": "2026-01"}}
    return Run.objects.bulk_create(
        Run(
            environment=deployment.environment,
            deployment=deployment,
            access_deployment=deployment,
            prefect_id=uuid.uuid4(),
            flow_name=deployment.flow_name,
            deployment_name=deployment.full_name,
            **plain | {"name": f"run-{index}", "created_upstream_at": now - timedelta(minutes=index)} | columns,
        )
        for index in range(number)
    )


def many_requests(deployment: Deployment, requester: User, number: int, **columns: Any) -> list[RunRequest]:
    """Waiting ones, each with a run when `runs` are given in columns of theirs."""
    plain = {"state": RunRequest.State.WAITING, "needs_approval": True, "parameters": {"month": "2026-01"}}
    return RunRequest.objects.bulk_create(
        RunRequest(
            environment=deployment.environment,
            deployment=deployment,
            environment_name=deployment.environment.slug,
            flow_name=deployment.flow_name,
            deployment_name=deployment.full_name,
            deployment_prefect_id=deployment.prefect_id,
            deployment_version=deployment.version,
            schema_fingerprint=deployment.schema_fingerprint,
            definition=deployment.definition,
            definition_fingerprint=deployment.definition_fingerprint,
            api_url=deployment.environment.api_url.rstrip("/"),
            digest="0" * 64,
            requested_by=requester,
            requested_by_name=requester.get_username(),
            channel="admin",
            expires_at=timezone.now() + timedelta(hours=1),
            **plain | columns,
        )
        for _ in range(number)
    )
