"""Carries a request out as the background tasks and Prefect would."""

from __future__ import annotations

from runs import mirror, tasks
from runs.models import RunRequest
from tests.fakes.prefect import FakePrefect


def play(number: int, fake: FakePrefect, state: str, *lines: str) -> RunRequest:
    """Launch a request, write lines into the log of its run, and let it end in a state."""
    tasks.launch(number)
    tasks.follow_up(RunRequest.objects.get(pk=number).environment_id)
    row = RunRequest.objects.get(pk=number)
    assert row.flow_run_id
    for line in lines:
        fake.add_log(row.flow_run_id, line)
    fake.set_state(row.flow_run_id, state)
    mirror.refresh(row.environment, [row.flow_run_id])
    mirror.fetch_details(row.environment, [row.flow_run_id])
    return RunRequest.objects.get(pk=number)
