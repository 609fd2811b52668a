"""Create flow runs of one backfill in one call to Prefect: each with the checks, the key and the lease of a single one.

What Prefect answers of a run is believed only when the run was read back, and is the one that was sent. Everything else
is sent singly with the same key, by `launch`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, prefetch_related_objects
from django.db.models.functions import Mod
from django.utils import timezone

from flows.catalog import health
from flows.prefect_api import connect
from flows.prefect_api.client import PrefectClient
from flows.prefect_api.records import FlowRunRecord, NotFound, PrefectError, Rejected, Uncertain
from runs import changes, definitions, queue, requests
from runs.dispatch.launch import (
    RELATED,
    check_launch,
    differs,
    flow_run_for,
    require_same_server,
    send,
    wait,
)
from runs.dispatch.leases import LEASE
from runs.errors import Refused
from runs.models import ChangeRequest, RunRequest
from runs.models.request import State
from runs.shared_reads import shared_reads

# Prefect takes 100. After an error in its database none of a call may be stored, so that many are sent again singly.
AT_MOST = 25
# As many in the first call of a process to a server, of which it does not know yet how fast it is.
AT_FIRST = 5
# How long a call should take, in seconds: the client gives up after ten, and then nothing is known of any of its runs.
LONG_ENOUGH = 4.0
# Address of a server -> seconds that it took for one run of the last call. Of this process.
PACES: dict[str, float] = {}
ODD_ANSWER = "Prefect did not confirm the run. It is requested again with the same key."


def launch_together(change: ChangeRequest, lane: int) -> bool:
    """Launch some runs of a backfill that are due, of one lane; return whether more of them are."""
    number = number_for(change.environment.server.api_url) if change.environment else AT_MOST
    due = Q(next_attempt_at=None) | Q(next_attempt_at__lte=timezone.now())
    rows = change.run_requests.filter(due, state=State.APPROVED).annotate(lane=Mod(F("pk"), changes.LANES))
    found = list(rows.filter(lane=lane).order_by("spec__position").values_list("pk", flat=True)[: number + 1])
    for _, group in groupby(claim_together(found[:number]), key=what_is_sent):
        send_group(list(group))
    return len(found) > number


def number_for(api_url: str) -> int:
    """Return how many runs a call to this server should create: fewer where it is slow."""
    if (pace := PACES.get(api_url)) is None:
        return AT_FIRST
    return min(max(int(LONG_ENOUGH / pace), 2), AT_MOST) if pace else AT_MOST


def claim_together(pks: Sequence[int]) -> list[RunRequest]:
    """Check each of these under its row lock as a single launch does, and take the leases of those that can start.

    In one transaction, so that what the checks read beside the rows is read once. A refusal of one is about no other.
    """
    now = timezone.now()
    with transaction.atomic(), shared_reads():
        due = Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)
        rows = RunRequest.objects.select_for_update(of=["self"]).select_related(*RELATED)
        locked = list(rows.filter(due, pk__in=pks, state=State.APPROVED).order_by("spec__position"))
        share_relations(locked)
        can_start, waits, refused = [], [], []
        for each in locked:
            try:
                wait_until = check_launch(each, State.APPROVED)
            except Refused as refusal:
                refused.append((each, refusal))
                continue
            if wait_until:
                waits.append((each, wait_until))
            else:
                can_start.append(each)
        if can_start:
            changes.move_together(can_start, to=State.LAUNCHING, next_attempt_at=now + LEASE)
        for each, (at, why) in waits:
            changes.hold(each, why, at=at)
        # Last, because of their audit entries: no row is locked after those.
        for each, why_not in refused:
            changes.refuse(each, why_not.code, why_not.message)
    return can_start


def share_relations(run_requests: Sequence[RunRequest]) -> None:
    """Let rows that were read together have the same objects for what they have in common."""
    if not run_requests:
        return
    change = run_requests[0].change
    prefetch_related_objects([change], "approvals__by")
    deployments = {each.deployment_id: each.deployment for each in run_requests}
    environment = run_requests[0].environment
    for each in run_requests:
        each.change = each.spec.change = change
        each.environment = environment
        each.deployment = each.spec.deployment = deployments[each.deployment_id]


def what_is_sent(run_request: RunRequest) -> tuple[Any, ...]:
    """Return what the runs of one call have in common; of a backfill that is everything but the parameters."""
    spec = run_request.spec
    return spec.deployment_prefect_id, spec.definition_fingerprint, spec.api_url


def send_group(claimed: Sequence[RunRequest]) -> None:
    """Send claimed requests of one deployment in one call, and record what is certain of each."""
    first = claimed[0]
    if len(claimed) == 1:
        send(first, State.APPROVED)
        return
    values = {each.pk: requests.values_of(each) for each in claimed}
    client = None
    # 1. The checks that a single launch makes after its claim: they are about what the runs have in common.
    try:
        require_same_server(first)
        definitions.require_unchanged(first)
        changes.note_sent(*claimed)
        client = connect.client_for(first.environment.server)
        wanted = [flow_run_for(each, values[each.pk]) for each in claimed]
        # 2. One call. An id is not a result yet.
        began = time.monotonic()
        try:
            ids = client.create_flow_runs(first.spec.deployment_prefect_id, wanted)
        finally:
            # Also when it took too long: the next call is for fewer.
            PACES[first.environment.server.api_url] = (time.monotonic() - began) / len(wanted)
    except Refused as refusal:
        for each in claimed:
            changes.refuse(each, refusal.code, refusal.message, attempt=each.attempts)
        return
    except (NotFound, Rejected):
        # Prefect has no such call, or one of them is at fault: singly each gets its own answer.
        send_singly(claimed)
        return
    except Uncertain as error:
        for each in claimed:
            wait(each, error, to=State.LAUNCHING, attempt=each.attempts)
        return
    except PrefectError as error:
        health.record_error(first.environment.server, error)
        for each in claimed:
            wait(each, error, to=State.APPROVED, attempt=each.attempts)
        return
    # 3. Read back, and compare: deployment, parameters and key.
    created = read_back(client, [each for each in ids if each])
    started = [
        (each, flow_run_id)
        for each, flow_run_id in zip(claimed, ids, strict=True)
        if flow_run_id and is_the_one(each, created.get(flow_run_id), values[each.pk])
    ]
    changes.launched_together(started)
    certain = {each.pk for each, _ in started}
    send_singly([each for each in claimed if each.pk not in certain])


def read_back(client: PrefectClient, ids: list[UUID]) -> dict[UUID, FlowRunRecord]:
    """Return the runs that Prefect has of these; none if they cannot be read."""
    try:
        return {record.id: record for record in client.flow_runs(ids)} if ids else {}
    except PrefectError:
        return {}


def is_the_one(run_request: RunRequest, record: FlowRunRecord | None, values: dict[str, Any]) -> bool:
    """Return whether a run that was read back is the one that was sent."""
    if record is None or record.idempotency_key != run_request.idempotency_key:
        return False
    return not differs(run_request, record, values)


def send_singly(run_requests: Sequence[RunRequest]) -> None:
    """Have each launched by a task of its own, with the same key; Prefect may have its run."""
    now = timezone.now()
    for each in run_requests:
        changes.requeue(each, ODD_ANSWER, to=State.LAUNCHING, at=now, attempt=each.attempts)
        queue.enqueue("runs.tasks.launch", each.pk)
