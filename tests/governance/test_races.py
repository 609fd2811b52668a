"""Acts that race each other on real connections with real commits: whichever is first, the other one finds it out."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from benchmarks import racing
from benchmarks.track import prefect
from runs import audit

ROUNDS = 210


@pytest.mark.usefixtures("own_database")
def test_whoever_is_first_nothing_is_launched_twice_and_nobody_approves_their_own(settings: Any) -> None:
    settings.GATEWAY = "benchmarks.track.connect"
    result = racing.race(ROUNDS)
    assert result.broken == []
    assert (result.double_launches, result.self_approvals, result.launched_without_approval) == (0, 0, 0)
    # Every race of two that may end either way did so often enough to be one.
    assert result.launches > ROUNDS / len(racing.RACES)
    assert audit.verify()


def test_the_count_of_double_launches_counts(db: None) -> None:
    prefect.forget()
    assert racing.double_launches() == 0
    for _ in range(2):
        prefect.create_flow_run(
            uuid.uuid4(), parameters={}, idempotency_key="a", name=None, tags=(), scheduled_for=None
        )
    # Sent twice, and no request knows of it.
    assert racing.double_launches() == 2
    prefect.forget()
