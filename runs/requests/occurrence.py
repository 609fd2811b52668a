"""Add an occurrence to a spec: a due time of a schedule, a step of a chain."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from runs.audit import signatures
from runs.errors import Refused
from runs.models import ChangeRequest, RunRequest, RunSpec
from runs.models.request import State


def add_occurrence(
    spec: RunSpec, key: str, *, scheduled_for: datetime | None = None, values: Mapping[str, Any] | None = None
) -> RunRequest:
    """Add one occurrence of a spec, held until `runs.changes.release` lets it go; the same key is the same occurrence.

    `values` are those of the mapped parameters. Raises `Refused` for a change request whose runs are fixed, or that has
    ended.
    """
    change = spec.change
    if change.kind in ChangeRequest.FIXED or change.state in ChangeRequest.OVER:
        raise Refused(
            "occurrence.closed", f"Request {change.pk} takes no more runs: it is “{change.get_state_display()}”."
        )
    run_request = RunRequest(
        change=change,
        spec=spec,
        environment=change.environment,
        deployment=spec.deployment,
        occurrence=key,
        scheduled_for=scheduled_for,
        mapped_values=dict(values or {}),
        state=State.HELD,
    )
    run_request.signature = signatures.sign(run_request)
    try:
        with transaction.atomic():
            run_request.save(force_insert=True)
    except IntegrityError:
        return RunRequest.objects.get(spec=spec, occurrence=key)
    return run_request
