"""Chains for tests: made, requested, and moved on as the background tasks and Prefect would."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.auth.models import User

from flows.catalog import sync
from flows.models import Deployment, Environment
from runs import consumers, mirror, tasks
from runs.automation import chains
from runs.automation.chain_progress import read_progress
from runs.models import Chain, ChangeRequest, QueuedTask, RunRequest
from tests.cast import SCHEMA, by
from tests.fakes.prefect import FakePrefect

ACTS: dict[str, Callable[..., None]] = {
    "runs.tasks.launch": tasks.launch,
    "runs.tasks.advance_chain": tasks.advance_chain,
    "runs.tasks.advance_changes": tasks.advance_changes,
    "runs.tasks.deliver_events": tasks.deliver_events,
    "runs.tasks.refresh": tasks.refresh,
    "runs.tasks.carry_out": tasks.carry_out,
}
MONTH = {"month": {"input": "month"}}


def step(key: str, *after: str | dict[str, Any], **more: Any) -> dict[str, Any]:
    """A step of a deployment of its own name; `after` are the steps that must have completed, or conditions."""
    edges = [{"step": each} if isinstance(each, str) else each for each in after]
    return {"key": key, "deployment": f"{key}/daily", "parameters": MONTH, "after": edges, **more}


def deploy(environment: Environment, fake: FakePrefect, *keys: str, **fields: Any) -> None:
    for key in keys:
        fake.add_deployment(flow_name=key, name="daily", **{"parameter_schema": SCHEMA, **fields})
    sync.sync(environment)
    # What a first reading finds is history, to which nothing reacts.
    mirror.sync(environment)


def make(environment: Environment, user: User, *steps: dict[str, Any], name: str = "Monthly close") -> Chain:
    return chains.save(environment, name, {"steps": list(steps)}, by=by(user)).chain


def new_chain(owner: User, deployment: Deployment, name: str = "load", **options: Any) -> Chain:
    """A chain of one step, which runs the deployment."""
    steps = [{"key": "load", "deployment": deployment.full_name, "parameters": MONTH}]
    return chains.save(deployment.environment, name, {"steps": steps}, by=by(owner), **options).chain


def go_on() -> None:
    """Run what is queued until nothing is."""
    consumers.deliver()
    while task := QueuedTask.objects.filter(task__in=ACTS).order_by("pk").first():
        task.delete()
        ACTS[task.task](*json.loads(task.args))


def where(change: ChangeRequest) -> dict[str, str]:
    """Where each step is."""
    change.refresh_from_db()
    return {key: outcome.value for key, outcome in read_progress(change).outcomes.items()}


def latest(change: ChangeRequest, key: str) -> RunRequest:
    return read_progress(change).latest[key]


def end(change: ChangeRequest, key: str, state: str, fake: FakePrefect, *artifacts: Mapping[str, Any]) -> None:
    """Let the run of a step end in Prefect, with artifacts, have it read, and go on."""
    run_request = latest(change, key)
    assert run_request.flow_run_id, f"{key} is {run_request.state}: {run_request.message}"
    for artifact in artifacts:
        fake.add_artifact(run_request.flow_run_id, **artifact)
    fake.set_state(run_request.flow_run_id, state)
    mirror.refresh(run_request.environment, [run_request.flow_run_id])
    go_on()
