"""Runs and requests in any number, without a Prefect that has them."""

import uuid
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment
from runs import mirror
from runs.models import ChangeRequest, Run, RunRequest, RunSpec


def many_runs(deployment: Deployment, number: int, **columns: Any) -> list[Run]:
    now = timezone.now()
    plain = {"state_type": "COMPLETED", "synced_at": now, "detailed_at": now, "parameters": {"month": "2026-01"}}
    made = Run.objects.bulk_create(
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
    mirror.rebuild_counts(deployment.environment)
    return made


def many_requests(
    deployment: Deployment,
    requester: User,
    number: int,
    policy: dict[str, Any] | None = None,
    kind: ChangeRequest.Kind = ChangeRequest.Kind.RUN,
    **columns: Any,
) -> list[RunRequest]:
    """Waiting ones, `columns` of their run requests; a change request and its run request share a number."""
    changes = ChangeRequest.objects.bulk_create(
        ChangeRequest(
            kind=kind,
            environment=deployment.environment,
            environment_name=deployment.environment.slug,
            requested_by=requester,
            requested_by_name=requester.get_username(),
            channel="admin",
            needs_approval=True,
            policy=policy or {},
            digest="0" * 64,
            state=ChangeRequest.State.WAITING,
            expires_at=timezone.now() + timedelta(hours=1),
        )
        for _ in range(number)
    )
    specs = RunSpec.objects.bulk_create(
        RunSpec(
            change=change,
            deployment=deployment,
            api_url=deployment.environment.server.api_url.rstrip("/"),
            flow_name=deployment.flow_name,
            deployment_name=deployment.full_name,
            deployment_prefect_id=deployment.prefect_id,
            deployment_version=deployment.version,
            schema_fingerprint=deployment.schema_fingerprint,
            definition=deployment.definition,
            definition_fingerprint=deployment.definition_fingerprint,
            parameters={"month": "2026-01"},
        )
        for change in changes
    )
    return RunRequest.objects.bulk_create(
        RunRequest(
            pk=spec.change_id,
            change=spec.change,
            spec=spec,
            environment=deployment.environment,
            deployment=deployment,
            state=RunRequest.State.HELD,
            **columns,
        )
        for spec in specs
    )
