"""Where acts race: one request after the other, the people around it, and a Prefect that counts."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from flows import definition
from flows.catalog import definition_reader
from flows.models import Deployment, Environment, Server
from flows.prefect_api.records import JSON, Credential, DeploymentRecord, FlowRunRecord, StateRecord
from runs import changes, dispatch, requests
from runs.actors import Actor, Channel
from runs.definitions import launch_check
from runs.models import Approval, AuditEntry, ChangeRequest, Freeze, Grant, Policy, QueuedTask, RunRequest

VALUES = {"month": "2026-10"}
SCHEMA: dict[str, JSON] = {"type": "object", "properties": {"month": {"type": "string"}}, "required": ["month"]}
FINGERPRINT = "f" * 64


class Counting:
    """A Prefect that keeps one run for a key, and counts what it was asked to create."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        self.creates: Counter[str] = Counter()
        self.runs: dict[str, FlowRunRecord] = {}
        self.sent_again: set[str] = set()
        self.before_answer: Callable[[str], None] = lambda key: None
        self.version = "1"

    def deployment(self, deployment_id: uuid.UUID) -> DeploymentRecord:
        return deployment_of(deployment_id, self.version)

    def create_flow_run(
        self,
        deployment_id: uuid.UUID,
        *,
        parameters: Mapping[str, JSON],
        idempotency_key: str,
        name: str | None,
        tags: Sequence[str],
        scheduled_for: datetime | None,
        job_variables: Mapping[str, JSON],
        work_queue_name: str,
    ) -> FlowRunRecord:
        with self.lock:
            self.creates[idempotency_key] += 1
            record = self.runs.setdefault(idempotency_key, run_of(deployment_id, parameters, idempotency_key))
        self.before_answer(idempotency_key)
        return record


def run_of(deployment_id: uuid.UUID, parameters: Mapping[str, JSON], key: str) -> FlowRunRecord:
    now = datetime.now(UTC)
    return FlowRunRecord(
        id=uuid.uuid4(),
        name="raced",
        flow_id=uuid.uuid4(),
        deployment_id=deployment_id,
        deployment_version="1",
        parameters=dict(parameters),
        tags=(),
        state=StateRecord(uuid.uuid4(), "SCHEDULED", "Scheduled", "", now),
        idempotency_key=key,
        parent_task_run_id=None,
        run_count=0,
        expected_start_at=now,
        planned_for=None,
        started_at=None,
        ended_at=None,
        total_run_seconds=0,
        work_pool_name="",
        work_queue_name="",
        infrastructure_pid="",
        created_at=now,
        updated_at=now,
        auto_scheduled=False,
    )


def deployment_of(deployment_id: uuid.UUID, version: str) -> DeploymentRecord:
    return DeploymentRecord(
        id=deployment_id,
        flow_id=uuid.uuid4(),
        flow_name="etl",
        name="nightly",
        description="",
        tags=(),
        parameter_schema=SCHEMA,
        parameter_defaults={},
        enforces_schema=True,
        schedules=(),
        is_paused=False,
        work_pool_name="",
        work_queue_name="",
        status="READY",
        concurrency_limit=None,
        version=version,
        entrypoint="etl.py:flow",
        path="",
        pull_steps=(),
        storage_document_id=None,
        infrastructure_document_id=None,
        job_variables={},
        created_at=None,
        updated_at=None,
    )


prefect = Counting()


def connect(api_url: str, credential: Credential) -> Counting:
    """What `settings.PREFECT_CLIENT` names while it races."""
    return prefect


class Broken(Exception):
    """Something that must always hold did not."""


def holds(sentence: str, truth: object) -> None:
    if not truth:
        raise Broken(sentence)


@dataclass
class Track:
    """Who races over what: prod, where one other must approve, and people who may all approve."""

    prod: Environment
    deployment: Deployment
    requester: User
    approvers: list[User]
    dice: random.Random
    outcomes: Counter[str] = field(default_factory=Counter)

    @classmethod
    def lay(cls, seed: int) -> Track:
        server = Server.objects.create(api_url="http://prod.race/api")
        prod = Environment.objects.create(slug="prod", server=server, is_protected=True, needs_approval=True)
        # A superuser who holds every verb: if the requester could approve at all, this one could.
        requester = User.objects.create(username="requester", is_superuser=True)
        approvers = [User.objects.create(username=f"approver-{number}") for number in range(3)]
        verbs = ["see", "trigger", "cancel", "approve", "break glass", "manage"]
        for each in (requester, *approvers):
            Grant.objects.create(person=each, verbs=verbs, environment=prod, granted_by_name="race")
        prefect_id = uuid.uuid4()
        described = definition_reader.describe(prod, deployment_of(prefect_id, "1"), {})
        deployment = Deployment.objects.create(
            environment=prod,
            prefect_id=prefect_id,
            flow_id=uuid.uuid4(),
            flow_name="etl",
            name="nightly",
            full_name="etl/nightly",
            version="1",
            parameter_schema=SCHEMA,
            schema_fingerprint=FINGERPRINT,
            definition=described,
            definition_fingerprint=definition.fingerprint(described),
            synced_at=timezone.now(),
        )
        return cls(prod, deployment, requester, approvers, random.Random(seed))

    def ask(self, **columns: Any) -> RunRequest:
        run_request = requests.submit(self.deployment, VALUES, by=by(self.requester), **columns)
        return RunRequest.objects.get(pk=run_request.pk)

    def as_laid(self) -> None:
        """Undo what a round did to the place."""
        Deployment.objects.filter(pk=self.deployment.pk).update(schema_fingerprint=FINGERPRINT)
        deploy("1")
        Grant.objects.update(revoked_at=None)
        Policy.objects.all().delete()
        Freeze.objects.update(lifted_at=timezone.now())
        QueuedTask.objects.all().delete()


def deploy(version: str) -> None:
    """Change the version in Prefect; no later launch shares a reading of the one before."""
    prefect.version = version
    launch_check.READINGS.clear()


def by(user: User) -> Actor:
    return Actor.person(user, channel=Channel.COMMAND)


def fresh(run_request: RunRequest) -> RunRequest:
    """The row as another process would have loaded it."""
    return RunRequest.objects.get(pk=run_request.pk)


def fresh_change(run_request: RunRequest) -> ChangeRequest:
    return ChangeRequest.objects.get(pk=run_request.change_id)


def approvals(run_request: RunRequest) -> int:
    return Approval.objects.filter(change=run_request.change_id, approved=True).count()


def queued(run_request: RunRequest) -> int:
    return QueuedTask.objects.filter(task="runs.tasks.launch", args=f"[{run_request.pk}]").count()


def entries(verb: str, run_request: RunRequest, outcome: str = "done") -> int:
    found = AuditEntry.objects.filter(verb=verb, subject_kind="runrequest", subject_id=str(run_request.pk))
    return found.filter(outcome=outcome).count()


Act = Callable[[], object]
Round = Iterator[tuple[Act, ...]]


def approve(run_request: RunRequest, user: User) -> Act:
    return lambda: changes.approve(fresh_change(run_request), by=by(user))


def launch(run_request: RunRequest) -> Act:
    return lambda: dispatch.launch(fresh(run_request))


def created(run_request: RunRequest) -> int:
    return prefect.creates[run_request.idempotency_key]
