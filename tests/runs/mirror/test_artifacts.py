"""Artifacts are mirrored with their runs, and the newest of a key can be found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from flows.models import Environment
from runs import artifact_facts, mirror
from runs.models import Artifact, Run
from tests.fakes.prefect import FakePrefect

MakeRun = Callable[..., Run]


def test_what_a_run_left_comes_with_its_detail(dev: Environment, fake: FakePrefect, a_run: MakeRun) -> None:
    run = a_run("RUNNING")
    fake.add_artifact(run.prefect_id, key="card", data="# Card")
    bar = fake.add_artifact(run.prefect_id, key="bar", type="progress", data=10.0)
    mirror.refresh(dev, [run.prefect_id])
    assert {each.key: each.data for each in run.artifacts.all()} == {"card": "# Card", "bar": 10.0}

    fake.change_artifact(bar.id, data=80.0)
    mirror.tail_logs(dev, [run])
    assert run.artifacts.get(key="bar").data == 80.0
    assert run.artifacts.count() == 2


def test_one_that_is_too_large_is_named_without_its_data(dev: Environment, fake: FakePrefect, a_run: MakeRun) -> None:
    run = a_run("RUNNING")
    fake.add_artifact(run.prefect_id, key="huge", data="x" * (1024 * 1024 + 1))
    mirror.refresh(dev, [run.prefect_id])
    assert run.artifacts.get().data is None


def test_text_that_postgres_cannot_keep_is_no_obstacle(dev: Environment, fake: FakePrefect, a_run: MakeRun) -> None:
    run = a_run("RUNNING")
    fake.add_artifact(run.prefect_id, key="odd\0key", description="a\0b", data="c\0d")
    fake.add_artifact(run.prefect_id, key="rows", type="table", data=[{"a\0": "\0"}])
    mirror.refresh(dev, [run.prefect_id])
    assert run.artifacts.count() == 2


def test_the_newest_of_a_key_speaks(dev: Environment, fake: FakePrefect, a_run: MakeRun) -> None:
    now = datetime.now(UTC)
    rows = [{"flow": "monthly", "parameter": "month", "values": ["2026-09"]}]
    older, newer = a_run("COMPLETED"), a_run("COMPLETED")
    fake.add_artifact(newer.prefect_id, key=artifact_facts.OFFERS, type="table", data=rows, created_at=now)
    old_rows = [{**rows[0], "values": ["2020-01"]}]
    fake.add_artifact(
        older.prefect_id, key=artifact_facts.OFFERS, type="table", data=old_rows, created_at=now - timedelta(1)
    )
    mirror.refresh(dev, [older.prefect_id, newer.prefect_id])
    assert artifact_facts.offers(dev, "monthly") == {"month": ["2026-09"]}
    assert artifact_facts.offers(dev, "other") == {}


@pytest.mark.parametrize(
    "data", [None, "text", 5, [], [5], [{"flow": "monthly"}], [{"flow": "monthly", "parameter": "m", "values": 5}]]
)
def test_what_is_no_offer_offers_nothing(data: object, dev: Environment, a_run: MakeRun) -> None:
    run = a_run("COMPLETED")
    Artifact.objects.create(environment=dev, run=run, prefect_id=run.prefect_id, key=artifact_facts.OFFERS, data=data)
    assert artifact_facts.offers(dev, "monthly") == {}


def test_the_fields_of_a_table_become_a_mapping(dev: Environment, a_run: MakeRun) -> None:
    run = a_run("COMPLETED")
    data = [{"field": "a", "value": 1}, {"field": "b", "value": [2]}, "stray", {"value": 3}]
    one = Artifact.objects.create(environment=dev, run=run, prefect_id=run.prefect_id, key="facts", data=data)
    assert artifact_facts.facts(one) == {"a": 1, "b": [2]}
    assert artifact_facts.facts(None) == {}


def test_a_value_nobody_offered_is_told_and_taken(dev: Environment, a_run: MakeRun) -> None:
    run = a_run("COMPLETED")
    rows = [{"flow": "monthly", "parameter": "month", "values": ["2026-07", "2026-08", "2026-09", "2026-10"]}]
    Artifact.objects.create(environment=dev, run=run, prefect_id=run.prefect_id, key=artifact_facts.OFFERS, data=rows)
    (warning,) = artifact_facts.not_offered(dev, "monthly", {"month": "2026-11"})
    assert "2026-11" in warning
    assert "2026-07 to 2026-10" in warning
    assert not artifact_facts.not_offered(dev, "monthly", {"month": "2026-08"})
    assert not artifact_facts.not_offered(dev, "monthly", {"other": 5})
    assert not artifact_facts.not_offered(dev, "other", {"month": "2026-11"})


def test_the_stored_results_of_tasks_are_left_out(
    a_run: Callable[..., Run], fake: FakePrefect, dev: Environment
) -> None:
    run = a_run("RUNNING")
    fake.add_artifact(run.prefect_id, key="", type="result", data={"path": "s3://bucket/1"})
    # Of a task that failed.
    fake.add_artifact(run.prefect_id, key="", type="", data={"storage_key": "/storage/1", "serializer": {}})
    fake.add_artifact(run.prefect_id, key="kept", type="result")
    mirror.refresh(dev, [run.prefect_id])
    assert [each.key for each in run.artifacts.all()] == ["kept"]
