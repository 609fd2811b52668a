"""Compare the definition again when the run of an approved request starts.

The worker reads the deployment when it takes the run, and the run reads it when it begins: what is deployed between the
launch and then is what runs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from flows import canonical, definition
from flows.catalog import definition_reader
from flows.db_text import strip_control
from flows.encryption import DecryptionError
from flows.prefect_api.records import NotFound, PrefectError
from runs import audit, events, requests
from runs.access.decisions import Target
from runs.actors import Actor
from runs.change_feed import publish
from runs.definitions.launch_check import approved_spec
from runs.governance.requirements import requirements_for
from runs.models import Run, RunEvent, RunRequest, RunSpec

# Longer than reading a deployment takes: a lease that old belongs to a process that died.
LEASE = timedelta(seconds=30)
# When Prefect cannot be read, or the mirror has seen a run that the launch has not recorded yet.
RETRY_AFTER = timedelta(seconds=10)
DELETED = {"deployment": "deleted"}


def check_started(run_request: RunRequest) -> None:
    """Compare the definition that Prefect has now with the approved one; report a difference, and cancel by policy."""
    # 1. The lease, in one UPDATE: the task can be delivered twice.
    now = timezone.now()
    due = RunRequest.objects.filter(pk=run_request.pk, check_definition_at__lte=now)
    if not due.update(check_definition_at=now + LEASE):
        return
    run_request.refresh_from_db()
    held = RunRequest.objects.filter(pk=run_request.pk, check_definition_at=now + LEASE)
    # 2. Read it. Never a shared reading: it must be younger than the start.
    run = run_of(run_request)
    try:
        found = read(run_request) if run else None
    except (PrefectError, DecryptionError):
        found = None
    if run is None or found is None:
        held.update(check_definition_at=now + RETRY_AFTER)
        return
    # 3. Report first, then cancel: a process that dies in between is repeated, and reports nothing twice.
    approved = approved_spec(run_request)
    if definition.fingerprint(found) != approved.definition_fingerprint:
        report(run_request, approved, found)
        if requirements_for(Target.of(run_request.deployment)).cancel_moved:
            requests.cancel_automatically(run, reason="The deployment was changed in Prefect after the approval.")
    # Unless the run has started once more meanwhile.
    held.update(check_definition_at=None)


def run_of(run_request: RunRequest) -> Run | None:
    """Return the mirrored run; None as long as the launch has not recorded which one it is."""
    if run_request.flow_run_id is None:
        return None
    return Run.objects.filter(environment=run_request.environment_id, prefect_id=run_request.flow_run_id).first()


def read(run_request: RunRequest) -> dict[str, Any]:
    """Return the definition that Prefect has now; raises `PrefectError`."""
    try:
        found = definition_reader.read(run_request.environment, run_request.spec.deployment_prefect_id)[1]
    except NotFound:
        # Deleting a deployment after its run has started must not hide what it was.
        return DELETED
    return {**found}


def report(run_request: RunRequest, approved: RunSpec, found: dict[str, Any]) -> None:
    """Record once that another definition than the approved one was there when the run started, and raise the alarm."""
    # A person who deploys must not be able to prevent the report with a character that Postgres cannot store.
    found = strip_control(found)
    if canonical.same(found, run_request.moved_definition):
        return
    with audit.act("definition.moved", run_request, by=Actor.system(), ticket=run_request.change.ticket) as act:
        RunRequest.objects.filter(pk=run_request.pk).update(moved_definition=found)
        act.before, act.after = definition.difference(approved.definition, found)
        if found == DELETED:
            act.before, act.after = {}, DELETED
        events.record(RunEvent.Kind.DEFINITION_MOVED, run_request=run_request)
        publish("request", [run_request.pk])
