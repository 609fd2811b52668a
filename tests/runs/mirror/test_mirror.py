"""The mirror of Prefect's runs in Postgres."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment, Health
from flows.prefect_api.records import Unreachable
from runs import mirror
from runs.models import LogLine, Run
from tests.cast import SCHEMA
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db


def test_a_run_made_elsewhere_is_mirrored_and_marked_so(a_run: Callable[..., Run]) -> None:
    run = a_run("RUNNING")
    assert not run.created_by_portal
    assert run.deployment_name == "monthly/monthly"
    assert (run.state_label, run.state_colour) == ("Running", "blue")


def test_states_tasks_and_logs_come_with_it(a_run: Callable[..., Run], fake: FakePrefect, dev: Environment) -> None:
    run = a_run("RUNNING")
    fake.add_log(run.prefect_id, "first line")
    fake.add_log(run.prefect_id, "<script>alert(1)</script>", level=40)
    fake.add_task_run(run.prefect_id, name="extract")
    fake.set_state(run.prefect_id, "COMPLETED")
    mirror.refresh(dev, [run.prefect_id])
    assert [line.message for line in run.log_lines.all()] == ["first line", "<script>alert(1)</script>"]
    assert [task.name for task in run.task_runs.all()] == ["extract"]
    assert run.state_changes.last().type == "COMPLETED"


def test_no_line_is_lost_where_many_have_one_time(
    a_run: Callable[..., Run], fake: FakePrefect, dev: Environment
) -> None:
    run, at = a_run("RUNNING"), timezone.now()
    for number in range(2500):
        fake.add_log(run.prefect_id, f"line {number}", timestamp=at)
    mirror.refresh(dev, [run.prefect_id])
    assert run.log_lines.count() == 2500
    fake.add_log(run.prefect_id, "one more", timestamp=at)
    fake.add_log(run.prefect_id, "later")
    assert mirror.tail_logs(dev, [run]) == 2
    assert run.log_lines.count() == 2502


def test_reading_again_doubles_nothing(a_run: Callable[..., Run], fake: FakePrefect, dev: Environment) -> None:
    run = a_run("RUNNING")
    fake.add_log(run.prefect_id, "once")
    for _ in range(3):
        mirror.refresh(dev, [run.prefect_id])
        mirror.sync(dev)
    assert Run.objects.count() == 1
    assert run.log_lines.count() == 1
    assert run.state_changes.count() == len(fake.states(run.prefect_id))


def test_an_older_reading_never_overwrites_a_newer_one(
    a_run: Callable[..., Run], fake: FakePrefect, dev: Environment
) -> None:
    run = a_run("RUNNING")
    older = fake.flow_runs([run.prefect_id])
    fake.set_state(run.prefect_id, "COMPLETED")
    mirror.refresh(dev, [run.prefect_id])
    mirror.upsert(dev, older)
    assert Run.objects.get().state_type == "COMPLETED"


def test_a_run_that_prefect_deleted_is_marked_and_kept(
    a_run: Callable[..., Run], fake: FakePrefect, dev: Environment
) -> None:
    run = a_run("RUNNING")
    fake.remove_run(run.prefect_id)
    mirror.sync(dev)
    assert Run.objects.get().deleted_upstream_at is not None


def test_secret_parameters_are_masked_whoever_started_the_run(
    deployment: Deployment, fake: FakePrefect, dev: Environment
) -> None:
    record = fake.add_run(
        deployment.prefect_id, state_type="RUNNING", parameters={"month": "2026-10", "token": "hunter22"}
    )
    mirror.refresh(dev, [record.id])
    run = Run.objects.get()
    assert run.parameters["month"] == "2026-10"
    assert "hunter22" not in repr(run.parameters)


def test_without_a_schema_no_value_is_kept(fake: FakePrefect, dev: Environment, deployment: Deployment) -> None:
    record = fake.add_run(None, state_type="RUNNING", parameters={"token": "hunter22"})
    mirror.refresh(dev, [record.id])
    assert "hunter22" not in repr(Run.objects.get().parameters)
    assert list(Run.objects.get().parameters) == ["token"]


def test_a_sweep_finds_what_ended_and_what_began(
    a_run: Callable[..., Run], fake: FakePrefect, dev: Environment
) -> None:
    run = a_run("RUNNING")
    fake.set_state(run.prefect_id, "COMPLETED")
    deployment = run.deployment
    assert deployment is not None
    fake.add_run(deployment.prefect_id, state_type="SCHEDULED")
    mirror.sync(dev)
    assert sorted(Run.objects.values_list("state_type", flat=True)) == ["COMPLETED", "SCHEDULED"]
    assert Health.objects.get(server=dev.server).runs_synced_at is not None


def test_prefect_down_keeps_what_we_have_and_says_so(
    a_run: Callable[..., Run], fake: FakePrefect, dev: Environment
) -> None:
    a_run("RUNNING")
    fake.go_down()
    with pytest.raises(Unreachable):
        mirror.sync(dev)
    assert Run.objects.get().state_type == "RUNNING"
    health = Health.objects.get(server=dev.server)
    assert health.state == Health.State.DOWN
    assert health.message


def test_a_deployment_gone_upstream_is_marked_and_comes_back(
    deployment: Deployment, fake: FakePrefect, dev: Environment
) -> None:
    fake.remove_deployment(deployment.prefect_id)
    assert sync.sync(dev) == sync.Sync(seen=0, new=0, deleted=1)
    deployment.refresh_from_db()
    assert deployment.deleted_upstream_at is not None
    fake.add_deployment(id=deployment.prefect_id, flow_name="monthly", name="monthly", parameter_schema=SCHEMA)
    sync.sync(dev)
    deployment.refresh_from_db()
    assert deployment.deleted_upstream_at is None


def test_a_failed_sync_marks_nothing_as_gone(deployment: Deployment, fake: FakePrefect, dev: Environment) -> None:
    fake.go_down()
    with pytest.raises(Unreachable):
        sync.sync(dev)
    deployment.refresh_from_db()
    assert deployment.deleted_upstream_at is None
    assert Health.objects.get(server=dev.server).sync_message


def test_a_run_nobody_has_is_no_error(dev: Environment, fake: FakePrefect) -> None:
    assert mirror.refresh(dev, [uuid4()]) == 0


def test_old_history_is_read_without_its_details(deployment: Deployment, fake: FakePrefect, dev: Environment) -> None:
    ended = timezone.now() - timedelta(days=3)
    fake.add_run(deployment.prefect_id, state_type="COMPLETED", started_at=ended, ended_at=ended)
    mirror.sync(dev)
    assert Run.objects.get().detailed_at is None


def test_an_odd_run_does_not_keep_the_others_from_being_read(
    deployment: Deployment, fake: FakePrefect, dev: Environment
) -> None:
    odd = fake.add_run(
        deployment.prefect_id,
        state_type="RUNNING",
        name="n\x00" + "n" * 400,
        tags=("t" * 400, "\ud800"),
        parameters={"month": "2026\x00", "k\x00": "\udfff", "rows": float("nan")},
        infrastructure_pid="p" * 400,
    )
    fake.set_state(odd.id, "RUNNING", "S" * 200, "m\x00\ud800")
    fake.add_log(odd.id, "a\x00b")
    fake.add_task_run(odd.id, name="x\x00" * 300, message="\x00")
    fake.add_run(deployment.prefect_id, state_type="RUNNING", name="plain")
    mirror.sync(dev)
    assert Run.objects.filter(name="plain").exists()
    run = Run.objects.get(prefect_id=odd.id)
    assert run.name.startswith("n\ufffdnn")
    assert len(run.name) == 300
    assert LogLine.objects.get().message == "a\ufffdb"


def test_lines_that_come_after_the_last_state_or_out_of_order_are_not_lost(
    a_run: Callable[..., Run], fake: FakePrefect, dev: Environment
) -> None:
    run = a_run("RUNNING")
    now = timezone.now()
    fake.add_log(run.prefect_id, "second", timestamp=now)
    fake.set_state(run.prefect_id, "COMPLETED")
    mirror.refresh(dev, [run.prefect_id])
    fake.add_log(run.prefect_id, "first", timestamp=now - timedelta(seconds=2))
    fake.add_log(run.prefect_id, "third")
    mirror.sync(dev)
    assert [line.message for line in run.log_lines.all()] == ["first", "second", "third"]


def test_a_run_that_ended_long_ago_is_not_asked_for_its_log_for_ever(
    deployment: Deployment, fake: FakePrefect, dev: Environment
) -> None:
    ended = timezone.now() - timedelta(minutes=5)
    record = fake.add_run(deployment.prefect_id, state_type="COMPLETED", started_at=ended, ended_at=ended)
    mirror.refresh(dev, [record.id])
    assert not mirror.with_open_logs(dev).exists()


def test_a_silent_run_is_asked_for_its_log_with_every_sweep_only(
    a_run: Callable[..., Run], fake: FakePrefect, dev: Environment
) -> None:
    run = a_run("RUNNING")
    assert mirror.recently_active(dev) == [run]
    Run.objects.update(state_at=timezone.now() - timedelta(minutes=5))
    assert not mirror.recently_active(dev)
    assert list(mirror.with_open_logs(dev)) == [run]
    fake.add_log(run.prefect_id, "Step 2 of 9")
    mirror.sync(dev)
    assert mirror.recently_active(dev) == [run]


def test_a_run_that_ended_without_starting_has_no_start(
    fake: FakePrefect, deployment: Deployment, dev: Environment
) -> None:
    # As with a concurrency limit that cancels new runs: Prefect gives it a start time.
    record = fake.add_run(deployment.prefect_id, state_type="SCHEDULED")
    fake.set_state(record.id, "CANCELLED", message="Deployment concurrency limit reached.")
    fake.change_run(record.id, run_count=0)
    assert fake.flow_runs([record.id])[0].started_at
    mirror.refresh(dev, [record.id])
    assert Run.objects.get().started_at is None
