"""Why a run failed or does not start: the rule that applies, and what its sentence names."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows.models import Deployment, Environment, WorkPool
from runs import diagnosis
from runs.diagnosis import Context
from runs.failure_causes import EXITS
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


def waits(run: Run, pool: WorkPool | None = None, **around: Any) -> str:
    return diagnosis.explain(run, Context(now=NOW, pool=pool, **around))


def cause(run: Run, pool: WorkPool | None = None, **around: Any) -> str:
    return diagnosis.waiting_rule(run, Context(now=NOW, pool=pool, **around)).code


def test_a_run_that_works_or_ended_well_needs_no_explanation() -> None:
    assert waits(a_run("RUNNING")) == ""
    assert waits(a_run("COMPLETED")) == ""


def test_a_pool_without_workers_says_how_to_start_one() -> None:
    assert cause(a_run("SCHEDULED"), a_pool()) == "no_workers"
    assert waits(a_run("SCHEDULED"), a_pool()).endswith(": prefect worker start --pool batch")


def test_an_offline_worker_is_told_with_its_last_sign_of_life() -> None:
    late = a_run("SCHEDULED", "Late")
    assert cause(late, a_pool(False, False)) == "workers_offline"
    assert "13:00:00" in waits(late, a_pool(False, False))


def test_a_pool_that_the_cloud_empties_needs_no_worker() -> None:
    assert cause(a_run("SCHEDULED"), a_pool(type="ecs:push")) == "waiting"


def test_a_paused_pool_hides_every_other_reason() -> None:
    assert cause(a_run("SCHEDULED"), a_pool(is_paused=True)) == "pool_paused"
    assert cause(a_run("PENDING"), a_pool(False, is_paused=True)) == "pool_paused"


def test_a_full_pool_and_a_full_deployment_say_their_limit() -> None:
    full = a_pool(True, concurrency_limit=1)
    assert cause(a_run("SCHEDULED"), full, busy=1) == "pool_full"
    assert " 1 run " in waits(a_run("SCHEDULED"), full, busy=1)
    narrow = Deployment(environment=ENVIRONMENT, concurrency_limit=3)
    queued, refused = (
        a_run("SCHEDULED", deployment=narrow),
        a_run("SCHEDULED", "AwaitingConcurrencySlot", deployment=narrow),
    )
    assert cause(queued, a_pool(True), siblings=3) == "deployment_full"
    assert cause(refused) == "awaiting_slot"
    assert " 3 runs " in waits(queued, a_pool(True), siblings=3)
    assert " 3 runs " in waits(refused)


def test_a_limit_that_is_not_reached_is_no_reason() -> None:
    assert cause(a_run("SCHEDULED"), a_pool(True, concurrency_limit=2), busy=1) == "waiting"


def test_a_pool_that_is_not_there_is_named() -> None:
    assert cause(a_run("SCHEDULED")) == "unknown_pool"
    assert " batch " in waits(a_run("SCHEDULED"))


def test_a_deployment_without_a_pool_can_only_be_served() -> None:
    assert cause(a_run("SCHEDULED", work_pool_name="")) == "no_pool"


def test_a_run_for_later_says_when() -> None:
    tomorrow = a_run("SCHEDULED", expected_start_at=NOW + timedelta(days=1))
    assert cause(tomorrow, a_pool()) == "scheduled"
    assert waits(tomorrow, a_pool()).endswith(" 03 Mar 2026 14:00.")
    message = "No run may start during “Night”."
    postponed = a_run("SCHEDULED", message=message, expected_start_at=NOW + timedelta(days=1))
    assert waits(postponed, a_pool()).endswith(f" 03 Mar 2026 14:00. {message}")
    retrying = a_run("SCHEDULED", "AwaitingRetry", expected_start_at=NOW + timedelta(minutes=1))
    assert cause(retrying) == "retrying"
    assert waits(retrying).endswith(" 14:01:00.")


def test_pending_becomes_trouble_only_after_a_while() -> None:
    assert cause(a_run("PENDING"), a_pool(True)) == "pending"
    stuck = a_run("PENDING", state_at=NOW - timedelta(minutes=7))
    assert cause(stuck, a_pool(True)) == "pending_stuck"
    assert " 7 min " in waits(stuck, a_pool(True))


def test_an_online_worker_that_takes_nothing_points_to_the_queue() -> None:
    late = a_run("SCHEDULED", "Late", expected_start_at=NOW - timedelta(hours=3), work_queue_name="night")
    assert cause(late, a_pool(True)) == "late"
    assert " 3 h" in waits(late, a_pool(True))
    assert " night" in waits(late, a_pool(True))


def test_a_paused_deployment_explains_only_what_its_schedule_made() -> None:
    paused = Deployment(environment=ENVIRONMENT, is_paused=True)
    planned = a_run("SCHEDULED", deployment=paused, is_auto_scheduled=True)
    assert cause(planned, a_pool(True)) == "deployment_paused"
    assert cause(a_run("SCHEDULED", deployment=paused), a_pool(True)) == "waiting"


def test_a_cancel_that_nobody_confirms_says_so() -> None:
    assert cause(a_run("CANCELLING")) == "cancelling"
    old = a_run("CANCELLING", state_at=NOW - timedelta(minutes=3))
    assert cause(old) == "cancel_unconfirmed"
    assert " 3 min" in waits(old)
    assert " 5 minutes" in waits(old), "when Prefect forces it"


def test_an_environment_that_is_down_comes_before_guesses() -> None:
    down = "No answer from http://dev.test."
    assert cause(a_run("SCHEDULED"), a_pool(), down=down) == "unreachable"
    assert waits(a_run("SCHEDULED"), a_pool(), down=down).endswith(f": {down}")


def test_a_run_without_a_deployment_is_explained_too() -> None:
    run = a_run("SCHEDULED", deployment=None)
    assert cause(run, a_pool(True)) == "waiting"
    assert " batch" in waits(run, a_pool(True))


@pytest.mark.parametrize(
    ("message", "kept", "dropped"),
    [
        ("Execution of flow run 'x' aborted by Python system exit", "worker", "aborted"),
        ("Flow run process exited with non-zero status code 1.", f"status 1: {EXITS[1]}.", "non-zero"),
        (
            "Process exited with status code: -9. Process exited due to a SIGKILL signal.",
            f"status -9: {EXITS[-9]}.",
            "SIGKILL",
        ),
        (
            "Flow run infrastructure exited with non-zero status code 42. Process exited with an unexpected status.",
            "status 42: ",
            "infrastructure",
        ),
        (
            "Flow run encountered an exception: ValueError: no such month",
            ": ValueError: no such month.",
            "encountered",
        ),
        ("Flow run encountered an exception: Stopped: Stopped at 50%", "Failed: Stopped at 50%.", "Stopped:"),
        ("Flow run exceeded timeout of 5.0 second(s)", " 5 s.", "Flow run"),
        ("2/5 states failed.", "2/5 tasks ", "states"),
        (
            "Validation of flow parameters failed with error: ParameterTypeError: 1 error\n  month\n    bad",
            " ParameterTypeError: 1 error month bad.",
            "Validation",
        ),
        ("Execution was aborted by a termination signal.", "worker", "Execution"),
        ("Something {0} nobody foresaw", "Something {0} nobody foresaw.", "\n"),
    ],
)
def test_a_failure_is_reduced_to_what_helps(message: str, kept: str, dropped: str) -> None:
    for state_type in ("FAILED", "CRASHED"):
        sentence = waits(a_run(state_type, message=message))
        assert kept in sentence
        assert dropped not in sentence


def test_a_failure_without_words_points_to_the_log() -> None:
    sentence = waits(a_run("CRASHED", "Crashed"))
    assert sentence.startswith("Crashed ")
    assert " log" in sentence


def test_a_long_message_is_cut_at_a_word() -> None:
    sentence = waits(a_run("FAILED", message="word " * 500))
    assert sentence.endswith("word …")
    assert len(sentence) < 320


def test_a_cancel_that_worked_needs_no_words_and_another_reason_is_told() -> None:
    assert waits(a_run("CANCELLED", message="Flow run was cancelled successfully.")) == ""
    limit = "Deployment concurrency limit reached."
    assert waits(a_run("CANCELLED", message=limit)).endswith(f" {limit}")
