"""Why a run failed or does not start: one sentence each, from what Postgres holds."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows.models import Deployment, Environment, WorkPool
from runs import diagnosis
from runs.diagnosis import Context
from runs.models import Run

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
ENVIRONMENT = Environment(slug="dev")


def a_run(state_type: str, state_name: str = "", message: str = "", **columns: Any) -> Run:
    plain: dict[str, Any] = {
        "environment": ENVIRONMENT,
        "deployment": Deployment(environment=ENVIRONMENT, full_name="etl/nightly"),
        "name": "brave-otter",
        "state_at": NOW - timedelta(seconds=5),
        "expected_start_at": NOW - timedelta(seconds=5),
        "work_pool_name": "batch",
        "work_queue_name": "default",
    }
    return Run(state_type=state_type, state_name=state_name, state_message=message, **plain | columns)


def a_pool(*online: bool, **columns: Any) -> WorkPool:
    beat = (NOW - timedelta(hours=1)).isoformat()
    workers = [{"name": f"w{i}", "is_online": is_online, "last_heartbeat": beat} for i, is_online in enumerate(online)]
    return WorkPool(name="batch", workers=workers, **{"type": "process"} | columns)


def waits(run: Run, pool: WorkPool | None = None, **scene: Any) -> str:
    return diagnosis.explain(run, Context(now=NOW, pool=pool, **scene))


def test_a_run_that_works_or_ended_well_needs_no_explanation() -> None:
    assert waits(a_run("RUNNING")) == ""
    assert waits(a_run("COMPLETED")) == ""


def test_a_pool_without_workers_says_how_to_start_one() -> None:
    assert waits(a_run("SCHEDULED"), a_pool()) == (
        "Work pool “batch” has no worker. Start one: prefect worker start --pool batch"
    )


def test_an_offline_worker_is_told_with_its_last_sign_of_life() -> None:
    said = waits(a_run("SCHEDULED", "Late"), a_pool(False, False))
    assert said.startswith("No worker of work pool “batch” is online; the last sign of life was 13:00:00.")


def test_a_pool_that_the_cloud_empties_needs_no_worker() -> None:
    assert "has no worker" not in waits(a_run("SCHEDULED"), a_pool(type="ecs:push"))


def test_a_paused_pool_hides_every_other_reason() -> None:
    assert "is paused" in waits(a_run("SCHEDULED"), a_pool(is_paused=True))
    assert "is paused" in waits(a_run("PENDING"), a_pool(False, is_paused=True))


def test_a_full_pool_and_a_full_deployment_say_their_limit() -> None:
    full = waits(a_run("SCHEDULED"), a_pool(True, concurrency_limit=1), busy=1)
    assert full.startswith("Work pool “batch” takes 1 run at a time and is full")
    narrow = Deployment(environment=ENVIRONMENT, concurrency_limit=3)
    assert "may have 3 runs at a time" in waits(a_run("SCHEDULED", deployment=narrow), a_pool(True), siblings=3)
    assert "may have 3 runs at a time" in waits(a_run("SCHEDULED", "AwaitingConcurrencySlot", deployment=narrow))


def test_a_limit_that_is_not_reached_is_no_reason() -> None:
    assert "full" not in waits(a_run("SCHEDULED"), a_pool(True, concurrency_limit=2), busy=1)


def test_a_pool_that_is_not_there_is_named() -> None:
    assert waits(a_run("SCHEDULED")).startswith("There is no work pool “batch” in dev.")


def test_a_deployment_without_a_pool_can_only_be_served() -> None:
    assert "no work pool" in waits(a_run("SCHEDULED", work_pool_name=""))


def test_a_run_for_later_says_when() -> None:
    tomorrow = a_run("SCHEDULED", expected_start_at=NOW + timedelta(days=1))
    assert waits(tomorrow, a_pool()) == "It is scheduled for 03 Mar 2026 14:00."
    said = "No run may start during “Night”."
    postponed = a_run("SCHEDULED", message=said, expected_start_at=NOW + timedelta(days=1))
    assert waits(postponed, a_pool()) == f"It is scheduled for 03 Mar 2026 14:00. {said}"
    assert waits(a_run("SCHEDULED", "AwaitingRetry", expected_start_at=NOW + timedelta(minutes=1))) == (
        "It failed, and will be tried again at 14:01:00."
    )


def test_pending_becomes_trouble_only_after_a_while() -> None:
    assert waits(a_run("PENDING"), a_pool(True)) == "A worker has taken it and is starting its process."
    stuck = a_run("PENDING", state_at=NOW - timedelta(minutes=7))
    assert waits(stuck, a_pool(True)).startswith("A worker took it 7 min ago, but its process has not begun.")


def test_an_online_worker_that_takes_nothing_points_to_the_queue() -> None:
    late = a_run("SCHEDULED", "Late", expected_start_at=NOW - timedelta(hours=3), work_queue_name="night")
    said = waits(late, a_pool(True))
    assert "has not taken it for 3 h" in said
    assert "work queue “night”" in said


def test_a_paused_deployment_explains_only_what_its_schedule_made() -> None:
    paused = Deployment(environment=ENVIRONMENT, is_paused=True)
    assert "Its deployment is paused" in waits(
        a_run("SCHEDULED", deployment=paused, is_auto_scheduled=True), a_pool(True)
    )
    assert "paused" not in waits(a_run("SCHEDULED", deployment=paused), a_pool(True))


def test_a_cancel_that_nobody_confirms_says_so() -> None:
    assert "waits until its process ends" in waits(a_run("CANCELLING"))
    old = waits(a_run("CANCELLING", state_at=NOW - timedelta(minutes=3)))
    assert old.startswith("Nothing has confirmed the cancel for 3 min.")
    assert "may still be working" in old


def test_an_environment_that_is_down_comes_before_guesses() -> None:
    said = waits(a_run("SCHEDULED"), a_pool(), down="No answer from http://dev.test.")
    assert said == "dev cannot be read now, so this may have changed: No answer from http://dev.test."


def test_a_run_without_a_deployment_is_explained_too() -> None:
    assert waits(a_run("SCHEDULED", deployment=None), a_pool(True)) == "It waits for a worker of “batch” to take it."


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "Flow run process exited with non-zero status code 1.",
            "Its process ended with status 1: its code could not be loaded or it did not accept a parameter; "
            "the last lines of the log say which.",
        ),
        (
            "Process exited with status code: -9. Process exited due to a SIGKILL signal.",
            "Its process ended with status -9: it was killed, most often because memory ran out.",
        ),
        (
            "Flow run infrastructure exited with non-zero status code 42. Process exited with an unexpected status.",
            "Its process ended with status 42: the log may say why.",
        ),
        ("Flow run encountered an exception: ValueError: no such month", "It failed: ValueError: no such month."),
        ("Flow run exceeded timeout of 5.0 second(s)", "It took longer than its time limit of 5.0 s."),
        ("2/5 states failed.", "2/5 of its tasks failed; the table of tasks says which."),
        (
            "Validation of flow parameters failed with error: ParameterTypeError: 1 error\n  month\n    bad",
            "Its parameters were not accepted. ParameterTypeError: 1 error month bad.",
        ),
        (
            "Execution was aborted by a termination signal.",
            "It was told to stop from outside: its worker or machine was shut down.",
        ),
        ("Something {0} nobody foresaw", "Something {0} nobody foresaw."),
    ],
)
def test_a_failure_is_reduced_to_what_helps(message: str, sentence: str) -> None:
    assert waits(a_run("FAILED", message=message)) == sentence
    assert waits(a_run("CRASHED", message=message)) == sentence


def test_a_failure_without_words_points_to_the_log() -> None:
    assert waits(a_run("CRASHED", "Crashed")) == (
        "It ended as Crashed, and Prefect gave no reason. The last lines of the log may."
    )


def test_a_long_message_is_cut_at_a_word() -> None:
    said = waits(a_run("FAILED", message="word " * 500))
    assert said.endswith("word …")
    assert len(said) < 320


def test_a_cancel_that_worked_needs_no_words_and_another_reason_is_told() -> None:
    assert waits(a_run("CANCELLED", message="Flow run was cancelled successfully.")) == ""
    assert waits(a_run("CANCELLED", message="Deployment concurrency limit reached.")) == (
        "Prefect says: Deployment concurrency limit reached."
    )
