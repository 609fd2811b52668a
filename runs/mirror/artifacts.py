"""Mirror the artifacts of runs: the only code that writes `Artifact`."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from uuid import UUID

from django.db import transaction

from flows.db_text import sanitize_json
from flows.models import Environment
from flows.prefect_api import connect
from flows.prefect_api.records import ArtifactRecord, Rejected, Uncertain
from runs.mirror import run_events
from runs.models import Artifact, Run

log = logging.getLogger(__name__)

# Bytes of JSON. Larger artifacts are stored without their data, and viewed in Prefect.
LARGEST = 1024 * 1024
# The types of artifacts that Prefect makes of the results of tasks.
RESULTS = ("result", "")
COLUMNS = ["environment", "key", "type", "description", "data", "created_upstream_at", "updated_upstream_at"]


def upsert_artifacts(environment: Environment, runs: Mapping[UUID, Run]) -> None:
    """Upsert the artifacts of these runs, given by Prefect's id; raises `PrefectError` when it cannot be reached."""
    try:
        records = connect.client_for(environment.server).artifacts(list(runs))
    except (Rejected, Uncertain) as error:
        # An artifact that Prefect fails to serialize must not stop states and logs from being read.
        log.warning("%s: the artifacts of %d runs could not be read: %s", environment, len(runs), error)
        return
    known = dict(Artifact.objects.filter(run__in=runs.values()).values_list("prefect_id", "updated_upstream_at"))
    # This runs every 1.5 s while a log grows, and most artifacts never change: write only those that did.
    rows = [
        row(environment, record, run)
        for record in records
        if record.flow_run_id and (run := runs.get(record.flow_run_id))
        if record.id not in known or known[record.id] != record.updated_at
        # The persisted result of a task, which nobody named: it says where the value is stored. That of a task that
        # failed has no type either.
        if record.key or record.type not in RESULTS
    ]
    if not rows:
        return
    with transaction.atomic():
        stored = Artifact.objects.bulk_create(
            map(sanitize_json, rows), update_conflicts=True, unique_fields=["run", "prefect_id"], update_fields=COLUMNS
        )
        run_events.record_artifacts(stored)
        run_events.record_drift(stored)


def row(environment: Environment, record: ArtifactRecord, run: Run) -> Artifact:
    # The size as JSON, close to what Postgres stores and a page would load.
    is_small = len(json.dumps(record.data)) <= LARGEST
    return Artifact(
        environment=environment,
        run=run,
        prefect_id=record.id,
        key=record.key,
        type=record.type,
        description=record.description,
        data=record.data if is_small else None,
        created_upstream_at=record.created_at,
        updated_upstream_at=record.updated_at,
    )
